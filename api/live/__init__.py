"""What goes on beside the requests: the generation that is served, what arrives, what is known of images."""
