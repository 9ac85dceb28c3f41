"""sweep: one experiment for each combination of some values, through DVC's queue, and a picture of what came out.

python -m tools.sweep distill.temperature=2.0,4.0,8.0 distill.alpha=0.1,0.5

Only the stage that distils the main student and what it needs is run (--target names another), so nothing is timed.
The workspace stays as it is; each experiment, NAME-1 and so on, can be looked at (`dvc exp show`) and applied
(`dvc exp apply NAME-1`). Out: reports/sweep/NAME/, NAME being what --name says.
"""

import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dvc.api
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from tqdm import tqdm

from intents.core import files, paths
from intents.core.errors import Parser, PipelineError, run_program
from intents.reports import style as pictures
from intents.reports.markdown import percent, render
from intents.reports.markdown import table as markdown_table
from tools import params, programs

SWEEP = paths.REPORTS / "sweep"
TEMPLATES = Path(__file__).parent / "templates"
KEY = re.compile(r"[\w.]+=")  # how an override begins; an option of the command line does not
# A line of `dvc queue status`: revision, name, time, state. And its last one.
TASK = re.compile(r"(?P<revision>[0-9a-f]{7,}) +(?P<name>\S+) .* (?P<state>[A-Z][a-z]+) *")
WORKERS = re.compile(r"Worker status: (?P<active>\d+) active, (?P<idle>\d+) idle")
POLL_S = 5  # a look at the queue takes a second of a core
MISSED = 10  # looks in a row that may find no worker: a busy one does not always answer
FINISHED = ("Success", "Failed")


class Queue(NamedTuple):
    """What `dvc queue status` says of a sweep."""

    tasks: dict[str, str]  # revision: state
    workers: int


def queue(name: str, overrides: list[str], target: str) -> None:
    """Queue an experiment for each combination of the values that `overrides` list, named NAME-1, NAME-2, ..."""
    settings = [argument for override in overrides for argument in ("-S", override)]
    programs.dvc("exp", "run", "--queue", "--name", name, *settings, target)


def belongs(experiment: str | None, name: str) -> bool:
    """Whether an experiment, of which DVC gives the name if it has one, is of the sweep `name`.

    kd-1 is of the sweep kd; kd-big-1 is not, but of kd-big.
    """
    return re.fullmatch(rf"{re.escape(name)}-\d+", experiment or "") is not None


def look(name: str) -> Queue:
    """The tasks of the sweep `name` that DVC's queue remembers, and how many workers answer."""
    shown = programs.dvc("queue", "status", capture=True)
    found = [line for line in map(TASK.fullmatch, shown.splitlines()) if line and belongs(line["name"], name)]
    workers = WORKERS.search(shown)
    return Queue(
        {task["revision"]: task["state"] for task in found},
        int(workers["active"]) + int(workers["idle"]) if workers else 0,
    )


def wait(name: str, earlier: Container[str]) -> Counter[str]:
    """Work through the queue, one experiment at a time; how many of the sweep's ended as what.

    Args:
        earlier: revisions of tasks that an earlier sweep of that name left behind, failed ones among them.
    """
    programs.dvc("queue", "start", "--jobs", "1")
    bar, missed = None, 0
    while True:
        seen = look(name)
        states = Counter(state for revision, state in seen.tasks.items() if revision not in earlier)
        if not states:
            raise PipelineError(f"`dvc queue status` lists no experiment {name}-1, {name}-2, ... that was just queued")
        done = sum(states[state] for state in FINISHED)
        bar = bar or tqdm(total=states.total(), desc=name, unit="experiment")
        bar.update(done - bar.n)
        if done == states.total():
            bar.close()
            return states
        missed = 0 if seen.workers else missed + 1
        if missed == MISSED:
            raise PipelineError(
                f"{states.total() - done} experiments of the sweep are left and no worker runs; `dvc queue start` "
                "goes on with them, `dvc queue remove --queued` gives them up"
            )
        time.sleep(POLL_S)


def collect(name: str, keys: list[str], metric: str) -> pd.DataFrame:
    """A row per experiment that succeeded: its name, the swept keys and the metric."""
    rows = []
    for shown in dvc.api.exp_show():
        if not belongs(shown["Experiment"], name):
            continue
        rows.append({"experiment": shown["Experiment"]} | {key: _column(shown, key) for key in (*keys, metric)})
    if not rows:
        raise PipelineError(f"no experiment {name}-1, {name}-2, ... succeeded; `dvc queue status` tells of them")
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True)


def _column(shown: dict[str, Any], key: str) -> Any:
    """DVC puts the file's name before a key that stands in several files."""
    found = [column for column in shown if column == key or column.endswith(f":{key}")]
    if not found:
        raise PipelineError(f"the experiments have no `{key}`; among what they have: {', '.join(sorted(shown))}")
    return shown[found[0]]


