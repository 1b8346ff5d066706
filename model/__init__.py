"""Image bytes to pixels to embedding: decode, encoders, training, evaluation."""
