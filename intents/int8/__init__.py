"""int8 in PyTorch: kernels, ranges, simulated int8, and one module per technique, found by its name."""
