"""What goes on beside the requests: the generation that is served, what arrives, whether coverage stands still, writes."""
