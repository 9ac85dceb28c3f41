"""How long the stages took when they were last made, and which of those that wait should begin first.

reports/durations.json, kept in Git, so that a first run on another machine begins with the right ones too. It is of the
clock: no stage reads it, and DVC does not know it.
"""

import json
from collections.abc import Mapping
from statistics import mean
from typing import Any

import networkx

from intents.core import files, paths
from intents.core.errors import PipelineError

FILE = paths.REPORTS / "durations.json"


def load() -> dict[str, Any]:
    """The content of the file, {"stages": {stage: seconds}, "whole": {"seconds", "jobs", "cores"}}.

    `whole` is of the last run that made every stage. It is missing until there was one.

    Raises:
        PipelineError: there is a file, and it is not of that form.
    """
    if not FILE.is_file():
        return {"stages": {}}
    try:
        found = json.loads(FILE.read_text(encoding="utf-8"))
        numbers = [*found["stages"].values(), *found.get("whole", {}).values()]
    except (ValueError, KeyError, AttributeError, TypeError):
        numbers = [None]
    if not all(isinstance(number, int | float) for number in numbers):
        raise PipelineError(f"{FILE} does not hold the seconds of stages; delete it, and `make repro` writes it")
    return found  # type: ignore[no-any-return]


def save(before: Mapping[str, Any], seconds: Mapping[str, float], whole: Mapping[str, Any] | None) -> None:
    """Write what a run took.

    Args:
        before: what `load` gave; of stages that were not made now, it stays.
        seconds: of those that were.
        whole: of the run, if it made every stage.
    """
    if seconds:
        stages = before["stages"] | {name: round(took, 1) for name, took in seconds.items()}
        content: dict[str, Any] = {"stages": dict(sorted(stages.items()))}
        if last := whole or before.get("whole"):
            content["whole"] = dict(last)
        files.write_json(FILE, content)


def expected(stage: str, seconds: Mapping[str, float]) -> float:
    """The seconds that a stage is likely to take: as last time; else as others of its kind, or as all others, do."""
    if stage in seconds:
        return seconds[stage]
    kind = stage.split("@")[0]
    return mean([took for name, took in seconds.items() if name.split("@")[0] == kind] or seconds.values() or [1.0])


def to_the_end(stages: Mapping[str, set[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """For each stage the seconds from its beginning to the end of the longest chain of stages that wait for it.

    To begin with the one that has most of it left is the usual rule for jobs that wait for each other (Graham,
    "Bounds on Multiprocessing Timing Anomalies", 1969, calls it the critical path).

    Args:
        stages: {stage: those that it waits for}.
        seconds: of the stages, as far as they are known.
    """
    waiting = networkx.DiGraph((other, name) for name, others in stages.items() for other in others)
    waiting.add_nodes_from(stages)
    left: dict[str, float] = {}
    for name in reversed(list(networkx.topological_sort(waiting))):
        left[name] = expected(name, seconds) + max((left[after] for after in waiting.successors(name)), default=0.0)
    return left
