"""The pictures of accuracy: scores in and out of scope, and accuracy by domain."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from intents.reports.style import BLUE, GREEN, GREY, ORANGE


def score_distribution(scores: np.ndarray, outside: np.ndarray, threshold: float, variant: str) -> Figure:
    """How the rule's score is distributed in and out of scope, with the threshold.

    Args:
        scores: of the test queries, (queries,).
        outside: whether each is out of scope, (queries,).
    """
    figure, axes = plt.subplots(figsize=(9, 4))
    bins = np.linspace(scores.min(), scores.max(), 80)
    halves = ((~outside, BLUE, "in scope"), (outside, ORANGE, "out of scope"))
    for rows, colour, label in (half for half in halves if half[0].any()):
        axes.hist(
            scores[rows],
            bins=bins.tolist(),
            density=True,
            color=colour,
            alpha=0.6,
            label=f"{label} ({rows.sum():,} queries)",
        )
    axes.axvline(threshold, color="black", linewidth=1.5)
    axes.text(threshold, axes.get_ylim()[1], f" threshold {threshold:.2f}, from validation", va="top")
    kept = (scores[~outside] >= threshold).mean()
    others = f", {(scores[outside] < threshold).mean():.1%} of the others below" if outside.any() else ""
    axes.set_xlabel(f"score of a query: {kept:.1%} of those in scope lie above the threshold{others}")
    axes.set_yticks([])
    axes.set_ylabel("density")
    axes.set_title(f"Scores of the test queries, {variant}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def accuracy_by_domain(accuracy: pd.DataFrame) -> Figure:
    """Accuracy with the rule in each domain, one mark per variant.

    Args:
        accuracy: a row per domain, a column per variant, 0 to 1.
    """
    rows = accuracy.sort_values(accuracy.columns[0])
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(rows) + 1.6))
    places = np.arange(len(rows))
    axes.hlines(places, rows.min(axis=1), rows.max(axis=1), color="#BBBBBB", linewidth=2, zorder=1)
    for variant, colour, marker in zip(rows.columns, (GREY, BLUE, GREEN), "osD", strict=False):
        axes.scatter(rows[variant], places, color=colour, marker=marker, s=45, label=variant, zorder=2)
    axes.set_yticks(places, [name.replace("_", " ") for name in rows.index])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("accuracy with the rule, test queries")
    axes.set_title("Accuracy by domain")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.36 * len(rows) + 1.6) - 0.06), ncols=3)
    return figure
