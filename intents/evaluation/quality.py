"""What a variant gets right, from its logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from intents.core import files
from intents.evaluation.calibration import expected_calibration_error, fit_temperature, probabilities
from intents.evaluation.threshold import calibrate, expected_accuracy
from intents.serving.rule import decide

FOLDS = 5  # parts of validation, each judged with a threshold from the others


def accuracies(predicted: np.ndarray, labels: np.ndarray, oos: int) -> dict[str, float | None]:
    """Accuracy over all queries, over those in scope, and the recall of those out of scope: None if there are none."""
    correct, outside = predicted == labels, labels == oos
    return {
        "accuracy": float(correct.mean()),
        "in_scope_accuracy": float(correct[~outside].mean()),
        "oos_recall": float(correct[outside].mean()) if outside.any() else None,
    }


def cross_fitted(logits: np.ndarray, labels: np.ndarray, rate: float, quantile: float | None = None) -> np.ndarray:
    """The labels that the rule gives, (queries,), each with a threshold that was calibrated on other queries.

    A threshold is a little too good for the queries that it was chosen on. So it is calibrated `FOLDS` times, each time
    without a part of the queries, which it then judges. Each part has its share of the queries in scope and out of it.
    Of a kind with fewer queries than two, none can be left out.

    Args:
        logits: (queries, intents + 1), out-of-scope last.
        labels: (queries,).
        rate, quantile: as for `assess`.
    """
    outside = labels == logits.shape[1] - 1
    fold = np.full(len(labels), -1)
    for half in (outside, ~outside):
        if half.sum() > 1:
            fold[half] = np.arange(half.sum()) % FOLDS
    predicted = decide(logits, calibrate(logits, labels, rate, quantile))
    for number in range(fold.max() + 1):
        judged = fold == number
        threshold = calibrate(logits[~judged], labels[~judged], rate, quantile)
        predicted[judged] = decide(logits[judged], threshold)
    return predicted


def assess(
    logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], rate: float, quantile: float | None = None
) -> tuple[float, dict[str, Any]]:
    """The out-of-scope threshold, calibrated on validation, and the variant's figures.

    Args:
        logits: per split ("validation", "test") an array (queries, intents + 1).
        labels: per split an array (queries,).
        rate: expected share of out-of-scope queries.
        quantile: of the scores in scope, the threshold where validation has no out-of-scope queries.

    Returns:
        The threshold and {"accuracy", "in_scope_accuracy", "oos_recall" on test by arg-max, the same three
        `_with_rule`, "validation": {...}, "threshold", "temperature", "ece": {"before", "after"}, "answers_sha256"}.
        `ece` is the expected calibration error on test, of the raw logits and with the temperature. The digest is
        over the labels that the rule gives to the test queries: equal digests are equal answers, on whatever machine.
        Where validation has no out-of-scope queries, also "quantile", which the threshold is. The accuracy that a
        variant is chosen by, "expected_accuracy_with_rule" on validation, is `cross_fitted`.
    """
    # As precise as it is written: what is served from the report then answers as what is judged here.
    threshold = files.rounded(calibrate(logits["validation"], labels["validation"], rate, quantile))
    temperature = files.rounded(fit_temperature(logits["validation"], labels["validation"], rate))
    oos = logits["test"].shape[1] - 1
    figures: dict[str, Any] = {}
    for split in ("validation", "test"):
        ruled = decide(logits[split], threshold)
        figures[split] = accuracies(logits[split].argmax(axis=1), labels[split], oos) | {
            f"{name}_with_rule": value for name, value in accuracies(ruled, labels[split], oos).items()
        }
    chosen_by = cross_fitted(logits["validation"], labels["validation"], rate, quantile)
    answers = decide(logits["test"], threshold).astype("<i2")
    validation = figures["validation"]
    by_quantile = {} if (labels["validation"] == oos).any() else {"quantile": quantile}
    return threshold, {
        **figures["test"],
        "validation": {
            **{name: validation[name] for name in ("accuracy", "accuracy_with_rule")},
            "expected_accuracy_with_rule": expected_accuracy(chosen_by, labels["validation"], oos, rate),
        },
        "threshold": threshold,
        **by_quantile,
        "temperature": temperature,
        "ece": {
            name: expected_calibration_error(probabilities(logits["test"], value), labels["test"])
            for name, value in (("before", 1.0), ("after", temperature))
        },
        "answers_sha256": files.sha256(answers.tobytes()),
    }


def correct(logits: np.ndarray, threshold: float, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Whether each query is answered rightly, by arg-max and with the rule: {measure: bool, (queries,)}."""
    return {
        "accuracy": logits.argmax(axis=1) == labels,
        "accuracy_with_rule": decide(logits, threshold) == labels,
    }


def parity(parent: str, theirs: np.ndarray, ours: np.ndarray) -> dict[str, Any]:
    """How a converted model's logits differ from its parent's on the same queries.

    Args:
        parent: the variant it came from.
        theirs, ours: logits (queries, labels), row for row.
    """
    return {
        "parent": parent,
        "queries": len(ours),
        "max_logit_difference": float(np.abs(theirs - ours).max()),
        "mean_logit_difference": float(np.abs(theirs - ours).mean()),
        "agreement": float((theirs.argmax(axis=1) == ours.argmax(axis=1)).mean()),
    }


def accuracy_by_group(predicted: Mapping[str, np.ndarray], labels: np.ndarray, groups: Sequence[str]) -> pd.DataFrame:
    """A row per group, such as a domain, and a column per variant: the share of right answers.

    Args:
        predicted: per variant the labels it gave, (queries,).
        labels: the right ones, (queries,).
        groups: that of each query, (queries,).
    """
    right = pd.DataFrame({variant: answers == labels for variant, answers in predicted.items()})
    return right.groupby(np.asarray(groups)).mean()
