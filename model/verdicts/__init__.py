"""What was done to a picture: analysis by synthesis, in a child process of its own."""
