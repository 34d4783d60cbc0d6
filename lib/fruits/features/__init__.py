"""From image bytes to the features of a network, computed once."""
