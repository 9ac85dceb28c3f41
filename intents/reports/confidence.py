"""How far a probability can be trusted: the pictures of calibration and of answering only when sure, and a table."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import binomtest

from intents.reports.markdown import percent, table
from intents.reports.style import BLUE, GREEN, GREY, ORANGE

FEWEST = 10  # queries of a bin that is drawn


class Calibration(NamedTuple):
    """How sure a variant is, beside how often it is right."""

    table: pd.DataFrame  # as intents.evaluation.calibration.reliability gives it
    error: float  # the expected calibration error, 0 to 1


class Answered(NamedTuple):
    """What a variant does where it answers only some of the queries."""

    rule: str  # which queries it answers, in words
    threshold: float | None  # of the probability; None where something else decides, or nothing is answered
    validation: tuple[float, float]  # coverage and risk, 0 to 1
    test: tuple[float, float]


def reliability(found: Mapping[str, tuple[Calibration, Calibration]], temperatures: Mapping[str, float]) -> Figure:
    """How often answers are right by how sure the model is of them, before and after the temperature.

    Bins with fewer than `FEWEST` queries are left out: they would show noise.

    Args:
        found: per variant, the calibration of its raw logits and with the temperature.
        temperatures: per variant.
    """
    figure, grid = plt.subplots(
        2, len(found), figsize=(4.5 * max(2, len(found)), 6.2), sharex=True, squeeze=False, height_ratios=[4, 1]
    )
    for (name, (before, after)), (above, below) in zip(found.items(), grid.T, strict=True):
        above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="as often right as it is sure")
        for each, colour, marks, label in (
            (before, ORANGE, {"marker": "s", "linestyle": "--", "markerfacecolor": "white"}, "logits as they are"),
            (after, BLUE, {"marker": "o", "linestyle": "-"}, f"with the temperature {temperatures[name]:.2f}"),
        ):
            rows = each.table[each.table["queries"] >= FEWEST]
            said = f"{label}: off by {percent(each.error)}"
            above.plot(rows["confidence"], rows["accuracy"], color=colour, label=said, **marks)
        rows = after.table[after.table["queries"] >= FEWEST]
        right = (rows["accuracy"] * rows["queries"]).round().astype(int)
        bounds = np.array(
            [
                binomtest(int(k), int(n)).proportion_ci(method="wilson")
                for k, n in zip(right, rows["queries"], strict=True)
            ]
        ).reshape(-1, 2)
        above.vlines(rows["confidence"], bounds[:, 0], bounds[:, 1], color=BLUE, alpha=0.35, linewidth=4)
        above.set_title(name)
        above.set_ylabel("share of right answers")
        above.set_ylim(0, 1.02)
        share = after.table["queries"] / after.table["queries"].sum()
        width = after.table["high"] - after.table["low"]
        below.bar(after.table["low"] + 0.05 * width, share, width=0.9 * width, align="edge", color=BLUE)
        below.set_ylabel("queries")
        below.set_xlabel("probability of the answer")
        below.set_xlim(0, 1.005)
        below.legend(*above.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.5))
        for axis in (above.yaxis, below.xaxis, below.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def coverage(curves: Mapping[str, pd.DataFrame], rules: Mapping[str, tuple[float, float]]) -> Figure:
    """Wrong answers among those given, by the share of queries that is answered.

    Args:
        curves: per variant, two at most, as intents.evaluation.selective.risk_by_coverage gives them.
        rules: per variant, coverage and risk where the out-of-scope rule says what is answered.
    """
    figure, axes = plt.subplots(figsize=(9, 4.6))
    for (name, curve), colour, line, marker in zip(curves.items(), (GREY, GREEN), ("--", "-"), "oD", strict=False):
        axes.plot(curve["coverage"], curve["risk"], color=colour, linestyle=line, linewidth=2, label=name)
        axes.scatter(*rules[name], color=colour, marker=marker, s=60, zorder=3, label=f"{name}, by the rule")
    axes.set_xlim(0, 1.005)
    axes.set_ylim(0, 1.05 * max(curve["risk"].iloc[-1] for curve in curves.values()) + 0.002)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the test queries that is answered with an intent, the surest first")
    axes.set_ylabel("wrong answers among them")
    axes.set_title("Answering only when sure")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=len(curves))
    return figure


def answering(rows: Sequence[Answered]) -> str:
    """How many queries are answered, and how many of the answers are wrong, by what decides which are answered."""

    def share(value: float) -> str:
        return "" if np.isnan(value) else percent(value, 1)

    cells = [
        [
            row.rule,
            "" if row.threshold is None else f"{row.threshold:.3f}",
            *(share(value) for value in (*row.validation, *row.test)),
        ]
        for row in rows
    ]
    header = ["answered are", "probability at least", "validation, answered", "of these wrong", "test, answered"]
    return table([*header, "of these wrong"], cells)
