"""Which variant is best, and which are worth a look: chosen on validation, size and latency."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from intents.core.variants import TEACHER

Table = Mapping[str, Mapping[str, Any]]  # a row per variant


def accuracy(row: Mapping[str, Any]) -> float:
    """What a variant is chosen by: its accuracy on validation with the rule, at the expected rate of out-of-scope."""
    return float(row["validation"]["expected_accuracy_with_rule"])


def best_deployable(table: Table, max_drop: float, tie: float) -> str | None:
    """The fastest deployable variant within the accuracy budget; None if none is.

    Among those as fast as the fastest (within `tie`), the most accurate on validation, and of these the smallest:
    latency is noisy, and a choice by noise would not be the same twice.

    Args:
        max_drop: the accuracy that it may cost against the teacher, 0.01 for one point.
        tie: share of the fastest one's p50 within which others count as equally fast.
    """
    allowed = accuracy(table[TEACHER]) - max_drop
    within = [name for name, row in table.items() if row["deployable"] and accuracy(row) >= allowed]
    if not within:
        return None
    fastest = min(table[name]["p50_ms"] for name in within)
    as_fast = sorted(name for name in within if table[name]["p50_ms"] <= fastest * (1 + tie))
    return max(as_fast, key=lambda name: (accuracy(table[name]), -table[name]["size_mb"]))


class Verdict(Enum):
    """What validation says of a loss beyond the budget, by the 95 % interval of the loss."""

    EXCLUDED = "excluded"  # the whole interval is within the budget
    OPEN = "open"
    CERTAIN = "certain"  # the whole interval is beyond it


def on_budget(gain_interval: Sequence[float], max_drop: float) -> Verdict:
    """Whether a variant loses more than the budget, as far as validation can tell.

    Args:
        gain_interval: of its accuracy against the teacher's, from -1 to 1.
        max_drop: the accuracy that it may cost, 0.01 for one point.
    """
    low, high = gain_interval
    if low >= -max_drop:
        return Verdict.EXCLUDED
    return Verdict.CERTAIN if high < -max_drop else Verdict.OPEN


def most_accurate_deployable(table: Table) -> str:
    """The deployable variant with the best accuracy on validation; of equals the fastest."""
    deployable = [name for name, row in table.items() if row["deployable"]]
    return max(deployable, key=lambda name: (accuracy(table[name]), -table[name]["p50_ms"]))


def pareto_front(table: Table) -> set[str]:
    """The variants that no other beats: at least as accurate, as small and as fast, and better in one of these."""
    costs = {name: np.array([-accuracy(row), row["size_mb"], row["p50_ms"]]) for name, row in table.items()}

    def beaten(ours: np.ndarray) -> bool:
        return any((theirs <= ours).all() and (theirs < ours).any() for theirs in costs.values())

    return {name for name, ours in costs.items() if not beaten(ours)}
