"""The pictures of the report. Each function takes what it draws and returns a matplotlib figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path as Path2D
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

from stages.library import artifacts
from stages.library.settings import between

matplotlib.use("Agg")

# Okabe and Ito's palette: told apart with any colour vision. One colour for each form that a model takes.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#7A7A7A", "#D55E00"
FORMS = {"PyTorch float32": GREY, "PyTorch int8": ORANGE, "ONNX float32": BLUE, "ONNX int8": GREEN}

STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
}


def form(variant: str) -> str:
    """The form of a variant, from its name: MODEL, MODEL-torch-METHOD, MODEL-onnx or MODEL-ort-METHOD."""
    if variant.endswith("-onnx"):
        return "ONNX float32"
    if "-ort-" in variant:
        return "ONNX int8"
    return "PyTorch int8" if "-torch-" in variant else "PyTorch float32"


def save(figure: Figure, path: Path, dpi: int) -> None:
    with artifacts.new_file(path) as scratch:
        figure.savefig(scratch, dpi=dpi, format="png", metadata={"Software": None})
    plt.close(figure)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What `plot` in params.yaml says of every picture."""

    dpi: int = between(50, 600)


def tradeoff(table: pd.DataFrame, best: str | None) -> Figure:
    """Accuracy over latency, bubbles for size, the best deployable variant ringed, those of the Pareto front dotted.

    Args:
        table: a row per variant, with accuracy_with_rule (0 to 1), p50_ms, size_mb and pareto.
    """
    figure, axes = plt.subplots(figsize=(11, 7))
    area = table["size_mb"] * 10
    for kind, colour in FORMS.items():
        rows = table[[form(name) == kind for name in table.index]]
        axes.scatter(
            rows["p50_ms"],
            rows["accuracy_with_rule"],
            s=area[rows.index],
            color=colour,
            alpha=0.45,
            edgecolors=colour,
        )
    front = table[table["pareto"]]
    axes.scatter(front["p50_ms"], front["accuracy_with_rule"], s=16, color="black", zorder=3)
    if best is not None:
        row = table.loc[best]
        axes.scatter(
            row["p50_ms"],
            row["accuracy_with_rule"],
            s=area[best] + 250,
            facecolors="none",
            edgecolors=RED,
            linewidths=2.2,
            zorder=4,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.tick_params(axis="x", which="minor", labelsize=8)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.margins(x=0.14, y=0.2)
    axes.set_xlabel("latency of a query, median over real ones, one at a time (ms, logarithmic)")
    axes.set_ylabel("accuracy with the out-of-scope rule, test queries")
    axes.set_title("Accuracy over latency; area: size of the model file")
    mark = {"linestyle": "none", "marker": "o"}
    handles = [
        *(Line2D([], [], color=colour, alpha=0.6, markersize=9, label=kind, **mark) for kind, colour in FORMS.items()),  # type: ignore[arg-type]
        Line2D([], [], color="black", markersize=4, label="Pareto front, by validation", **mark),  # type: ignore[arg-type]
        Line2D([], [], color=RED, markerfacecolor="none", markersize=11, label="best deployable", **mark),  # type: ignore[arg-type]
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=6, columnspacing=1.2)
    _label_points(axes, table, np.sqrt(area.to_numpy()) / 2, best)
    return figure


# Where a label may stand, from the centre of its bubble: up, down, right, left, and between these.
UNIT, HALF = (1.0, -1.0), (0.5, -0.5)
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), *product(UNIT, UNIT), *product(UNIT, HALF), *product(HALF, UNIT))
GAPS = (3, 12, 22, 34, 46, 60, 76)  # from the bubble's edge, in points; from the second on a line leads to it


