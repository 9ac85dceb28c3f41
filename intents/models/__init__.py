"""Checkpoints and model folders in PyTorch."""
