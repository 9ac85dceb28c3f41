"""Risk against coverage, query by query."""

import numpy as np
import pytest

from intents.evaluation import selective
from intents.evaluation.threshold import expected_accuracy

CONFIDENCE = np.array([0.5, 0.9, 0.7, 0.7, 0.95])
RIGHT = np.array([True, False, True, False, True])


def test_the_surest_are_answered_first_and_equals_together() -> None:
    found = selective.risk_by_coverage(CONFIDENCE, RIGHT)
    assert found["threshold"].tolist() == [0.95, 0.9, 0.7, 0.5]
    assert found["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert found["risk"].tolist() == pytest.approx([0, 1 / 2, 2 / 4, 2 / 5])


def test_a_curve_is_what_its_thresholds_give() -> None:
    draw = np.random.default_rng(0)
    confidence, right = draw.random(300).round(2), draw.random(300) < 0.8
    weight = draw.random(300)
    weight /= weight.sum()
    for row in selective.risk_by_coverage(confidence, right, weight).itertuples():
        found = selective.answered(confidence >= row.threshold, right, weight)
        assert (row.coverage, row.risk) == pytest.approx(found)


def test_the_threshold_for_a_risk_is_the_lowest_that_keeps_to_it() -> None:
    curve = selective.risk_by_coverage(CONFIDENCE, RIGHT)
    assert selective.threshold_for(curve, 0.0) == 0.95
    assert selective.threshold_for(curve, 0.4) == 0.5  # although at 0.7 the risk is higher
    assert selective.threshold_for(selective.risk_by_coverage(CONFIDENCE, ~RIGHT), 0.1) is None


def test_no_answer_has_no_risk() -> None:
    coverage, risk = selective.answered(np.zeros(5, bool), RIGHT, np.full(5, 0.2))
    assert coverage == 0
    assert np.isnan(risk)


def test_weights_are_those_of_the_expected_rate() -> None:
    labels = np.array([0, 0, 1, 0, 2])
    found = selective.weights(labels, 2, 0.3)
    assert found.sum() == pytest.approx(1)
    predicted = np.array([0, 1, 1, 0, 1])
    assert found[predicted == labels].sum() == pytest.approx(expected_accuracy(predicted, labels, 2, 0.3))


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [2, 2, 2, 2]])
def test_without_one_kind_of_query_all_count_alike(labels: list[int]) -> None:
    assert selective.weights(np.array(labels), 2, 0.3).tolist() == [0.25] * 4


def test_sure_is_the_likeliest_intent_in_scope_and_right_only_in_scope() -> None:
    logits = np.array([[2.0, 0.0, 5.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
    confidence, right = selective.surest(logits, np.array([0, 2, 0]), 2.0)
    odds = np.exp(logits / 2)
    assert confidence == pytest.approx(odds[:, :2].max(axis=1) / odds.sum(axis=1))
    assert right.tolist() == [True, False, True]  # of the first the likeliest intent, though it is called out of scope
