"""lock: fails unless dvc.lock, and so the committed reports, are those of the code and the parameters.

`dvc repro --dry` tells the same to a person, but ends well whether a stage would run or not.

python -m tools.lock    exit 1 if a stage would run; needs no models: what is missing counts as what dvc.lock says
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from intents.core.errors import Parser, PipelineError, run_program

COMMAND, PARAMS = "changed command", "params.yaml"
CHANGED = {"modified", "new"}  # of the words of `dvc status`; the others say that something is missing


def changes(entries: list[Any]) -> Iterator[str]:
    """What changed of a stage: a path, `params.yaml KEY` or `changed command`.

    Args:
        entries: the reasons that `dvc status` gives for a stage; what is just missing is no change.
    """
    for entry in entries:
        if isinstance(entry, str):
            if entry == COMMAND:
                yield entry
            continue
        for files in entry.values():
            for path, state in files.items():
                # A file's state is a word; for params.yaml there is one for each parameter.
                if isinstance(state, dict):
                    yield from (f"{path} {key}" for key, word in state.items() if word in CHANGED)
                elif state in CHANGED:
                    yield path


def changed(repo: Repo) -> dict[str, list[str]]:
    """{stage: what changed of it} for the stages that are not what dvc.lock says."""
    found = {name: list(changes(entries)) for name, entries in repo.status().items()}
    return {name: reasons for name, reasons in found.items() if reasons}


def quiet() -> None:
    """DVC has a line for every stage, whatever becomes of it."""
    logging.getLogger("dvc").setLevel(logging.CRITICAL)


def one_line(error: DvcException) -> str:
    return " ".join(f"{error}: {error.__cause__}".split())


def stale(root: Path) -> str | None:
    """What of the project at `root` is not what its dvc.lock says, or would be run by `dvc repro`; None for nothing."""
    quiet()
    try:
        with contextlib.chdir(root), Repo() as repo:  # DVC takes its targets from the current folder
            if found := changed(repo):
                return f"not in step: {', '.join(found)}"
            if stages := repo.reproduce(dry=True, allow_missing=True):
                return f"these would run: {', '.join(stage.addressing for stage in stages)}"
    except DvcException as error:
        return one_line(error)
    return None


def main() -> None:
    Parser("tools.lock", __doc__).parse_args()
    if reason := stale(Path()):
        raise PipelineError(
            f"dvc.lock and reports/ are not those of the code and params.yaml ({reason}); `make repro` runs what "
            "changed, and after a change of comments or layout alone `make accept` records it"
        )


if __name__ == "__main__":
    run_program(main)
