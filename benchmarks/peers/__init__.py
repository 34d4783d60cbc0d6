"""Other ways from images to features, each as its own documentation tells a user to write it, beside ours."""
