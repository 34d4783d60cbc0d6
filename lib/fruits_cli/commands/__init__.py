"""The sub-commands of `fruits`, by what they are for: each a skin over one call."""
