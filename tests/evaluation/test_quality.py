"""What a variant gets right, against counts made by hand."""

import numpy as np
import pandas as pd
import pytest

from intents.evaluation import calibration, quality, threshold
from intents.serving import rule

OOS = 2
# Two intents and out-of-scope. Scores (log-sum-exp in scope): about 4, 4, 2, 1, 5, 0.7.
LOGITS = np.array(
    [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, -4.0, 0.0], [-4.0, 1.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 3.0]]
)
LABELS = np.array([0, 1, 0, OOS, OOS, OOS])
# By arg-max 0, 1, 0, 1, 1, oos; with a threshold between 1 and 2, the fourth is out of scope too.
ACCURACIES = {
    "accuracy": 4 / 6,
    "in_scope_accuracy": 1.0,
    "oos_recall": 1 / 3,
    "accuracy_with_rule": 5 / 6,
    "in_scope_accuracy_with_rule": 1.0,
    "oos_recall_with_rule": 2 / 3,
}


def held_out(logits: np.ndarray, labels: np.ndarray, rate: float, folds: int = 5) -> list[int]:
    """The answers with the rule, each with the threshold that the other parts of validation give."""
    place = [list(labels[:row] == OOS).count(labels[row] == OOS) % folds for row in range(len(labels))]
    found = []
    for row, fold in enumerate(place):
        others = [other for other in range(len(labels)) if place[other] != fold]
        at = threshold.calibrate(logits[others], labels[others], rate)
        score = np.log(np.exp(logits[row, :-1]).sum())
        found.append(OOS if score < at else int(logits[row].argmax()))
    return found


