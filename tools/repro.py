"""repro: what `dvc repro` does, with several stages at once.

python -m tools.repro --jobs 2

DVC runs one stage after another, also where neither waits for the other. Here every stage whose inputs are ready is
started, so many at a time: by `dvc repro --single-item`, so that what is up to date is skipped, and dvc.lock is
written, as by `dvc repro` itself. The bytes are the same. A stage that reads the clock runs alone. What a stage prints
is in .dvc/tmp/repro/; on a terminal, its last line is shown while it runs. How long each took is in
reports/durations.json. With one job it is `dvc repro` itself, which prints everything and notes no durations.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path

import networkx
import psutil
import rich
from dvc.exceptions import DvcException
from dvc.repo import Repo
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from intents.core.errors import Parser, PipelineError, run_program
from tools import durations, lock, programs
from tools.arguments import number

ALONE = ("benchmark",)  # what runs beside it would be measured too
LOGS = Path(".dvc/tmp/repro")
LISTED = Path(".dvc/tmp/rwlock")
LITTLE = 2**20  # bytes: with less room, that is why a stage failed
# A thread that waits for the others of its own training sleeps, and leaves the core to another one.
SLEEP_WHILE_WAITING = {"OMP_WAIT_POLICY": "passive"}

LOOK_S = 1.0  # how often the running stages' logs are looked at
TAIL = 400  # bytes of a log that its last line is looked for in
MADE = "Running stage "  # what DVC prints before a stage that is neither up to date nor in its cache

Plan = Mapping[str, set[str]]  # {stage: the stages that it waits for}


def plan(repo: Repo) -> Plan:
    """The stages that changed and all downstream of them, each with the ones among these that it waits for."""
    names = {stage: stage.addressing for stage in repo.index.stages}
    graph = networkx.relabel_nodes(repo.index.graph, names)  # from a stage to those that it reads
    changed = set(repo.status()) & set(graph)
    chosen = changed.union(*(networkx.ancestors(graph, name) for name in changed))
    return {name: set(graph.successors(name)) & chosen for name in chosen}


def run(
    stages: Plan,
    jobs: int,
    make: Callable[[str], bool],
    look: Callable[[set[str]], None] = lambda _: None,
    seconds: Mapping[str, float] | None = None,
) -> str | None:
    """Make all stages, up to `jobs` at once; the first that failed, or None.

    Of those that are ready, the one with the longest way to the end comes first, so that a long stage for which few
    others wait is not left for last. After a failure no further stage is begun.

    Args:
        make: makes one stage and says whether it went well; called from several threads.
        look: called with the stages that are running, now and then.
        seconds: that stages took last time.
    """
    rank = {name: (-left, name) for name, left in durations.to_the_end(stages, seconds or {}).items()}
    order = TopologicalSorter(stages)
    order.prepare()
    ready: list[str] = []
    running: dict[Future[bool], str] = {}
    failed: str | None = None
    with ThreadPoolExecutor(jobs) as pool:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=rank.__getitem__)
            while ready and not failed and len(running) < jobs and not set(running.values()) & set(ALONE):
                together = [name for name in ready if name not in ALONE or not running]
                if not together:
                    break
                ready.remove(together[0])
                running[pool.submit(make, together[0])] = together[0]
            if not running:
                break
            look(set(running.values()))
            for future in wait(running, LOOK_S, FIRST_COMPLETED).done:
                name = running.pop(future)
                if future.result():
                    order.done(name)
                else:
                    failed = failed or name
    return failed


def log_of(name: str) -> Path:
    return LOGS / f"{name}.log"


def last_line(name: str) -> str:
    """What a stage printed last; a progress bar writes line over line."""
    try:
        end = log_of(name).read_bytes()[-TAIL:].decode(errors="replace")
    except FileNotFoundError:
        return ""
    return next((line for line in reversed(end.replace("\r", "\n").split("\n")) if line.strip()), "").strip()


def make_stage(name: str) -> bool:
    """Run one stage, with what it prints in its log; a line says how it ended."""
    began = time.monotonic()
    with log_of(name).open("wb") as log:
        status, _ = programs.run(
            [*programs.SAFE_DVC, "--wait-for-lock", "repro", "--single-item", name],
            SLEEP_WHILE_WAITING,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    took = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - began))
    rich.print(f"{took}  {name}{'' if status == 0 else '  failed'}")
    return status == 0


def run_in_sight(stages: Plan, jobs: int, seconds: Mapping[str, float], made: dict[str, float]) -> str | None:
    """`run`, with a bar for the whole and, on a terminal, a line for each stage that is running.

    Args:
        made: gets the seconds of each stage that was made.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[last]}", markup=False)) as bar:
        whole = bar.add_task("stages", total=len(stages), last="")
        shown: dict[str, TaskID] = {}

        def look(running: set[str]) -> None:
            for name in set(shown) - running:
                bar.remove_task(shown.pop(name))
            for name in sorted(running):
                if name not in shown:
                    shown[name] = bar.add_task(name, total=None, last="")
                bar.update(shown[name], last=last_line(name))

        def make(name: str) -> bool:
            began = time.monotonic()
            went_well = make_stage(name)
            if went_well and MADE in log_of(name).read_text(encoding="utf-8", errors="replace"):
                made[name] = time.monotonic() - began
            bar.advance(whole)
            return went_well

        return run(stages, jobs, make, look, seconds)


