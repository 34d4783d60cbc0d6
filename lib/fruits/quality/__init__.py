"""How well images are told apart: on the other split, and on groups of images that were not trained on."""
