"""Which intents a variant gets wrong: the pictures, and the tables."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from intents.reports.markdown import percent, table
from intents.reports.style import GREEN, GREY

Tables = Mapping[str, pd.DataFrame]  # per variant, as intents.evaluation.confusion.per_intent gives them
SHOWN = 20  # intents in the picture
LISTED = 15  # rows of a table
PAIRS = 12  # whose intents the matrix shows


def worst(found: pd.DataFrame, most: int) -> pd.DataFrame:
    """The intents with the lowest F1, the lowest first, of equals in label order; none without queries or mistakes."""
    return found[(found["f1"] < 1) & (found["support"] > 0)].sort_values("f1", kind="stable").head(most)


def worst_intents(tables: Tables, shown: str) -> Figure:
    """F1 of the intents that a variant gets wrong most, beside the other variants', and what it takes them for.

    Args:
        tables: of validation; all variants have the same intents.
        shown: the variant by which the intents are chosen; it gets at least one of them wrong.
    """
    rows = worst(tables[shown], SHOWN)[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(rows) + 1.6))
    places = np.arange(len(rows))
    f1 = pd.DataFrame({name: one.loc[rows.index, "f1"] for name, one in tables.items()})
    axes.hlines(places, f1.min(axis=1), f1.max(axis=1), color="#BBBBBB", linewidth=2, zorder=1)
    for name in tables:
        # Where two are equal both are seen: the mark of the one that is shown is the smaller, and lies above.
        colour, marker, size, order = (GREEN, "D", 40, 3) if name == shown else (GREY, "o", 90, 2)
        axes.scatter(f1[name], places, color=colour, marker=marker, s=size, zorder=order, label=name)
    axes.set_yticks(places, [spelled(name) for name in rows.index])
    axes.set_xlim(max(0, np.floor(10 * f1.min(axis=None) - 0.2) / 10), 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("F1 with the rule, validation queries")
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(places, [taken_for(row) for _, row in rows.iterrows()])
    beside.tick_params(length=0, labelcolor="#444444")
    beside.spines["right"].set_visible(False)
    axes.text(1.01, 1.0, "most often taken for", transform=axes.transAxes, va="bottom", color="#444444")
    axes.set_title(f"The worst intents of {shown}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.3 * len(rows) + 1.6) - 0.06), ncols=len(tables))
    return figure


def taken_for(row: pd.Series) -> str:
    """What an intent's queries are most often answered with by mistake: "income (3 of 20)"; "" where nothing is."""
    return f"{spelled(row['confused_with'])} ({row['confused']} of {row['support']})" if row["confused"] else ""


def spelled(intent: str) -> str:
    """An intent's name as it stands in a picture, with spaces and not too long."""
    text = {"oos": "out of scope"}.get(intent, intent.replace("_", " "))
    return text if len(text) <= 32 else f"{text[:31]}…"


def confusions(counts: pd.DataFrame, pairs: pd.DataFrame, variant: str) -> Figure:
    """How often the intents of the most confused pairs are answered with each other.

    Args:
        counts: as intents.evaluation.confusion.counts gives them.
        pairs: as intents.evaluation.confusion.confused_pairs gives them; at least one.
    """
    chosen = set(pairs.head(PAIRS)[["intent", "other"]].to_numpy().ravel())
    names = [name for name in counts.index if name in chosen]
    shown = counts.loc[names, names].to_numpy()
    wrong = np.where(np.eye(len(names), dtype=bool), 0, shown)
    side = max(6.0, 0.34 * len(names) + 2.6)  # room for the labels, however few the intents
    figure, axes = plt.subplots(figsize=(side + 0.6, side))
    axes.imshow(wrong, cmap="Blues", vmin=0, vmax=max(1, wrong.max()) * 1.25)
    for row, column in zip(*np.nonzero(shown), strict=True):
        right = row == column
        dark = not right and wrong[row, column] > 0.7 * wrong.max()
        colour = GREY if right else "white" if dark else "black"
        axes.text(column, row, str(shown[row, column]), ha="center", va="center", fontsize=9, color=colour)
    labels = [spelled(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=90)
    axes.set_yticks(range(len(names)), labels)
    axes.grid(visible=False)
    axes.set_ylabel("the right answer, validation queries")
    axes.set_xlabel(f"the answer of {variant}, with the rule")
    axes.set_title("The most confused intents")
    return figure


def intents(validation: pd.DataFrame, test: pd.DataFrame) -> str:
    """The intents that a variant gets wrong most, by their F1 on validation.

    Args:
        validation, test: of one variant, as intents.evaluation.confusion.per_intent gives them.
    """
    keys = ["precision", "recall", "f1"]
    rows = [
        [
            code(str(name)),
            *(share(row[key]) for key in keys),
            f"{code(row['confused_with'])} ({row['confused']} of {row['support']})" if row["confused"] else "",
            *(share(test.loc[name, key]) for key in keys),
        ]
        for name, row in worst(validation, LISTED).iterrows()
    ]
    header = ["intent", "precision, validation", "recall", "F1", "most often taken for", "precision, test", "recall"]
    return table([*header, "F1"], rows)


def pairs(found: pd.DataFrame) -> str:
    """The pairs of intents that are most often taken for each other.

    Args:
        found: as intents.evaluation.confusion.confused_pairs gives them.
    """
    rows = [
        [code(row.intent), code(row.other), str(row.as_other), str(row.as_intent)]
        for row in found.head(LISTED).itertuples()
    ]
    return table(["intent", "other", "taken for the other", "the other taken for it"], rows)


def code(intent: str) -> str:
    """An intent's name as it stands in a table."""
    return f"`{intent.replace('|', chr(92) + '|')}`"


def share(value: float) -> str:
    """In per cent; empty where it is not known."""
    return "" if np.isnan(value) else percent(value, 1)
