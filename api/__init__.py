"""The HTTP service: search, images, index, events, health and metrics over the newest generation."""
