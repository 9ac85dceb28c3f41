"""Intervals, so that noise is seen as noise."""

import numpy as np


def paired_difference(
    ours: np.ndarray, theirs: np.ndarray, samples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """mean(ours) − mean(theirs), and its 95 % interval by a paired bootstrap over the queries.

    Both models answer the same queries, so a query is drawn with both its outcomes: what they get right or
    wrong together cancels (Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004,
    section 4). Resampling queries with replacement is, for the sum of differences in {-1, 0, 1}, one
    multinomial draw of how often each occurs.

    Args:
        ours, theirs: whether each query was answered rightly, bool, shape (queries,).
        samples: bootstrap samples.
        seed: of the draws.
    """
    difference = ours.astype(int) - theirs.astype(int)
    count = len(difference)
    shares = [np.mean(difference == value) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(count, shares, size=samples)
    low, high = np.percentile((draws[:, 2] - draws[:, 0]) / count, [2.5, 97.5])
    return float(difference.mean()), (float(low), float(high))


def ratio_of_medians_samples(numerator: np.ndarray, denominator: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Bootstrap samples of median(numerator) / median(denominator), shape (samples,).

    A query is drawn with both its times: a long query is slow for both.

    Args:
        numerator, denominator: times of two variants on the same queries, shape (queries,).
        samples: bootstrap samples.
        seed: of the draws.
    """
    rows = np.random.default_rng(seed).integers(len(numerator), size=(samples, len(numerator)))
    return np.median(numerator[rows], axis=1) / np.median(denominator[rows], axis=1)


def ratio_of_medians(
    numerator: np.ndarray, denominator: np.ndarray, samples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """median(numerator) / median(denominator) and its 95 % interval by a bootstrap over the queries.

    Args:
        numerator, denominator: times of two variants on the same queries, shape (queries,).
    """
    low, high = np.percentile(ratio_of_medians_samples(numerator, denominator, samples, seed), [2.5, 97.5])
    return float(np.median(numerator) / np.median(denominator)), (float(low), float(high))
