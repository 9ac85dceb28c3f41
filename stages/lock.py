"""lock: fails unless dvc.lock, and so the committed reports, are those of the code and the parameters.

`dvc repro --dry` tells the same to a person, but ends well whether a stage would run or not.

python -m stages.lock    exit 1 if a stage would run; needs no models: what is missing counts as what dvc.lock says
"""

import argparse
import contextlib
import logging
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.library.errors import PipelineError, run_program


def changed(entry: Any) -> bool:
    """Whether one of the reasons that `dvc status` gives for a stage is a change, and not just something missing."""
    if isinstance(entry, str):
        return entry == "changed command"
    # A file's state is a word; for params.yaml there is one for each parameter.
    states = [state for files in entry.values() for state in files.values()]
    words = [word for state in states for word in (state.values() if isinstance(state, dict) else [state])]
    return bool({"modified", "new"} & set(words))


def stale(root: Path) -> str | None:
    """What of the project at `root` is not what its dvc.lock says, or would be run by `dvc repro`; None for nothing."""
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # it has a line for every stage, whatever becomes of it
    try:
        with contextlib.chdir(root), Repo() as repo:  # DVC takes its targets from the current folder
            reasons = repo.status()
            if names := [name for name, entries in reasons.items() if any(map(changed, entries))]:
                return f"not in step: {', '.join(names)}"
            if stages := repo.reproduce(dry=True, allow_missing=True):
                return f"these would run: {', '.join(stage.addressing for stage in stages)}"
    except DvcException as error:
        return " ".join(f"{error}: {error.__cause__}".split())
    return None


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.lock", description=__doc__.splitlines()[0]).parse_args()
    if reason := stale(Path()):
        raise PipelineError(f"dvc.lock and reports/ are not those of the code and params.yaml ({reason}); `make repro`")


if __name__ == "__main__":
    run_program(main)
