"""The out-of-scope rule: its threshold against a search that tries every threshold on every resample, in fractions."""

from fractions import Fraction
from itertools import pairwise
from statistics import median

import numpy as np
import pytest

from intents.evaluation import threshold

INTENTS, INSIDE, OUTSIDE = 3, 16, 8  # powers of two: then the sums of floats are exact, and so are ties


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (queries, intents + 1) and labels, those in scope and out of scope mixed; the latter score lower."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.r_[draw.integers(INTENTS, size=INSIDE), np.full(OUTSIDE, INTENTS)])
    logits = draw.normal(size=(len(labels), INTENTS + 1))
    logits[np.arange(len(labels)), labels] += np.where(labels == INTENTS, 0.5, 2.0)
    return logits.astype(np.float32), labels


def search(logits: np.ndarray, labels: np.ndarray, rate: Fraction, resamples: int, seed: int) -> float:
    """The same threshold by the definition alone: on each resample the one with the best expected accuracy."""
    score = [float(np.log(np.exp(row[:-1].astype(float)).sum())) for row in logits]
    order = sorted(range(len(labels)), key=lambda query: score[query])
    ranked = [score[query] for query in order]
    thresholds = [ranked[0] - 1, *((low + high) / 2 for low, high in pairwise(ranked))]
    halves = [[query for query in order if (labels[query] == INTENTS) == outside] for outside in (True, False)]

    def accuracy(threshold: float, queries: list[int]) -> Fraction:
        decided = [INTENTS if score[query] < threshold else int(logits[query].argmax()) for query in queries]
        right = sum(answer == labels[query] for answer, query in zip(decided, queries, strict=True))
        return Fraction(int(right), len(queries))

    draw, best = np.random.default_rng(seed), []
    for _ in range(resamples):
        outside, inside = ([half[place] for place in draw.integers(len(half), size=len(half))] for half in halves)
        best.append(max(thresholds, key=lambda at: rate * accuracy(at, outside) + (1 - rate) * accuracy(at, inside)))
    return median(best)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [Fraction(1, 4), Fraction(1, 2)])
def test_the_threshold_is_the_median_of_the_best_ones_of_the_resamples(seed: int, rate: Fraction) -> None:
    logits, labels = drawn(seed)
    found = threshold.calibrate(logits, labels, float(rate), resamples=15, seed=seed)
    assert found == pytest.approx(search(logits, labels, rate, 15, seed), abs=1e-9)


def test_the_more_is_expected_out_of_scope_the_higher_the_threshold() -> None:
    logits, labels = drawn(0)
    thresholds = [threshold.calibrate(logits, labels, rate) for rate in (0.02, 0.2, 0.5, 0.9)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_expected_accuracy_weighs_each_half_by_its_share_of_the_traffic() -> None:
    labels, predicted = np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, 0, 2])
    assert threshold.expected_accuracy(predicted, labels, 2, 0.2) == pytest.approx(0.8 * 3 / 4 + 0.2 * 1)


@pytest.mark.parametrize("label", [0, INTENTS])
def test_without_one_of_the_halves_there_is_nothing_to_calibrate_on(label: int) -> None:
    with pytest.raises(ValueError, match="in scope and out of scope"):
        threshold.calibrate(np.zeros((4, INTENTS + 1)), np.full(4, label), 0.2)