def shown(value: Any) -> str:
    """A swept value in words: DVC gives numbers as numbers, all else as text."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def swept(override: str) -> bool:
    """Whether KEY=VALUE,VALUE,... lists several values; the commas of a list [1,3,5] are its own."""
    return "," in re.sub(r"\[.*?\]", "", override)


def standard_error(table: pd.DataFrame, metric: str, queries: int) -> float | None:
    """Of a share of right answers as high as the table's best, over that many queries; None for another metric."""
    if not metric.endswith(".validation.accuracy"):
        return None
    best = float(table[metric].max())
    return float(np.sqrt(best * (1 - best) / queries))


def picture(table: pd.DataFrame, keys: list[str], metric: str, error: float | None) -> Figure:
    """The metric over the first key, a line for each combination of the others.

    Args:
        table: a row per experiment, with the columns `keys` and `metric` (0 to 1).
        error: the standard error of the metric, if it is known.
    """
    first, *others = keys
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for values, rows in table.groupby(others) if others else [((), table)]:
        label = ", ".join(f"{key} {shown(value)}" for key, value in zip(others, values, strict=True))
        # An open mark is seen under another that lies on it.
        axes.plot(rows[first], rows[metric], marker="o", fillstyle="none", markersize=8, label=label or None)
    best = table.loc[table[metric].idxmax()]
    axes.scatter(best[first], best[metric], s=220, facecolors="none", edgecolors=pictures.RED, linewidths=2, zorder=3)
    if pd.api.types.is_numeric_dtype(table[first]):
        axes.set_xticks(sorted(table[first].unique()))
    if error is not None:
        band = best[metric] - error, best[metric] + error
        axes.axhspan(*band, color="#EEEEEE", zorder=0, label="best ± one standard error")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2))
    axes.set_xlabel(first)
    axes.set_ylabel(metric)
    axes.set_title(f"{metric.rpartition('.')[2].replace('_', ' ').capitalize()} over {first}; highest ringed")
    if others or error is not None:
        axes.legend(fontsize=9)
    return figure


def write(
    folder: Path, table: pd.DataFrame, keys: list[str], metric: str, arguments: Sequence[str], queries: int
) -> None:
    """The sweep's folder: sweep.csv, sweep.png and README.md; those of other sweeps stay.

    Args:
        table: a row per experiment, with the columns `experiment`, `keys` and `metric` (0 to 1).
        arguments: of the command line that started the sweep.
        queries: of the validation split, over which the metric was taken.
    """
    best = table.loc[table[metric].idxmax()]
    error = standard_error(table, metric, queries)
    rows = [
        [row["experiment"], *(shown(row[key]) for key in keys), percent(row[metric])] for _, row in table.iterrows()
    ]
    style.use(pictures.STYLE)
    with files.new_file(folder / "sweep.csv") as scratch:
        table.round(6).to_csv(scratch, index=False, lineterminator="\n")
    pictures.save(picture(table, keys, metric, error), folder / "sweep.png", dpi=120)
    text = render(
        "sweep.md.j2",
        TEMPLATES,
        name=folder.name,
        command=shlex.join(["python", "-m", "tools.sweep", *arguments]),
        table=markdown_table(["experiment", *keys, metric], rows),
        best=best["experiment"],
        spread=float(best[metric] - table[metric].min()),
        error=error,
        queries=queries,
        fixed=[f"`{argument}`" for argument in arguments if KEY.match(argument) and not swept(argument)],
        metric=metric,
        first=keys[0],
    )
    files.write_text(folder / "README.md", text)


def main() -> None:
    parser = Parser("tools.sweep", __doc__)
    parser.add_argument("override", nargs="+", help="KEY=VALUE, or KEY=VALUE,VALUE,... to sweep over the values")
    parser.add_argument("--name", default="distill", help="the experiments are NAME-1, NAME-2, ... (default distill)")
    parser.add_argument("--target", help="the stage to run (default: distill, for the main student)")
    parser.add_argument(
        "--metric", help="what is compared, of 0 to 1 (default: the main student's accuracy on validation, by arg-max)"
    )
    arguments = parser.parse_args()
    keys = [override.partition("=")[0] for override in arguments.override if swept(override)]
    if not keys:
        raise PipelineError("nothing to sweep over: give at least one KEY=VALUE,VALUE,...")
    fixed = [override for override in arguments.override if not swept(override)]
    student = params.composed(params.main_config(), fixed)["variants"]["student"]
    metric = arguments.metric or f"{student}.validation.accuracy"
    earlier = look(arguments.name).tasks
    queue(arguments.name, arguments.override, arguments.target or f"distill@{student}")
    states = wait(arguments.name, earlier)
    if states["Failed"]:
        raise PipelineError(
            f"{states['Failed']} experiments failed: `dvc queue status` names them, `dvc queue logs` says why"
        )
    table = collect(arguments.name, keys, metric)
    folder = SWEEP / arguments.name
    sizes = files.read_json(paths.DATA_REPORT, "dvc repro fetch-clinc")["validation"]
    queries = sizes["in_scope"] + sizes["out_of_scope"]
    write(folder, table, keys, metric, sys.argv[1:], queries)
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
