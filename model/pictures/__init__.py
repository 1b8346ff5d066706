"""Image bytes to a picture, and the child processes in which that happens."""
