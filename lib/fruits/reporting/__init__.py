"""What readers see of a run: HTML made of the executed notebook."""
