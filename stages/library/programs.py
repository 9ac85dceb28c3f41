"""Running other programs of this environment."""

import os
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs `dvc`: where none is on the path, the one beside this Python is found.

    Without it, that would take an activated virtual environment.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return os.environ | {"PATH": path}
