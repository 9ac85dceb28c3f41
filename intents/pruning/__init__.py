"""Pruning: what the techniques share, and one module per technique, found by its name."""
