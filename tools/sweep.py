"""sweep: one experiment for each combination of some values, through DVC's queue, and a picture of what came out.

python -m tools.sweep distill.temperature=2.0,4.0,8.0 distill.alpha=0.1,0.5

Only the stage that distils the main student and what it needs is run (--target names another), so nothing is timed.
The workspace stays as it is; each experiment, NAME-1 and so on, can be looked at (`dvc exp show`) and applied
(`dvc exp apply NAME-1`). Out: reports/sweep/NAME/, NAME being what --name says.

After Ctrl-C the queue goes on: the same command waits for what is queued, and collects.
"""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from intents.core import files, paths, reading
from intents.core.errors import Parser, PipelineError, run_program
from tools import experiments, params, programs
from tools.search.sweeps import first_of, swept, write

SWEEP = paths.REPORTS / "sweep"
# A line of `dvc queue status`: revision, name, time, state. And its last one.
TASK = re.compile(r"(?P<revision>[0-9a-f]{7,}) +(?P<name>\S+) .* (?P<state>[A-Z][a-z]+) *")
WORKERS = re.compile(r"Worker status: (?P<active>\d+) active, (?P<idle>\d+) idle")
POLL_S = 5  # a look at the queue takes a second of a core
MISSED = 10  # looks in a row that may find no worker: a busy one does not always answer
FINISHED = ("Success", "Failed")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORDS = paths.DATA / ".sweep"  # NAME.json: what a sweep was asked, and the revisions that were queued for it


class Queue(NamedTuple):
    """What `dvc queue status` says of a sweep."""

    tasks: dict[str, str]  # revision: state
    workers: int


def queue(name: str, overrides: list[str], target: str) -> None:
    """Queue an experiment for each combination of the values that `overrides` list, named NAME-1, NAME-2, ..."""
    settings = [argument for override in overrides for argument in ("-S", override)]
    programs.dvc("exp", "run", "--queue", "--name", name, *settings, target)


def look(name: str) -> Queue:
    """The tasks of the sweep `name` that DVC's queue remembers, and how many workers answer."""
    shown = programs.dvc("queue", "status", capture=True)
    lines = filter(None, map(TASK.fullmatch, shown.splitlines()))
    found = [line for line in lines if experiments.belongs(line["name"], name)]
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


def run(name: str, asked: Mapping[str, list[str]], target: str) -> Counter[str]:
    """Queue the sweep and work through it; of one that was queued already by the same call, wait for the rest.

    Args:
        asked: the overrides of its experiments by their name, NAME-1 and so on; or by NAME, for a grid of values.

    Returns:
        How many experiments ended as what.

    Raises:
        KeyboardInterrupt: with what the user has to know: the worker is a process of its own, and goes on.
        PipelineError: another sweep has that name, DVC refuses an experiment (then none is queued), or one failed.
    """
    record = RECORDS / f"{name}.json"
    told = {"asked": [*(word for words in asked.values() for word in words), target], "state": state()}
    tasks = look(name).tasks
    known = reading.load(record, "rm " + str(record)) if record.exists() else None
    if (
        known is not None
        and known["queued"]
        and set(known["queued"]) <= set(tasks)
        and (under_way(tasks) or experiments.there(name))
    ):
        if {key: known[key] for key in told} != told:
            raise PipelineError(
                f"the sweep {name} was queued by another call, or from other code or parameters; give this one another "
                f"--name, or remove that one: `dvc queue remove --all` and `dvc exp remove {name}-1 ...`"
            )
        earlier = [revision for revision in tasks if revision not in known["queued"]]
    else:
        earlier = list(tasks)
        try:
            for experiment, overrides in asked.items():
                queue(experiment, overrides, target)
            queued = [revision for revision in look(name).tasks if revision not in earlier]
            files.write_json(record, told | {"queued": queued})
        except (KeyboardInterrupt, PipelineError) as error:
            if queued := [revision for revision in look(name).tasks if revision not in earlier]:
                programs.dvc("queue", "remove", *queued)
            if isinstance(error, PipelineError):
                raise
            raise KeyboardInterrupt("interrupted; nothing of this sweep is queued") from None
    try:
        states = wait(name, earlier)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; the queue's worker goes on with the sweep: the same command waits for it and collects what "
            "comes out, `dvc queue stop --kill` ends it, `dvc queue remove --queued` gives up what has not begun"
        ) from None
    if states["Failed"]:
        raise PipelineError(
            f"{states['Failed']} experiments failed: `dvc queue status` names them, `dvc queue logs` says why"
        )
    return states


def under_way(tasks: Mapping[str, str]) -> bool:
    return any(state not in FINISHED for state in tasks.values())


def state() -> str:
    """A digest of what experiments start from: the commit, and what differs from it; the reports aside."""
    told = [
        subprocess.run(["git", *words], capture_output=True, check=False).stdout
        for words in (["rev-parse", "HEAD"], ["diff", "HEAD", "--", ".", ":!reports"])
    ]
    return files.sha256(b"".join(told))


def main() -> None:
    parser = Parser("tools.sweep", __doc__)
    parser.add_argument("override", nargs="+", help="KEY=VALUE, or KEY=VALUE,VALUE,... to sweep over the values")
    parser.add_argument("--name", default="distill", help="the experiments are NAME-1, NAME-2, ... (default distill)")
    parser.add_argument("--target", help="the stage to run (default: distill, for the main student)")
    parser.add_argument(
        "--metric",
        help="what is compared, of 0 to 1; needed with --target (default: the main student's validation.accuracy)",
    )
    arguments = parser.parse_args()
    keys = [override.partition("=")[0] for override in arguments.override if swept(override)]
    if not keys:
        raise PipelineError("nothing to sweep over: give at least one KEY=VALUE,VALUE,...")
    fixed = [override for override in arguments.override if not swept(override)]
    if not NAME.fullmatch(arguments.name):
        raise PipelineError(
            f"--name is {arguments.name[:40]!r}; allowed: a letter or digit, then up to 99 letters, digits, ., - or _"
        )
    programs.check_path(Path.cwd().resolve())
    if arguments.target and not arguments.metric:
        raise PipelineError("--target is given without --metric; allowed: both, since another stage has another metric")
    first = [first_of(override) for override in arguments.override]  # a wrong key is told before DVC is asked
    settings = params.leaves(params.composed(params.main_config(), first))
    if unknown := [key for key in keys if key not in settings]:
        raise PipelineError(f"`{unknown[0]}` is not one setting; allowed: a key of params.yaml, as distill.alpha is")
    student = params.composed(params.main_config(), fixed)["variants"]["student"]
    metric = arguments.metric or f"{student}.validation.accuracy"
    run(arguments.name, {arguments.name: arguments.override}, arguments.target or f"distill@{student}")
    table = experiments.collect(arguments.name, keys, metric)
    folder = SWEEP / arguments.name
    write(folder, table, keys, metric, sys.argv[1:], experiments.outcomes(table, metric))
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
