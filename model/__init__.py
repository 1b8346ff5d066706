"""Image bytes to pixels to embedding: pictures, encoders, verdicts, training."""