def _label_points(axes: Axes, table: pd.DataFrame, radii: np.ndarray, best: str | None) -> None:
    """Name and size beside each bubble, or where there is room with a line to it: no label covers another.

    The best variant comes first, then the teacher and the Pareto front, whose labels may cover a bubble if there is no
    other way, then the rest, whose may not: what finds no room has none.

    Args:
        radii: of the bubbles, in points, (variants,).
    """
    figure: Figure = axes.get_figure(root=True)  # type: ignore[assignment]
    figure.draw_without_rendering()  # so that places are as drawn
    pixels = figure.dpi / 72
    centres = axes.transData.transform(table[["p50_ms", "accuracy_with_rule"]].to_numpy())
    important = (table["pareto"] | (table.index == "teacher")).to_numpy()
    rank = np.where(table.index == best, 0, np.where(important, 1, 2))
    labels: list[Bbox] = []
    lines: list[np.ndarray] = []  # each two points
    for place in np.argsort(rank, kind="stable"):
        point = (table["p50_ms"].iloc[place], table["accuracy_with_rule"].iloc[place])
        text = f"{table.index[place]}\n{table['size_mb'].iloc[place]:.1f} MiB"
        label = axes.annotate(
            text, point, (0, 0), textcoords="offset points", fontsize=8, ha="center", va="center", zorder=5
        )
        size = label.get_window_extent().size
        label.remove()
        ways: list[tuple[int, int, Bbox, np.ndarray]] = []
        for gap in GAPS:
            for direction in np.array(DIRECTIONS):
                away = direction / np.hypot(*direction)
                edge = centres[place] + away * radii[place] * pixels
                anchor = edge + away * gap * pixels
                box = Bbox([anchor + (direction - 1) / 2 * size, anchor + (direction + 1) / 2 * size]).padded(2)
                line = np.array([edge, anchor])
                inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
                inside = inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
                if not inside or any(box.overlaps(other) for other in labels):
                    continue
                if any(_crosses(other, box) for other in lines) or any(_crosses(line, other) for other in labels):
                    continue
                if any(Path2D(line).intersects_path(Path2D(other), filled=False) for other in lines):
                    continue
                near = zip(centres, radii, strict=True)
                ways.append((sum(_distance(box, centre) < r * pixels for centre, r in near), gap, box, line))
        if not ways:
            continue
        covered, gap, box, line = min(ways, key=lambda way: way[:2])
        if covered and not important[place]:
            continue
        led = gap > GAPS[0]
        axes.annotate(
            text,
            point,
            tuple((np.add(box.min, box.max) / 2 - centres[place]) / pixels),
            textcoords="offset points",
            fontsize=8,
            ha="center",
            va="center",
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.7, "shrinkA": 0, "shrinkB": radii[place]}
            if led
            else None,
        )
        labels.append(box)
        if led:
            lines.append(line)


def _distance(box: Bbox, point: np.ndarray) -> float:
    """How far a point is from a box; 0 if it is in it."""
    return float(np.hypot(*np.maximum(0, np.maximum(box.min - point, point - box.max))))


def _crosses(line: np.ndarray, box: Bbox) -> bool:
    """Whether a line, shape (2 points, 2), goes through a box."""
    return Path2D(line).intersects_bbox(box, filled=False)


def sizes(table: pd.DataFrame, compressed: Mapping[str, float]) -> Figure:
    """Size of each variant's file, largest on top; a mark where zlib would bring it.

    Args:
        table: a row per variant, with size_mb.
        compressed: for some variants, the compressed size in MiB.
    """
    rows = table.sort_values("size_mb")
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.4))
    axes.barh(rows.index, rows["size_mb"], color=[FORMS[form(name)] for name in rows.index], height=0.7)
    for place, (name, size) in enumerate(rows["size_mb"].items()):
        note = f"{size:.1f}"
        if name in compressed:
            axes.plot([compressed[str(name)]] * 2, [place - 0.35, place + 0.35], color="black", linewidth=2)
            note += f"  ({compressed[str(name)]:.1f} compressed)"
        axes.text(size + 0.8, place, note, va="center", fontsize=9)
    axes.set_xlim(0, rows["size_mb"].max() * 1.15)
    axes.margins(y=0.01)
    axes.grid(axis="y", visible=False)
    present = {form(name) for name in rows.index}
    axes.legend(
        handles=[Patch(color=colour, label=kind) for kind, colour in FORMS.items() if kind in present],
        loc="lower right",
    )
    axes.set_xlabel("size of the model file (MiB)" + ("; black line: compressed with zlib" if compressed else ""))
    axes.set_title("Size of the model file")
    return figure


def weight_histogram(name: str, weight: np.ndarray, quantized: np.ndarray, scales: np.ndarray) -> Figure:
    """One matrix before quantization, as int8, and what the rounding changed.

    Args:
        weight: float32, (rows, columns).
        quantized: int8, same shape.
        scales: float32, (rows, 1); weight ≈ quantized · scales.
    """
    figure, (before, after, error) = plt.subplots(1, 3, figsize=(12, 3.8))
    before.hist(weight.ravel(), bins=201, color=GREY)
    before.set_title("float32 weights")
    before.set_xlabel("value")
    values, counts = np.unique(quantized, return_counts=True)
    after.bar(values, counts, width=1.0, color=GREEN)
    after.set_title("the same as int8, q = w / s")
    by_row = len(np.unique(scales)) > 1
    spikes = "; each row's largest weight is ±127" if by_row else ""
    after.set_xlabel(f"q, {len(values)} distinct values{spikes}")
    error.hist(
        (quantized * scales - weight).ravel() / np.broadcast_to(scales, weight.shape).ravel(), bins=101, color=ORANGE
    )
    error.set_title("rounding error")
    error.set_xlabel("(q · s − w) / s, within ±0.5" + ("; 0 for each row's largest" if by_row else ""))
    for axes in (before, after, error):
        axes.set_yticks([])
        axes.set_ylabel("count")
        axes.grid(visible=False)
    title = f"{name}  {weight.shape[0]} × {weight.shape[1]}, {'a scale per row' if by_row else 'one scale'}"
    figure.suptitle(title, fontsize=10, color="#444444")
    return figure


