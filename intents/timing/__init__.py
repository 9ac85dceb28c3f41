"""Latency, and the machine that it was measured on."""
