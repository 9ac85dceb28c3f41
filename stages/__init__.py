"""The pipeline: one module per DVC stage, and `predict`, the program that a product would call."""
