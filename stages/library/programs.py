"""Running other programs of this environment."""

import os
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs `dvc`, or the `python` that a stage calls: those beside this Python.

    Without it they would be found only where the virtual environment was activated.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path}