def forget_the_dead() -> None:
    """Remove DVC's list of what is being read and written if it is torn, or if no process that it names lives.

    DVC refuses to run with a torn list, which a full disk leaves, and where another program has got the number of a
    process that was killed, which is likely after a restart of the machine.
    """
    try:
        listed, written = json.loads(LISTED.read_text()), LISTED.stat().st_mtime
        readers = [reader for readers in listed["read"].values() for reader in readers]
        if any(_lived(entry["pid"], written) for entry in [*readers, *listed["write"].values()]):
            return
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    LISTED.unlink(missing_ok=True)


def _lived(number: int, moment: float) -> bool:
    """Whether a process lives that lived at that moment."""
    try:
        return psutil.Process(number).create_time() <= moment
    except psutil.NoSuchProcess:
        return False


def why(failed: str) -> str:
    """What a person can do about a stage that failed. On a full disk its log may be empty."""
    free = shutil.disk_usage(LOGS).free
    if free < LITTLE:
        return f"stage {failed} failed: No space left on device ({free} bytes are free); run this again once there is"
    return f"stage {failed} failed; what it printed stands above and in {log_of(failed)}"


def everything(jobs: int) -> None:
    """Make what is not up to date in the project of the current folder, `jobs` stages at once.

    Raises:
        PipelineError: a stage failed, or DVC finds no project that it can read.
    """
    forget_the_dead()
    if jobs == 1:
        programs.dvc("repro", program=programs.SAFE_DVC)
        return
    lock.quiet()
    try:
        with Repo() as repo:
            stages, number = plan(repo), len(repo.index.stages)
    except DvcException as error:
        raise PipelineError(lock.one_line(error)) from error
    except sqlite3.OperationalError as error:  # of the database of files that DVC has hashed
        raise PipelineError(f"DVC cannot write its database: {error}; often: No space left on device") from error
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{len(stages)} stages to make or to check, {jobs} at once; what they print is in {LOGS}/", flush=True)
    before, began = durations.load(), time.monotonic()
    made: dict[str, float] = {}
    failed = run_in_sight(stages, jobs, before["stages"], made)
    whole = {"seconds": round(time.monotonic() - began), "jobs": jobs, "cores": os.cpu_count()}
    try:
        durations.save(before, made, whole if len(made) == number else None)
    except PipelineError:  # the disk may be full; then the stage that failed is what is told
        if not failed:
            raise
    if failed:
        print(log_of(failed).read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        raise PipelineError(why(failed))


def main() -> None:
    parser = Parser("tools.repro", __doc__)
    parser.add_argument(
        "--jobs", type=number(int, 1, 1024), default=os.cpu_count(), help="stages at once (default: one for each core)"
    )
    everything(parser.parse_args().jobs)


if __name__ == "__main__":
    run_program(main)
