"""The out-of-scope rule: its threshold against the definition, query by query and threshold by threshold."""

import math
from statistics import NormalDist, quantiles

import numpy as np
import pytest

from intents.evaluation import threshold

INTENTS, INSIDE, OUTSIDE = 3, 16, 8


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (queries, intents + 1) and labels, those in scope and out of scope mixed; the latter score lower."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.r_[draw.integers(INTENTS, size=INSIDE), np.full(OUTSIDE, INTENTS)])
    logits = draw.normal(size=(len(labels), INTENTS + 1))
    logits[np.arange(len(labels)), labels] += np.where(labels == INTENTS, 0.5, 2.0)
    return logits.astype(np.float32), labels


def expected(logits: np.ndarray, labels: np.ndarray, rate: float, at: float) -> float:
    """The expected accuracy with a threshold where each query's score is not a number but a normal distribution."""
    total = 0.0
    for outside, share in ((True, rate), (False, 1 - rate)):
        rows = [row for row in range(len(labels)) if (labels[row] == INTENTS) == outside]
        score = [math.log(sum(math.exp(value) for value in logits[row, :-1].astype(float))) for row in rows]
        low, _, high = quantiles(score, n=4, method="inclusive")
        width = 0.9 * min(float(np.std(score)), (high - low) / 1.34) * len(score) ** -0.2
        for row, centre in zip(rows, score, strict=True):
            under = NormalDist(centre, width).cdf(at)  # the chance that the rule says "out of scope"
            right = int(logits[row].argmax()) == labels[row]
            total += share / len(rows) * (under * outside + (1 - under) * right)
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_no_threshold_is_better_on_the_smoothed_scores(seed: int, rate: float) -> None:
    logits, labels = drawn(seed)
    found = threshold.calibrate(logits, labels, rate)
    score = np.log(np.exp(logits[:, :-1].astype(float)).sum(axis=1))
    others = np.linspace(score.min(), score.max(), 200)
    best = max(expected(logits, labels, rate, at) for at in others)
    assert expected(logits, labels, rate, found) == pytest.approx(best, abs=2e-4)
    assert np.ptp([expected(logits, labels, rate, at) for at in others]) > 0.01  # it matters which one


def test_one_query_more_moves_the_threshold_little() -> None:
    logits, labels = drawn(1)
    found = threshold.calibrate(logits, labels, 0.2)
    without = [
        threshold.calibrate(np.delete(logits, row, 0), np.delete(labels, row), 0.2) for row in range(len(labels))
    ]
    spread = np.ptp(np.log(np.exp(logits[:, :-1]).sum(axis=1)))
    assert max(abs(other - found) for other in without) < 0.25 * spread


def test_scores_that_are_all_alike_give_a_threshold_that_is_finite() -> None:
    logits = np.zeros((4, INTENTS + 1), np.float32)
    assert math.isfinite(threshold.calibrate(logits, np.array([0, 1, INTENTS, INTENTS]), 0.2))


def test_the_more_is_expected_out_of_scope_the_higher_the_threshold() -> None:
    logits, labels = drawn(0)
    thresholds = [threshold.calibrate(logits, labels, rate) for rate in (0.02, 0.2, 0.5, 0.9)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_expected_accuracy_weighs_each_half_by_its_share_of_the_traffic() -> None:
    labels, predicted = np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, 0, 2])
    assert threshold.expected_accuracy(predicted, labels, 2, 0.2) == pytest.approx(0.8 * 3 / 4 + 0.2 * 1)


@pytest.mark.parametrize("quantile", [0.0, 0.02, 0.5])
def test_without_queries_out_of_scope_the_threshold_is_a_quantile_of_the_scores(quantile: float) -> None:
    logits = np.random.default_rng(0).normal(size=(1000, INTENTS + 1))
    found = threshold.calibrate(logits, np.zeros(1000, int), 0.2, quantile)
    score = np.log(np.exp(logits[:, :-1]).sum(axis=1))
    assert (score < found).mean() == pytest.approx(quantile, abs=1e-3)


def test_the_quantile_says_nothing_where_queries_are_out_of_scope() -> None:
    logits, labels = drawn(0)
    assert threshold.calibrate(logits, labels, 0.2, 0.9) == threshold.calibrate(logits, labels, 0.2)


def test_expected_accuracy_without_queries_out_of_scope_is_that_in_scope() -> None:
    assert threshold.expected_accuracy(np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1]), 2, 0.2) == 0.5


@pytest.mark.parametrize("label", [0, INTENTS])
def test_without_one_of_the_halves_there_is_nothing_to_calibrate_on(label: int) -> None:
    with pytest.raises(ValueError, match="in scope and out of scope"):
        threshold.calibrate(np.zeros((4, INTENTS + 1)), np.full(4, label), 0.2)
