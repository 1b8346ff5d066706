"""Training and evaluation of encoders; not needed to run them."""
