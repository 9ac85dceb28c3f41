"""Answering only when sure: how many answers are wrong among those that a variant is surest of.

An assistant may ask back, or hand over to a person, where the probability of an intent is low. The share of queries
that it answers is the coverage, the share of wrong answers among them the risk (El-Yaniv and Wiener, "On the
Foundations of Noise-free Selective Classification", 2010). A query that is out of scope has no intent that would be
right: answering it is wrong, whatever the intent.
"""

import numpy as np
import pandas as pd

from intents.evaluation.calibration import probabilities


def surest(logits: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each query's likeliest intent in scope, as a served model gives it, and whether it is right.

    Args:
        logits: (queries, intents + 1), out-of-scope last.
        labels: the right answers, (queries,).
        temperature: calibrated on validation.

    Returns:
        Probabilities (queries,), and bool (queries,).
    """
    return probabilities(logits, temperature)[:, :-1].max(axis=1), logits[:, :-1].argmax(axis=1) == labels


def weights(labels: np.ndarray, out_of_scope: int, rate: float) -> np.ndarray:
    """How much each query counts, (queries,), 1 in sum, so that a share `rate` of them is out of scope.

    If all queries are in scope, or none is, all count equally: nothing can be said of the other kind.
    """
    outside = labels == out_of_scope
    if outside.all() or not outside.any():
        return np.full(len(labels), 1 / len(labels))
    return np.where(outside, rate / outside.sum(), (1 - rate) / (~outside).sum())


def risk_by_coverage(confidence: np.ndarray, correct: np.ndarray, weight: np.ndarray | None = None) -> pd.DataFrame:
    """The risk at every coverage that a threshold of the confidence can give.

    Queries of equal confidence are answered together or not at all: no threshold tells them apart.

    Args:
        confidence: how sure the model is of its answer, (queries,).
        correct: whether the answer is right, bool, (queries,).
        weight: how much each query counts, (queries,), 1 in sum; all equal if None.

    Returns:
        A row per threshold, the highest first: threshold (queries of this confidence or more are answered), coverage
        and risk, 0 to 1.
    """
    weight = np.full(len(confidence), 1 / len(confidence)) if weight is None else weight
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of the queries that are equally sure
    coverage = np.cumsum(weight[order])[last]
    wrong = np.cumsum(np.where(correct, 0.0, weight)[order])[last]
    return pd.DataFrame({"threshold": ordered[last], "coverage": coverage, "risk": wrong / coverage})


def threshold_for(curve: pd.DataFrame, risk: float) -> float | None:
    """The lowest threshold at which at most a share `risk` (0 to 1) of the answers is wrong; None if there is none.

    Args:
        curve: as `risk_by_coverage` gives it.
    """
    allowed = curve["threshold"][curve["risk"] <= risk]
    return None if allowed.empty else float(allowed.iloc[-1])


def answered(chosen: np.ndarray, correct: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Coverage and risk where the `chosen` queries (bool, (queries,)) are answered; the risk of no answer is NaN.

    Args:
        correct, weight: as of `risk_by_coverage`.
    """
    coverage = float(weight[chosen].sum())
    return coverage, float(weight[chosen & ~correct].sum()) / coverage if chosen.any() else float("nan")
