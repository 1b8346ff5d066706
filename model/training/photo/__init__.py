"""Trains and exports the encoder for photographs, from any folder of pictures. Needs TensorFlow."""
