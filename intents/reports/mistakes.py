"""What the report says of wrong answers: their pictures, and the values that its section names."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from intents.evaluation import calibration, confusion, selective
from intents.evaluation.answers import Answers
from intents.reports import confidence
from intents.reports import confusion as drawn
from intents.reports.results import Mistakes

RISKS = (0.01, 0.02, 0.05)  # shares of wrong answers that a table row allows each


def section(answers: Answers, rate: float) -> Mistakes:
    """The section on a variant.

    Args:
        rate: the share of queries that is expected out of scope; thresholds are found for it, on validation.
    """
    before, after = calibrations(answers)
    wrong = answers.given("validation") != answers.labels["validation"]
    return Mistakes(
        answers.variant,
        int(wrong.sum()),
        len(wrong),
        drawn.intents(answers.per_intent("validation"), answers.per_intent("test")),
        drawn.pairs(answers.confused_pairs("validation")),
        confidence.answering(answering(answers, rate)),
        (before.error, after.error),
    )


def calibrations(answers: Answers) -> tuple[confidence.Calibration, confidence.Calibration]:
    """How sure a variant is beside how often it is right, on test, before and after the temperature."""
    labels = answers.labels["test"]
    before, after = (
        confidence.Calibration(
            calibration.reliability(found, labels), calibration.expected_calibration_error(found, labels)
        )
        for found in (answers.probabilities("test", 1.0), answers.probabilities("test"))
    )
    return before, after


def answering(answers: Answers, rate: float) -> list[confidence.Answered]:
    """What is answered, and how much of it wrongly: all, by the out-of-scope rule, and where the probability is high.

    Coverage and risk of validation are those at the expected rate of out-of-scope queries, those of test as it is.
    """

    def row(said: str, threshold: float | None, chosen: Mapping[str, pd.Series]) -> confidence.Answered:
        found = (answers.answered("validation", chosen["validation"], rate), answers.answered("test", chosen["test"]))
        return confidence.Answered(said, threshold, *found)

    splits = ("validation", "test")
    sure = {split: answers.surest(split)[0] for split in splits}
    rows = [
        row("all queries", None, {split: sure[split] >= 0 for split in splits}),
        row("what the rule takes for in scope", None, {split: answers.in_scope(split) for split in splits}),
    ]
    weight = selective.weights(answers.labels["validation"], len(answers.names) - 1, rate)
    curve = selective.risk_by_coverage(*answers.surest("validation"), weight)
    for risk in RISKS:
        threshold = selective.threshold_for(curve, risk)
        level = float("inf") if threshold is None else threshold
        said = f"the surest, of which {100 * risk:g} % may be wrong"
        rows.append(row(said, threshold, {split: sure[split] >= level for split in splits}))
    return rows


def figures(answers: Mapping[str, Answers], shown: str) -> dict[str, Figure]:
    """The pictures of wrong answers and of how far a probability can be trusted.

    Args:
        answers: per variant.
        shown: the variant whose mistakes they are; without a mistake on validation there is no picture of them.
    """
    drawings = {
        "reliability": confidence.reliability(
            {name: calibrations(one) for name, one in answers.items()},
            {name: one.temperature for name, one in answers.items()},
        ),
        "coverage": confidence.coverage(
            {name: selective.risk_by_coverage(*one.surest("test")) for name, one in answers.items()},
            {name: one.answered("test", one.in_scope("test")) for name, one in answers.items()},
        ),
    }
    one, split = answers[shown], "validation"
    tables = {name: each.per_intent(split) for name, each in answers.items()}
    pairs = one.confused_pairs(split)
    if not pairs.empty:
        counts = confusion.counts(one.given(split), one.labels[split], one.names)
        drawings["intents"] = drawn.worst_intents(tables, shown)
        drawings["confusions"] = drawn.confusions(counts, pairs, shown)
    return drawings
