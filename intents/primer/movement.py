"""Which weights movement pruning kept, by their size and by the way they went."""

from typing import NamedTuple

import numpy as np


def kept_by_size(before: np.ndarray, kept: np.ndarray, groups: int = 20) -> np.ndarray:
    """The share kept in each of equally large groups of weights, from the smallest |w| to the largest."""
    ordered = kept.ravel()[np.argsort(np.abs(before.ravel()), kind="stable")]
    return np.array([group.mean() for group in np.array_split(ordered, groups)])


class Kept(NamedTuple):
    """Shares (0 to 1) of the weights of a matrix that was pruned by movement."""

    kept: float  # of all
    small: float  # of those kept: so small before that magnitude pruning would have dropped them
    largest_dropped: float  # of the largest twentieth: dropped
    outward: float  # of those kept: further from zero than before


def told(before: np.ndarray, after: np.ndarray) -> Kept:
    """What movement pruning did to a matrix.

    Args:
        before, after: the weights, same shape; those dropped are zero in `after`.
    """
    kept = after != 0
    small = np.abs(before) < np.quantile(np.abs(before), 1 - kept.mean())
    outward = np.sign(before) * (after - before) > 0
    largest = kept_by_size(before, kept)[-1]
    return Kept(float(kept.mean()), float(small[kept].mean()), float(1 - largest), float(outward[kept].mean()))
