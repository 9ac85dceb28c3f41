"""Intervals and tests, so that noise is seen as noise."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom, false_discovery_control


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


def weighted_difference(
    ours: np.ndarray, theirs: np.ndarray, outside: np.ndarray, rate: float, samples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """The same for traffic of which a share `rate` is out of scope: each half resampled by itself, then weighted.

    Args:
        ours, theirs: whether each query was answered rightly, bool, shape (queries,).
        outside: which queries are out of scope, bool, same shape. If none is, all are of one kind.
        rate: share of the queries out of scope that is expected, 0 to 1.
        samples: bootstrap samples.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    point, drawn = 0.0, np.zeros(samples)
    for half, weight in ((~outside, 1 - rate), (outside, rate)) if outside.any() else ((~outside, 1.0),):
        difference = ours[half].astype(int) - theirs[half].astype(int)
        shares = [np.mean(difference == value) for value in (-1, 0, 1)]
        draws = generator.multinomial(len(difference), shares, size=samples)
        point += weight * float(difference.mean())
        drawn += weight * (draws[:, 2] - draws[:, 0]) / len(difference)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return point, (float(low), float(high))


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


def changes_by_group(ours: np.ndarray, theirs: np.ndarray, groups: Sequence[str]) -> pd.DataFrame:
    """In which groups of queries one model is right more often than another, or less often: McNemar's exact test each.

    Only queries that one of them answers rightly and the other wrongly tell the two apart; were the models equally
    good, each would be won or lost with the chance of a coin (McNemar, "Note on the Sampling Error of the Difference
    Between Correlated Proportions", 1947).

    Args:
        ours, theirs: whether each query was answered rightly, bool, (queries,).
        groups: that of each query, such as its intent.

    Returns:
        A row per group, in alphabetical order: queries, before (those that they answer rightly), after (those that we
        do), won, lost, p (two-sided, not corrected for the number of groups).
    """
    ours, theirs = ours.astype(bool), theirs.astype(bool)
    outcomes = {"before": theirs, "after": ours, "won": ours & ~theirs, "lost": theirs & ~ours}
    found = pd.DataFrame({"queries": np.ones(len(ours), int), **outcomes}).groupby(np.asarray(groups)).sum().astype(int)
    # The binomial distribution with equal chances is symmetric, so the two-sided value is twice the smaller tail.
    apart = found["won"] + found["lost"]
    tail = binom.cdf(found[["won", "lost"]].min(axis=1), apart, 0.5)
    return found.assign(p=np.minimum(1.0, 2 * tail))


def corrected(values: np.ndarray) -> np.ndarray:
    """p values made larger for their number, so that of those under a level at most that share is expected to be noise.

    Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995: of 150 intents in which nothing changed, seven
    or eight would lie under 0.05 without it.

    Args:
        values: from 0 to 1, (tests,).
    """
    return false_discovery_control(values) if len(values) else np.asarray(values, dtype=np.float64)
