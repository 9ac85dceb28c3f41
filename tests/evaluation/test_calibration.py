"""Temperatures and calibration errors, beside others' code and counts made by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from intents.evaluation import calibration

OOS = 3


def sure(temperature: float, queries: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right as often as softmax(logits / temperature) says, and the labels drawn so."""
    draw = np.random.default_rng(0)
    logits = 3 * draw.normal(size=(queries, OOS + 1))
    shares = functional.softmax(torch.from_numpy(logits), dim=1).numpy()
    labels = (shares.cumsum(axis=1) < draw.random((queries, 1))).sum(axis=1).clip(max=OOS)
    return logits * temperature, labels


@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_the_temperature_is_where_the_weighted_loss_of_torch_has_no_slope(rate: float) -> None:
    draw = np.random.default_rng(1)
    logits, labels = draw.normal(size=(200, OOS + 1)) * 2, draw.integers(OOS + 1, size=200)
    logits[np.arange(150), labels[:150]] += 3
    found = calibration.fit_temperature(logits, labels, rate)
    temperature = torch.tensor(found, requires_grad=True)
    each = functional.cross_entropy(torch.from_numpy(logits) / temperature, torch.from_numpy(labels), reduction="none")
    outside = torch.from_numpy(labels == OOS)
    loss = rate * each[outside].mean() + (1 - rate) * each[~outside].mean()
    loss.backward()
    assert abs(temperature.grad.item()) < 1e-5
    for other in (found * 0.9, found * 1.1):
        other_each = functional.cross_entropy(
            torch.from_numpy(logits) / other, torch.from_numpy(labels), reduction="none"
        )
        assert rate * other_each[outside].mean() + (1 - rate) * other_each[~outside].mean() > loss


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_model_that_is_too_sure_by_a_factor_is_told_so(temperature: float) -> None:
    logits, labels = sure(temperature)
    share = float((labels == OOS).mean())  # as the queries are, none weighs more
    found = calibration.fit_temperature(logits, labels, share)
    assert found == pytest.approx(temperature, rel=0.05)
    before, after = (
        calibration.expected_calibration_error(calibration.probabilities(logits, value), labels)
        for value in (1.0, found)
    )
    assert after < 0.02
    assert before == pytest.approx(after, abs=0.01) if temperature == 1 else before > 3 * after


def test_the_rate_says_how_much_an_out_of_scope_query_weighs() -> None:
    """Right and sure in scope, wrong and sure out of it: the more of these, the less it should be sure."""
    logits = np.zeros((40, OOS + 1))
    logits[:, 0] = 5
    labels = np.r_[np.zeros(36, int), np.full(4, OOS)]
    found = [calibration.fit_temperature(logits, labels, rate) for rate in (0.01, 0.1, 0.3)]
    assert found == sorted(found)
    assert found[2] > 1.5 * found[0]


def test_where_all_answers_are_right_the_temperature_stays_within_bounds() -> None:
    logits = np.eye(OOS + 1)[[0, 1, 2, 3]] * 9
    assert calibration.BOUNDS[0] <= calibration.fit_temperature(logits, np.arange(4), 0.2) < 0.5


def test_probabilities_are_those_of_torch_and_do_not_overflow() -> None:
    logits = np.array([[1000.0, 990.0, 0.0], [-1000.0, -1000.0, -1000.0]], np.float32)
    expected = functional.softmax(torch.from_numpy(logits).double() / 4, dim=1).numpy()
    np.testing.assert_allclose(calibration.probabilities(logits, 4.0), expected, rtol=1e-12)


def test_the_calibration_error_is_that_counted_bin_by_bin() -> None:
    draw = np.random.default_rng(2)
    found = draw.dirichlet([0.4, 0.4, 0.4], size=500)
    labels = draw.integers(3, size=500)
    error = 0.0
    for place in range(15):
        inside = [row for row in range(500) if place / 15 < found[row].max() <= (place + 1) / 15]
        if inside:
            right = sum(found[row].argmax() == labels[row] for row in inside) / len(inside)
            error += len(inside) / 500 * abs(right - sum(found[row].max() for row in inside) / len(inside))
    assert calibration.expected_calibration_error(found, labels) == pytest.approx(error, abs=1e-12)


def test_a_model_that_is_as_often_right_as_it_says_has_no_error_and_one_that_is_always_wrong_all_of_it() -> None:
    found = np.array([[0.8, 0.2]] * 5)
    assert calibration.expected_calibration_error(found, np.array([0, 0, 0, 0, 1])) == pytest.approx(0, abs=1e-12)
    assert calibration.expected_calibration_error(np.eye(2), np.array([1, 0])) == 1


def test_the_table_of_calibration_has_every_bin_and_leaves_out_nothing() -> None:
    found = np.array([[0.9, 0.1], [0.95, 0.05], [0.55, 0.45], [0.6, 0.4]])
    table = calibration.reliability(found, np.array([0, 1, 0, 0]), bins=10)
    assert table["high"].tolist() == pytest.approx([place / 10 for place in range(1, 11)])
    assert table["queries"].tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 1, 1]  # closed above: 0.6 and 0.9 belong to the lower
    assert table["confidence"].dropna().tolist() == pytest.approx([0.575, 0.9, 0.95])
    assert table["accuracy"].dropna().tolist() == [1, 1, 0]
    assert table["accuracy"].isna().sum() == 7
