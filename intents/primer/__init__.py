"""The primer: the ideas of compression as pictures, computed from the models."""
