"""lock: fails unless dvc.lock, and so the committed reports, are those of the code and the parameters.

`dvc repro --dry` tells the same to a person, but ends well whether a stage would run or not.

python -m stages.lock    exit 1 if a stage would run; needs no models: what is missing counts as what dvc.lock says
"""

import argparse
import logging
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.library.errors import PipelineError, run_program


def stale(root: Path) -> str | None:
    """What `dvc repro` in the project at `root` would run, or what keeps it from running; None for nothing."""
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # it has a line for every stage, whatever becomes of it
    try:
        with Repo(root) as repo:
            # A stage that would run and whose inputs are not here is an error: first past it, to name those that are.
            if stages := repo.reproduce(dry=True, allow_missing=True, on_error="ignore"):
                return f"these would run: {', '.join(stage.addressing for stage in stages)}"
            repo.reproduce(dry=True, allow_missing=True)
    except DvcException as error:
        return " ".join(str(error).split())
    return None


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.lock", description=__doc__.splitlines()[0]).parse_args()
    if reason := stale(Path()):
        raise PipelineError(f"dvc.lock and reports/ are not those of the code and params.yaml ({reason}); `make repro`")


if __name__ == "__main__":
    run_program(main)
