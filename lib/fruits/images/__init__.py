"""Which images, and their bytes."""
