"""How well encoders find photographs: of the same class, and altered copies; beside perceptual hashes and other peers."""
