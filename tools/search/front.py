"""What a search over shapes found: a table of its trials, a picture of the front and a page of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from intents.core import paths, reading
from intents.core.errors import PipelineError
from intents.core.variants import Form, Variant
from intents.evaluation import selection
from intents.reports.markdown import percent, render
from intents.reports.markdown import table as markdown_table
from intents.reports.style import BLUE, GREY, ORANGE, RED
from tools.search import study
from tools.search.space import PARAMETERS, Base, Config, values

TEMPLATES = Path(__file__).parents[1] / "templates"
AREA = 90  # points² of a mark for each MiB
# Attributes of a trial: its time as a multiple of the base student's, and its accuracy's standard error.
TIME, ERROR = "relative_time", "accuracy_error"
COMPLETE, FAILED = "complete", "failed"


def committed(students: Sequence[str], base: Base) -> pd.DataFrame:
    """The students of the results table in the form of the search's trials, to be shown beside them.

    Returns:
        A row per student, the base student's among them, by its name: accuracy, p50_ms, size_mb.

    Raises:
        PipelineError: reports/benchmark.json has no figures of the base student in that form.
    """
    benchmark = reading.load(paths.BENCHMARK, "dvc repro select")["variants"]
    names = {name: Variant(name, Form.ORT, base.int8).name for name in {base.student: None} | dict.fromkeys(students)}
    benchmark[names[base.student]]
    found = {name: benchmark[variant] for name, variant in names.items() if variant in benchmark}
    return pd.DataFrame(
        {name: [selection.accuracy(row), row["p50_ms"], row["size_mb"]] for name, row in found.items()},
        index=["accuracy", "p50_ms", "size_mb"],
    ).T


def table(found: optuna.Study, p50_ms: float) -> pd.DataFrame:
    """A row per ended trial, by number: trial, state, accuracy, p50_ms, size_mb, pareto, its parameters, error, why.

    Trials that a worker's death cut off are not in it; the ones that took them over are. A failed trial has no values.

    Args:
        p50_ms: the base student's median time of a query in the results table, in ms.

    Raises:
        PipelineError: every trial failed.
    """
    ended = [one for one in found.get_trials() if study.finished(one)]
    if not any(one.values for one in ended):
        raise PipelineError(
            f"every trial of study {found.study_name!r} failed, the first with: {ended[0].user_attrs[study.FAILED]}"
        )
    best = {one.number for one in found.best_trials}
    rows = []
    for one in ended:
        accuracy, time, size = one.values or (None, None, None)
        rows.append(
            {
                "trial": one.number,
                "state": COMPLETE if one.values else FAILED,
                "accuracy": accuracy,
                "p50_ms": None if time is None else time * p50_ms,
                "size_mb": size,
                "pareto": one.number in best,
                **values(one.params),
                "error": one.user_attrs.get(ERROR),
                "why": one.user_attrs.get(study.FAILED, "") if not one.values else "",
            }
        )
    return pd.DataFrame(rows).round(dict.fromkeys(("accuracy", "p50_ms", "size_mb", "error"), 6))


def picture(trials: pd.DataFrame, students: pd.DataFrame) -> Figure:
    """Accuracy over latency, areas for size: the trials, those of the front named and joined, and the students.

    The line joins the trials that no other beats in accuracy and latency. With size as the third figure further ones
    may be on the front.

    Args:
        trials: as `table` gives them.
        students: as `committed` gives them.
    """
    complete = trials[trials["state"] == COMPLETE]
    front = complete[complete["pareto"]]
    figure, axes = plt.subplots(figsize=(9, 6))
    place: dict[str, Any] = {"x": "p50_ms", "y": "accuracy"}
    for rows, colour, label in ((complete[~complete["pareto"]], GREY, "beaten"), (front, BLUE, "Pareto front")):
        axes.scatter(
            **place,
            data=rows,
            s=AREA * rows["size_mb"],
            color=colour,
            alpha=0.5,
            edgecolors=colour,
            label=f"trial, {label}",
            zorder=2,
        )
    line = front.sort_values(["p50_ms", "accuracy"], ascending=[True, False])
    line = line[line["accuracy"] > line["accuracy"].cummax().shift(fill_value=-1)]
    axes.plot(line["p50_ms"], line["accuracy"], color=BLUE, linewidth=1.2, zorder=1, label="front without size")
    axes.scatter(
        **place,
        data=students,
        s=AREA * students["size_mb"],
        facecolors="none",
        edgecolors=ORANGE,
        linewidths=1.8,
        label="student of the results table",
        zorder=3,
    )
    axes.scatter(**place, data=students, s=14, color=ORANGE, zorder=3, label="_")
    for row in front.itertuples():
        axes.annotate(str(row.trial), (row.p50_ms, row.accuracy), ha="center", va="center", fontsize=9, zorder=4)
    for name, row in students.iterrows():
        axes.annotate(
            str(name),
            (row["p50_ms"], row["accuracy"]),
            xytext=(0, 14),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=RED,
            zorder=4,
        )
    axes.margins(0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("median latency of a query (ms)")
    axes.set_ylabel("expected accuracy with the rule, validation")
    axes.set_title("Shapes: accuracy over latency; area: size of the model file")
    legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([60])
    return figure


def page(trials: pd.DataFrame, students: pd.DataFrame, config: Config, current: Mapping[str, Any]) -> str:
    """The search in words, as Markdown.

    Args:
        trials: as `table` gives them.
        students: as `committed` gives them.
        current: the searched values as params.yaml has them.
    """
    complete = trials[trials["state"] == COMPLETE]
    is_current = (complete[list(current)] == list(current.values())).all(axis=1)
    shown = complete[complete["pareto"] | is_current].sort_values(["p50_ms", "accuracy"])
    rows = [
        [
            f"{row.trial}{' (params.yaml)' if is_current[row.Index] else ''}{' ◆' if row.pareto else ''}",
            percent(row.accuracy),
            f"{row.p50_ms:.3f}",
            f"{row.size_mb:.2f}",
            *(f"{getattr(row, name):g}" for name in PARAMETERS),
        ]
        for row in shown.itertuples()
    ]
    best = complete.loc[complete[complete["pareto"]]["accuracy"].idxmax()]
    return render(
        "shapes.md.j2",
        TEMPLATES,
        study=config.search.study,
        seed=config.search.seed,
        trials=len(trials),
        complete=len(complete),
        failed=[(row.trial, row.why) for row in trials[trials["state"] == FAILED].itertuples()],
        base=config.base,
        timing=config.timing,
        table=markdown_table(["trial", "accuracy", "p50 ms", "MiB", *PARAMETERS], rows),
        students=[
            (name, percent(row["accuracy"]), f"{row['p50_ms']:.3f}", f"{row['size_mb']:.2f}")
            for name, row in students.iterrows()
        ],
        best=best["trial"],
        overrides=overrides(config.base.student, best),
        error=100 * best["error"],
        p50_ms=students["p50_ms"][config.base.student],
    )


def overrides(name: str, trial: pd.Series) -> list[str]:
    """The overrides of Hydra that give a student the values of a trial."""
    keys = {key: f"shape.{key}" for key in PARAMETERS} | {
        "common": "vocabulary.common",
        "learning_rate": "learning_rate",
    }
    return [f"student.{name}.{keys[key]}={trial[key]:g}" for key in PARAMETERS]
