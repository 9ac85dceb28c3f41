"""Running other programs of this environment."""

import os
import subprocess
import sys
from pathlib import Path

from intents.core.errors import PipelineError


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs `dvc`: where none is on the path, the one beside this Python is found.

    Without it, that would take an activated virtual environment.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return os.environ | {"PATH": path}


def dvc(*arguments: str, capture: bool = False) -> str:
    """Run `dvc`: in sight of the user, or to return what it prints.

    Raises:
        PipelineError: it failed.
    """
    output = subprocess.PIPE if capture else None
    done = subprocess.run(["dvc", *arguments], env=environment(), stdout=output, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"`dvc {' '.join(arguments)}` ended with status {done.returncode}")
    return done.stdout or ""
