"""How many machines so many images need: from rates that were measured, and from a simulated pipeline."""
