"""The threshold of the out-of-scope rule (intents/serving/rule.py), calibrated on validation.

Training data holds few out-of-scope queries, and validation holds a share of them (3 % in CLINC150) that says nothing
about real traffic. So the threshold maximizes the accuracy *expected at a stated rate* of out-of-scope traffic, each
half of validation weighted accordingly. On the validation queries of CLINC150 the rule's score had a larger area under
the ROC curve than the largest logit.
"""

from dataclasses import dataclass

import numpy as np

from intents.core.settings import between
from intents.serving.rule import scores


@dataclass(frozen=True, kw_only=True)
class OutOfScope:
    rate: float = between(0, 1, open_low=True, open_high=True)  # share of queries expected out of scope


def expected_accuracy(predicted: np.ndarray, labels: np.ndarray, out_of_scope: int, rate: float) -> float:
    """Accuracy on traffic of which a share `rate` is out of scope."""
    correct, outside = predicted == labels, labels == out_of_scope
    return float((1 - rate) * correct[~outside].mean() + rate * correct[outside].mean())


def calibrate(logits: np.ndarray, labels: np.ndarray, rate: float, resamples: int = 1000, seed: int = 0) -> float:
    """The threshold with the best expected accuracy on these (validation) queries, steadied by bagging.

    With few out-of-scope queries the best threshold of one sample jumps by the chance of a handful of them.
    So it is found on many resamples of the queries (drawn with replacement, in scope and out of scope each
    among themselves), and the median is taken (Breiman, "Bagging Predictors", 1996).

    Args:
        logits: (queries, intents + 1), out-of-scope last.
        labels: (queries,); both in-scope and out-of-scope queries must be among them.
        rate: expected share of out-of-scope queries, between 0 and 1.
        resamples, seed: how many resamples, and the seed of their draws.
    """
    outside = labels == logits.shape[1] - 1
    if outside.all() or not outside.any():
        raise ValueError("calibration needs queries in scope and out of scope")
    score = scores(logits)
    order = np.argsort(score, kind="stable")
    ranked, outside = score[order], outside[order]
    # A threshold above a query turns its answer into "out of scope": the accuracy gained or lost by that.
    share = np.where(outside, rate / outside.sum(), (1 - rate) / (~outside).sum())
    change = share * (outside.astype(float) - (logits.argmax(axis=1) == labels)[order])
    # Thresholds can only lie between distinct scores: candidate k has the `cuts[k]` lowest scores under it.
    distinct = np.flatnonzero(np.diff(ranked) > 0) + 1
    cuts = np.concatenate([[0], distinct])
    candidates = np.concatenate([[ranked[0] - 1.0], (ranked[distinct - 1] + ranked[distinct]) / 2])

    draw = np.random.default_rng(seed)
    best = np.empty(resamples)
    for sample in range(resamples):
        times = np.empty(len(score))
        for half in (outside, ~outside):
            times[half] = np.bincount(draw.integers(half.sum(), size=half.sum()), minlength=half.sum())
        gain = np.concatenate([[0.0], np.cumsum(times * change)])[cuts]
        best[sample] = candidates[gain.argmax()]
    return float(np.median(best))