def drawn(seed: int, queries: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two intents and out-of-scope, and labels, half of them out of scope."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.r_[draw.integers(OOS, size=queries // 2), np.full(queries // 2, OOS)])
    logits = draw.normal(size=(queries, OOS + 1))
    logits[np.arange(queries), labels] += np.where(labels == OOS, 0.3, 2.0)
    return logits, labels


@pytest.mark.parametrize("seed", range(3))
def test_what_a_variant_is_chosen_by_has_thresholds_that_other_queries_gave(seed: int) -> None:
    logits, labels = drawn(seed)
    assert quality.cross_fitted(logits, labels, 0.3).tolist() == held_out(logits, labels, 0.3)


def test_it_is_not_flattered_by_the_queries_that_the_threshold_was_chosen_on() -> None:
    fitted, held = [], []
    for seed in range(30):
        logits, labels = drawn(seed, 20)
        at = threshold.calibrate(logits, labels, 0.5)
        fitted.append((rule.decide(logits, at) == labels).mean())
        held.append((quality.cross_fitted(logits, labels, 0.5) == labels).mean())
    assert np.mean(held) < np.mean(fitted)


@pytest.mark.parametrize("outside", [0, 1])
def test_with_one_query_out_of_scope_or_none_there_is_nothing_to_leave_out_of_them(outside: int) -> None:
    logits, labels = drawn(0)
    rows = np.r_[np.flatnonzero(labels != OOS), np.flatnonzero(labels == OOS)[:outside]]
    predicted = quality.cross_fitted(logits[rows], labels[rows], 0.3, 0.1)
    assert predicted.shape == (len(rows),)
    if outside:
        at = threshold.calibrate(logits[rows], labels[rows], 0.3)
        assert predicted[-1] == rule.decide(logits[rows[-1:]], at)[0]


def test_accuracies_are_over_all_over_those_in_scope_and_over_those_out_of_it() -> None:
    found = quality.accuracies(np.array([0, 0, 1, OOS, 1]), np.array([0, 1, 1, OOS, OOS]), OOS)
    assert found == pytest.approx({"accuracy": 3 / 5, "in_scope_accuracy": 2 / 3, "oos_recall": 1 / 2})


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_what_cannot_be_known_without_queries_out_of_scope_is_none(missing: str) -> None:
    inside = LABELS != OOS
    logits, labels = {"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS}
    logits[missing], labels[missing] = LOGITS[inside], LABELS[inside]
    at, row = quality.assess(logits, labels, 0.5, 0.5)
    if missing == "validation":
        assert row["quantile"] == 0.5
        assert at == pytest.approx(np.log(np.exp(LOGITS[inside, :-1]).sum(axis=1)).tolist()[0], abs=1e-5)
        right = quality.cross_fitted(LOGITS[inside], LABELS[inside], 0.5, 0.5) == LABELS[inside]
        assert row["validation"]["expected_accuracy_with_rule"] == right.mean()
        assert row["oos_recall_with_rule"] == 2 / 3
    else:
        assert "quantile" not in row
        assert row["oos_recall"] is row["oos_recall_with_rule"] is None
        assert row["accuracy"] == row["in_scope_accuracy"]


def test_a_variant_is_assessed_by_arg_max_and_by_a_threshold_from_validation_alone() -> None:
    at, row = quality.assess({"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS}, 0.5)
    assert 1.1 < at < 2
    assert row.pop("threshold") == at
    temperature, error = row.pop("temperature"), row.pop("ece")
    assert temperature == pytest.approx(calibration.fit_temperature(LOGITS, LABELS, 0.5), abs=1e-6)
    assert error == {
        name: calibration.expected_calibration_error(calibration.probabilities(LOGITS, value), LABELS)
        for name, value in (("before", 1.0), ("after", temperature))
    }
    assert len(row.pop("answers_sha256")) == 64
    right = np.array(held_out(LOGITS, LABELS, 0.5)) == LABELS
    expected = 0.5 * right[LABELS != OOS].mean() + 0.5 * right[LABELS == OOS].mean()
    assert row.pop("validation") == pytest.approx(
        {"accuracy": 4 / 6, "accuracy_with_rule": 5 / 6, "expected_accuracy_with_rule": expected}
    )
    assert row == pytest.approx(ACCURACIES)
    # All test queries out of scope in truth: the threshold stays as it is.
    other = quality.assess({"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS[::-1]}, 0.5)
    assert (other[0], other[1]["temperature"]) == (at, temperature)
    assert other[1]["accuracy"] != row["accuracy"]


def test_the_threshold_that_is_told_is_the_one_that_was_judged_by() -> None:
    """Scores that are closer than the digits of a report: what is read there must still give the same answers."""
    scores = np.r_[np.full(5, 1.0000004), np.full(5, 1.0)]  # a threshold in the middle has more than six digits
    logits = np.stack([scores, np.full(10, -40.0), np.full(10, -40.0)], axis=1)
    labels = np.r_[np.zeros(5, int), np.full(5, OOS)]
    split = {"validation": labels, "test": labels}
    at, row = quality.assess({"validation": logits, "test": logits}, split, 0.5)
    assert round(at, 6) == at == row["threshold"]
    right = quality.correct(logits, row["threshold"], labels)["accuracy_with_rule"]
    assert row["accuracy_with_rule"] == right.mean()


def test_equal_answers_have_equal_digests_whatever_the_logits_and_others_have_others() -> None:
    def digest(test: np.ndarray) -> str:
        row = quality.assess({"validation": LOGITS, "test": test}, {"validation": LABELS, "test": LABELS}, 0.25)[1]
        return str(row["answers_sha256"])

    assert digest(LOGITS * 1.05) == digest(LOGITS)
    other = LOGITS.copy()
    other[0] = other[1]
    assert digest(other) != digest(LOGITS)


def test_which_queries_are_right_is_told_by_arg_max_and_with_the_rule() -> None:
    found = quality.correct(LOGITS, 1.5, LABELS)
    assert found["accuracy"].tolist() == [True, True, True, False, False, True]
    assert found["accuracy_with_rule"].tolist() == [True, True, True, True, False, True]
    assert quality.correct(LOGITS, 3.0, LABELS)["accuracy_with_rule"].tolist() == [True, True, False, True, False, True]


def test_parity_is_of_logits_and_of_answers() -> None:
    theirs = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 1.0]])
    ours = theirs + np.array([[0.0, 0.5], [0.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
    assert quality.parity("half", theirs, ours) == {
        "parent": "half",
        "queries": 4,
        "max_logit_difference": 2.0,
        "mean_logit_difference": 2.5 / 8,
        "agreement": 0.75,
    }


def test_accuracy_by_group_has_a_row_per_group_and_a_column_per_variant() -> None:
    predicted = {"teacher": np.array([0, 1, 1, 0]), "half": np.array([0, 0, 1, 1])}
    found = quality.accuracy_by_group(predicted, np.array([0, 1, 1, 1]), ["b", "b", "a", "a"])
    expected = pd.DataFrame({"teacher": [0.5, 1.0], "half": [1.0, 0.5]}, index=["a", "b"])
    pd.testing.assert_frame_equal(found, expected)
