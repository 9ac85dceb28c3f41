"""What a variant gets right, against counts made by hand."""

import numpy as np
import pandas as pd
import pytest

from intents.evaluation import calibration, quality

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


def test_accuracies_are_over_all_over_those_in_scope_and_over_those_out_of_it() -> None:
    found = quality.accuracies(np.array([0, 0, 1, OOS, 1]), np.array([0, 1, 1, OOS, OOS]), OOS)
    assert found == pytest.approx({"accuracy": 3 / 5, "in_scope_accuracy": 2 / 3, "oos_recall": 1 / 2})


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_what_cannot_be_known_without_queries_out_of_scope_is_none(missing: str) -> None:
    inside = LABELS != OOS
    logits, labels = {"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS}
    logits[missing], labels[missing] = LOGITS[inside], LABELS[inside]
    threshold, row = quality.assess(logits, labels, 0.5, 0.5)
    if missing == "validation":
        assert row["quantile"] == 0.5
        assert threshold == pytest.approx(np.log(np.exp(LOGITS[inside, :-1]).sum(axis=1)).tolist()[0], abs=1e-5)
        assert row["validation"]["expected_accuracy_with_rule"] == row["validation"]["accuracy_with_rule"]
        assert row["oos_recall_with_rule"] == 2 / 3
    else:
        assert "quantile" not in row
        assert row["oos_recall"] is row["oos_recall_with_rule"] is None
        assert row["accuracy"] == row["in_scope_accuracy"]


def test_a_variant_is_assessed_by_arg_max_and_by_a_threshold_from_validation_alone() -> None:
    threshold, row = quality.assess({"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS}, 0.5)
    assert 1.1 < threshold < 2
    assert row.pop("threshold") == threshold
    temperature, error = row.pop("temperature"), row.pop("ece")
    assert temperature == pytest.approx(calibration.fit_temperature(LOGITS, LABELS, 0.5), abs=1e-6)
    assert error == {
        name: calibration.expected_calibration_error(calibration.probabilities(LOGITS, value), LABELS)
        for name, value in (("before", 1.0), ("after", temperature))
    }
    assert len(row.pop("answers_sha256")) == 64
    expected = 0.5 * 1.0 + 0.5 * 2 / 3
    assert row.pop("validation") == pytest.approx(
        {"accuracy": 4 / 6, "accuracy_with_rule": 5 / 6, "expected_accuracy_with_rule": expected}
    )
    assert row == pytest.approx(ACCURACIES)
    # All test queries out of scope in truth: the threshold stays as it is.
    other = quality.assess({"validation": LOGITS, "test": LOGITS}, {"validation": LABELS, "test": LABELS[::-1]}, 0.5)
    assert (other[0], other[1]["temperature"]) == (threshold, temperature)
    assert other[1]["accuracy"] != row["accuracy"]


def test_the_threshold_that_is_told_is_the_one_that_was_judged_by() -> None:
    """Scores that are closer than the digits of a report: what is read there must still give the same answers."""
    scores = np.r_[np.full(5, 1.0000004), np.full(5, 1.0)]  # a threshold in the middle has more than six digits
    logits = np.stack([scores, np.full(10, -40.0), np.full(10, -40.0)], axis=1)
    labels = np.r_[np.zeros(5, int), np.full(5, OOS)]
    split = {"validation": labels, "test": labels}
    threshold, row = quality.assess({"validation": logits, "test": logits}, split, 0.5)
    assert round(threshold, 6) == threshold == row["threshold"]
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
