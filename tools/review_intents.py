"""The parts of a review that say which variants and which intents moved, beyond the noise of so many comparisons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from intents.evaluation import statistics
from intents.reports.markdown import table

INTENT = "intent"  # the column of reports/correct.csv
LEVEL = 0.05  # of the intents that are named, at most this share is expected to be noise


class Moved(NamedTuple):
    """What a review says of intents."""

    rows: str  # a table as Markdown; empty if none moved
    variants: list[str]  # that were compared
    comparisons: int
    level: float = LEVEL


def differing(before: pd.DataFrame, after: pd.DataFrame, variants: Sequence[str]) -> set[str]:
    """The variants that answer more test queries rightly than before, or fewer, beyond the noise of so many variants.

    Args:
        before, after: reports/correct.csv of two revisions with the same test queries.
        variants: those with other answers than before; both revisions have them.
    """
    everything = ["all"] * len(after)
    values = [statistics.changes_by_group(after[name], before[name], everything)["p"].iloc[0] for name in variants]
    corrected = statistics.corrected(np.array(values))
    return {name for name, value in zip(variants, corrected, strict=True) if value < LEVEL}


def moved(before: pd.DataFrame, after: pd.DataFrame, variants: Sequence[str]) -> Moved | None:
    """The intents of which a variant answers more test queries rightly than before, or fewer, beyond noise.

    Args:
        before, after: reports/correct.csv of two revisions with the same test queries.
        variants: those to compare; both revisions have them.

    Returns:
        None where `after` does not say which intent a query has, as reports of older revisions do not.
    """
    if INTENT not in after or not variants:
        return None
    groups = after[INTENT].astype(str).tolist()
    changes = {
        name: statistics.changes_by_group(after[name].to_numpy(), before[name].to_numpy(), groups) for name in variants
    }
    found = pd.concat(changes, names=["variant", INTENT]).reset_index()
    found["corrected"] = statistics.corrected(found["p"].to_numpy())
    named = found[found["corrected"] < LEVEL].sort_values("corrected", kind="stable")
    rows = [
        [
            f"`{row.intent.replace('|', chr(92) + '|')}`",
            row.variant,
            *(f"{number} of {row.queries}" for number in (row.before, row.after)),
            *(str(number) for number in (row.won, row.lost)),
            f"{row.corrected:.2g}",
            "**better**" if row.won > row.lost else "**worse**",
        ]
        for row in named.itertuples()
    ]
    header = ["intent", "variant", "right before", "after", "won", "lost", "p, corrected", ""]
    return Moved(table(header, rows) if rows else "", list(variants), len(found))
