"""Probabilities that mean what they say: a temperature fitted on validation, and how far off they are on test.

A network trained on cross-entropy, or on another's logits, is surer or less sure than it is right. Dividing all its
logits by one number, fitted on validation, mends most of that and changes no answer (Guo et al., "On Calibration of
Modern Neural Networks", 2017, section 4.2). The rule (intents/serving/rule.py) reads the raw logits: the temperature
changes probabilities alone.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15  # as Guo et al. have it, section 5
BOUNDS = (0.05, 20.0)  # of a temperature; where all answers are right, the best would be 0


def fit_temperature(logits: np.ndarray, labels: np.ndarray, rate: float) -> float:
    """The temperature with the least expected negative log-likelihood of the right answers, over all classes.

    As the threshold, it is fitted for traffic of which a share `rate` is out of scope: validation holds another share,
    and a model is right about few of those queries.

    Args:
        logits: (queries, intents + 1), out-of-scope last.
        labels: (queries,); in-scope queries must be among them. Without out-of-scope queries, all count equally.
        rate: expected share of out-of-scope queries, between 0 and 1.
    """
    outside = labels == logits.shape[1] - 1
    rate = rate if outside.any() else 0.0
    weights = np.where(outside, rate / max(outside.sum(), 1), (1 - rate) / (~outside).sum())
    rows, exact = np.arange(len(labels)), logits.astype(np.float64)

    def loss(log_inverse: float) -> float:
        """Convex in the inverse of the temperature, so with one minimum also on this scale."""
        return float(-weights @ log_softmax(exact * np.exp(log_inverse), axis=1)[rows, labels])

    low, high = -np.log(BOUNDS[::-1])
    return float(np.exp(-minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature) of each row, (queries, labels)."""
    return softmax(logits.astype(np.float64) / temperature, axis=1)


def reliability(found: np.ndarray, labels: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """How sure a model is of its answers, beside how often they are right, by bins of how sure it is.

    The answer is the likeliest class, and its probability how sure the model is of it; bins are of equal width, open
    below and closed above (Guo et al., section 2).

    Args:
        found: probabilities, (queries, labels).
        labels: the right answers, (queries,).

    Returns:
        A row per bin: low and high (its bounds), queries, confidence and accuracy (their means, 0 to 1; NaN where
        the bin is empty).
    """
    confidence, correct = found.max(axis=1), found.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    queries = np.bincount(place, minlength=bins)
    means = {
        name: np.divide(
            np.bincount(place, weights=values, minlength=bins), queries, out=np.full(bins, np.nan), where=queries > 0
        )
        for name, values in (("confidence", confidence), ("accuracy", correct.astype(np.float64)))
    }
    return pd.DataFrame(
        {"low": np.arange(bins) / bins, "high": np.arange(1, bins + 1) / bins, "queries": queries} | means
    )


def expected_calibration_error(found: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """The mean distance of how sure a model is from how often it is right, over the bins of `reliability`.

    Bins count as many times as they hold queries (Guo et al., section 2, equation 3).

    Args:
        found: probabilities, (queries, labels).
        labels: the right answers, (queries,).
    """
    table = reliability(found, labels, bins)
    return float((table["queries"] * (table["confidence"] - table["accuracy"]).abs()).sum() / len(labels))
