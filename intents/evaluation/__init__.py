"""Judging: thresholds, accuracies, parity, intervals, and the choice of the best variant."""
