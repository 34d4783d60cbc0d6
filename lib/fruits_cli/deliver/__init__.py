"""What is handed in of a finished run: the executed notebook, the images document, the presentation."""