def sparsity_schedules(schedules: Mapping[str, pd.DataFrame], layers: Mapping[str, Mapping[str, float]]) -> Figure:
    """The share of zeros as training went on, and where it ended in each layer.

    Args:
        schedules: per method, columns step, due, sparsity.
        layers: per method, the final share of zeros of each matrix.
    """
    figure, (ramp, bars) = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=[1, 1.3])
    colours = dict(zip(schedules, cycle((BLUE, ORANGE, GREEN, GREY)), strict=False))
    for (method, schedule), dashes in zip(
        schedules.items(), cycle(("-", "--", ":")), strict=False
    ):  # they may coincide
        ramp.plot(schedule["step"], schedule["due"], color=colours[method], linewidth=5, alpha=0.3)
        ramp.plot(schedule["step"], schedule["sparsity"], dashes, color=colours[method], linewidth=1.8, label=method)
    ramp.set_ylim(0, 1)
    ramp.yaxis.set_major_formatter(PercentFormatter(1.0))
    ramp.set_xlabel("training step\n(broad: due by the cubic schedule; thin: reached)")
    ramp.set_ylabel("zeros in the encoder's weights")
    ramp.set_title("Sparsity as it ran")
    ramp.legend(loc="lower right")
    table = pd.DataFrame(layers)[::-1]
    table.index = [name.removeprefix("encoder.").removeprefix("transformer.") for name in table.index]
    table.plot.barh(ax=bars, color=colours, width=0.75, legend=False)
    bars.set_xlim(0, 1)
    bars.xaxis.set_major_formatter(PercentFormatter(1.0))
    bars.tick_params(axis="y", labelsize=8)
    bars.grid(axis="y", visible=False)
    bars.set_xlabel("zeros in the matrix")
    bars.set_title("Zeros by layer at the end")
    return figure


def heads_and_neurons(layers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """What structured pruning kept of each layer: the heads one by one, the neurons as a share.

    Args:
        layers: per layer heads (numbers of those kept), heads_before, neurons and neurons_before (counts).
    """
    figure, (heads, neurons) = plt.subplots(
        1, 2, figsize=(11, 0.5 * len(layers) + 1.7), width_ratios=[1.6, 1], sharey=True
    )
    names = list(layers)[::-1]
    for place, name in enumerate(names):
        row = layers[name]
        for head in range(row["heads_before"]):
            kept = head in row["heads"]
            heads.scatter(head, place, s=170, marker="s", color=BLUE if kept else "none", edgecolors=BLUE)
        neurons.barh(place, row["neurons_before"], color="none", edgecolor=BLUE, height=0.6)
        neurons.barh(place, row["neurons"], color=BLUE, height=0.6)
        neurons.text(row["neurons_before"] * 1.02, place, f"{row['neurons']} of {row['neurons_before']}", va="center")
    heads.set_yticks(range(len(names)), names)
    heads.set_xlabel("head (filled: kept)")
    heads.set_title("Attention heads")
    neurons.set_xlim(0, 1.4 * max(row["neurons_before"] for row in layers.values()))
    neurons.set_xticks([])  # the numbers stand beside the bars
    neurons.set_xlabel("neurons")
    neurons.set_title("Feed-forward neurons")
    for axes in (heads, neurons):
        axes.grid(visible=False)
        axes.margins(y=0.3)
    return figure


def score_distribution(scores: np.ndarray, outside: np.ndarray, threshold: float, variant: str) -> Figure:
    """How the rule's score is distributed in and out of scope, with the threshold.

    Args:
        scores: of the test queries, (queries,).
        outside: whether each is out of scope, (queries,).
    """
    figure, axes = plt.subplots(figsize=(9, 4))
    bins = np.linspace(scores.min(), scores.max(), 80)
    for rows, colour, label in ((~outside, BLUE, "in scope"), (outside, ORANGE, "out of scope")):
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
    kept, caught = (scores[~outside] >= threshold).mean(), (scores[outside] < threshold).mean()
    axes.set_xlabel(
        f"score of a query: {kept:.1%} of those in scope lie above the threshold, {caught:.1%} of the others below"
    )
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


def domain_accuracy(predicted: Mapping[str, np.ndarray], labels: np.ndarray, domains: Sequence[str]) -> pd.DataFrame:
    """A row per domain and a column per variant: the share of right answers.

    Args:
        predicted: per variant the labels it gave, (queries,).
        labels: the right ones, (queries,).
        domains: the domain of each query, (queries,).
    """
    right = pd.DataFrame({variant: answers == labels for variant, answers in predicted.items()})
    return right.groupby(np.asarray(domains)).mean()
