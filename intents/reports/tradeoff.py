"""The pictures of what each variant costs: accuracy over latency, and size."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter

from intents.core.variants import TEACHER, parse
from intents.reports.style import FORMS, RED, colour

AREA = 7  # points² of a bubble for each MiB
ADJUSTMENT: dict[str, Any] = {  # of labels, found by trial on a table of 29 variants
    "force_text": (0.3, 0.4),
    "force_static": (0.2, 0.3),
    "expand": (1.05, 1.15),
    "max_move": 20,
    "min_arrow_len": 5,
    "iter_lim": 250,  # adjustText's other limit is a time, which would make another picture on another day
}


def tradeoff(table: pd.DataFrame, best: str | None) -> Figure:
    """Accuracy over latency, bubbles for size, the best deployable variant ringed, those of the Pareto front dotted.

    Args:
        table: a row per variant, with accuracy_with_rule (0 to 1), p50_ms, size_mb and pareto.
    """
    figure, axes = plt.subplots(figsize=(12, 8.5))
    colours = [colour(name) for name in table.index]
    place: dict[str, Any] = {"x": "p50_ms", "y": "accuracy_with_rule"}
    axes.scatter(**place, data=table, s=AREA * table["size_mb"], color=colours, alpha=0.45, edgecolors=colours)
    axes.scatter(**place, data=table[table["pareto"]], s=16, color="black", zorder=3)
    if best is not None:
        ring = AREA * table["size_mb"][best] + 250
        axes.scatter(
            **place, data=table.loc[[best]], s=ring, facecolors="none", edgecolors=RED, linewidths=2.2, zorder=4
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 3, 5)))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.tick_params(axis="x", which="minor", labelsize=8)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.margins(x=0.16, y=0.16)
    axes.set_xlabel("latency of a query, median over real ones, one at a time (ms, logarithmic)")
    axes.set_ylabel("accuracy with the out-of-scope rule, test queries")
    axes.set_title("Accuracy over latency; area: size of the model file")
    mark: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    present = {parse(name).form for name in table.index}
    handles = [
        *(
            Line2D([], [], color=shade, alpha=0.6, markersize=9, label=form.value, **mark)
            for form, shade in FORMS.items()
            if form in present
        ),
        Line2D([], [], color="black", markersize=4, label="Pareto front, by validation", **mark),
        Line2D([], [], color=RED, markerfacecolor="none", markersize=11, label="best deployable", **mark),
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.075), ncols=6, columnspacing=1.2)
    label_points(axes, table, best)
    return figure


def label_points(axes: Axes, table: pd.DataFrame, best: str | None) -> list[Text]:
    """Name and size beside each bubble; no label covers another.

    adjustText moves the labels apart. Where it finds no room for all, the less important ones are left out: the best
    variant comes first, then the teacher and the Pareto front, then the rest.

    Args:
        table: as for `tradeoff`; its bubbles are the first collection of `axes`, and all else is drawn.

    Returns:
        The labels that stayed.
    """
    figure: Figure = axes.get_figure(root=True)  # type: ignore[assignment]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the axes stay where they are now, or labels would move against each other
    texts = [
        axes.text(x, y, f"{name}\n{size:.1f} MiB", fontsize=8, ha="center", va="center", zorder=5)
        for name, x, y, size in table[["p50_ms", "accuracy_with_rule", "size_mb"]].itertuples()
    ]
    _, lines = adjust_text(
        texts,
        objects=axes.collections[0],
        **ADJUSTMENT,
        ax=axes,
        arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.7},
    )
    front = (table["pareto"] | (table.index == TEACHER)).to_numpy()
    rank = np.where(table.index == best, 0, np.where(front, 1, 2))
    kept: list[Text] = []
    for text in [texts[place] for place in np.argsort(rank, kind="stable")]:
        if any(text.get_window_extent().overlaps(other.get_window_extent()) for other in kept):
            for line in [line for line in lines if line.patchA is text]:
                line.remove()
            text.remove()
        else:
            kept.append(text)
    return kept


def sizes(table: pd.DataFrame, compressed: Mapping[str, float]) -> Figure:
    """Size of each variant's file, largest on top; a mark where zlib would bring it.

    Args:
        table: a row per variant, with size_mb.
        compressed: for some variants, the compressed size in MiB.
    """
    rows = table.sort_values("size_mb")
    longest = rows["size_mb"].max()
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.4))
    axes.barh(rows.index, rows["size_mb"], color=[colour(name) for name in rows.index], height=0.7)
    for place, (name, size) in enumerate(rows["size_mb"].items()):
        note = f"{size:.1f}"
        if name in compressed:
            axes.plot([compressed[str(name)]] * 2, [place - 0.35, place + 0.35], color="black", linewidth=2)
            note += f"  ({compressed[str(name)]:.1f} compressed)"
        axes.text(size + 0.01 * longest, place, note, va="center", fontsize=9)
    axes.set_xlim(0, 1.15 * longest)
    axes.margins(y=0.01)
    axes.grid(axis="y", visible=False)
    present = {parse(name).form for name in rows.index}
    axes.legend(
        handles=[Patch(color=shade, label=form.value) for form, shade in FORMS.items() if form in present],
        loc="lower right",
    )
    axes.set_xlabel("size of the model file (MiB)" + ("; black line: compressed with zlib" if compressed else ""))
    axes.set_title("Size of the model file")
    return figure
