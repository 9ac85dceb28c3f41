"""The page of a sweep, reports/sweep/NAME/: a table, a picture, and which settings are told apart from the highest."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from intents.core import files
from intents.evaluation import statistics
from intents.reports import style as pictures
from intents.reports.markdown import percent, points, render
from intents.reports.markdown import table as markdown_table

TEMPLATES = Path(__file__).parents[1] / "templates"
KEY = re.compile(r"[\w.]+=")  # how an override begins; an option of the command line does not
SAMPLES, SEED = 10000, 0  # of the bootstrap

Outcomes = Mapping[str, np.ndarray]  # by experiment: which validation queries were answered rightly, bool, (queries,)


def shown(value: Any) -> str:
    """A swept value in words: DVC gives numbers as numbers, all else as text."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def swept(override: str) -> bool:
    """Whether KEY=VALUE,VALUE,... lists several values; the commas of a list [1,3,5] are its own."""
    return "," in re.sub(r"\[.*?\]", "", override)


def first_of(override: str) -> str:
    """KEY=VALUE with the first of the values that KEY=VALUE,VALUE,... lists."""
    found = re.match(r"(\[.*?\]|[^,\[])*", override)
    return found[0] if found else override


def against(best: str, right: Outcomes) -> dict[str, tuple[float, tuple[float, float]]]:
    """What each other experiment answers better than the best, with its 95 % interval, paired over the queries."""
    return {
        name: statistics.paired_difference(outcome, right[best], SAMPLES, SEED)
        for name, outcome in right.items()
        if name != best
    }


def picture(table: pd.DataFrame, keys: list[str], metric: str, equal: Collection[str] = ()) -> Figure:
    """The metric over the first key, a line for each combination of the others.

    Args:
        table: a row per experiment, with the columns `experiment`, `keys` and `metric` (0 to 1).
        equal: the experiments that are not told apart from the highest.
    """
    first, *others = keys
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for values, rows in table.groupby(others) if others else [((), table)]:
        label = ", ".join(f"{key} {shown(value)}" for key, value in zip(others, values, strict=True))
        # An open mark is seen under another that lies on it.
        axes.plot(rows[first], rows[metric], marker="o", fillstyle="none", markersize=8, label=label or None)
    best = table.loc[table[metric].idxmax()]
    axes.scatter(best[first], best[metric], s=220, facecolors="none", edgecolors=pictures.RED, linewidths=2, zorder=3)
    if equal:
        rows = table[table["experiment"].isin(list(equal))]
        axes.scatter(rows[first], rows[metric], s=20, color="black", zorder=3, label="not told apart from the highest")
    if pd.api.types.is_numeric_dtype(table[first]):
        axes.set_xticks(sorted(table[first].unique()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2))
    axes.set_xlabel(first)
    axes.set_ylabel(metric)
    axes.set_title(f"{metric.rpartition('.')[2].replace('_', ' ').capitalize()} over {first}; highest ringed")
    if others or equal:
        axes.legend(fontsize=9)
    return figure


def write(
    folder: Path, table: pd.DataFrame, keys: list[str], metric: str, arguments: Sequence[str], right: Outcomes
) -> None:
    """The sweep's folder: sweep.csv, sweep.png and README.md; those of other sweeps stay.

    Args:
        table: a row per experiment, with the columns `experiment`, `keys` and `metric` (0 to 1).
        arguments: of the command line that started the sweep.
        right: of every experiment, where the metric is its share of right answers; else empty.
    """
    best = table.loc[table[metric].idxmax()]
    differences = against(best["experiment"], right) if right else {}
    equal = [name for name, (_, (low, high)) in differences.items() if low <= 0 <= high]
    rows = []
    for _, row in table.iterrows():
        cells = [row["experiment"], *(shown(row[key]) for key in keys), percent(row[metric])]
        if right:
            name = row["experiment"]
            cells.append(points(*differences[name]) if name in differences else "")
        rows.append(cells)
    style.use(pictures.STYLE)
    with files.new_file(folder / "sweep.csv") as scratch:
        table.round(6).to_csv(scratch, index=False, lineterminator="\n")
    pictures.save(picture(table, keys, metric, equal), folder / "sweep.png", dpi=120)
    text = render(
        "sweep.md.j2",
        TEMPLATES,
        name=folder.name,
        command=shlex.join(["python", "-m", "tools.sweep", *arguments]),
        table=markdown_table(["experiment", *keys, metric, *(["points against the highest"] if right else [])], rows),
        best=best["experiment"],
        spread=float(best[metric] - table[metric].min()),
        queries=len(next(iter(right.values()))) if right else None,
        equal=len(equal),
        others=len(table) - 1,
        fixed=[f"`{argument}`" for argument in arguments if KEY.match(argument) and not swept(argument)],
        metric=metric,
        first=keys[0],
    )
    files.write_text(folder / "README.md", text)
