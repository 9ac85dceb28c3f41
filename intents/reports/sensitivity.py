"""The picture of what each node costs in int8."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from intents.reports.style import GREEN, GREY


def sensitivity(table: pd.DataFrame, queries: int, title: str) -> Figure:
    """A pair of bars for each node, the costliest on top.

    Args:
        table: a row per node in order of cost, with mean_difference and changed (0 to 1).
        queries: how many were asked.
    """
    rows = table[::-1]
    figure, (logits, answers) = plt.subplots(1, 2, figsize=(11, 0.27 * len(rows) + 1.4), sharey=True)
    logits.barh(rows.index, rows["mean_difference"], color=GREEN, height=0.7)
    logits.xaxis.set_major_locator(MaxNLocator(4))  # small numbers are long labels
    logits.set_xlabel("mean logit difference")
    answers.barh(rows.index, (queries * rows["changed"]).round(), color=GREY, height=0.7)
    answers.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    answers.set_xlim(0, max(1.0, answers.get_xlim()[1]))  # one answer wide where none changed
    answers.set_xlabel(f"answers changed, of {queries:,} validation queries")
    for axes in (logits, answers):
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", visible=False)
    logits.set_title(title)
    return figure
