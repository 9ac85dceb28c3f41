"""Running other programs of this environment."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError

# `dvc` that leaves no torn file; -P: it finds nothing of tools/ in place of its own modules.
SAFE_DVC = (sys.executable, "-P", str(Path(__file__).with_name("safe_dvc.py")))
UNFIT = re.compile(r"[^\x20-\x7e]|[#?%]")  # in the path of a clone


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs `dvc`: where none is on the path, the one beside this Python is found.

    Without it, that would take an activated virtual environment.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return os.environ | {"PATH": path}


def run(command: Sequence[str], defaults: Mapping[str, str] | None = None, **options: Any) -> tuple[int, str]:
    """Run a program with the environment of this one, and wait for it also after Ctrl-C, which reaches it too.

    subprocess.run would kill it then, with what it was about to put away.

    Args:
        defaults: variables for it that this environment need not have.
        options: of subprocess.Popen.

    Returns:
        Its exit status, and what it printed where standard output is a pipe.
    """
    with subprocess.Popen(command, env=dict(defaults or {}) | environment(), text=True, **options) as process:
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:
            process.wait()
            raise
    return process.returncode, printed or ""


def dvc(*arguments: str, capture: bool = False, program: Sequence[str] = ("dvc",)) -> str:
    """Run `dvc`: in sight of the user, or to return what it prints.

    Raises:
        PipelineError: it failed.
    """
    status, printed = run([*program, *arguments], stdout=subprocess.PIPE if capture else None)
    if status:
        raise PipelineError(f"`dvc {' '.join(arguments)}` ended with status {status}")
    return printed


def check_path(folder: Path) -> None:
    """Refuse a folder in which DVC cannot run an experiment apart from the workspace.

    It gives Git the folder as a URL and the name of a branch as ASCII (treeverse/dvc#8015), so some characters do not
    arrive. `dvc exp run --temp` fails there too; without it, experiments run.

    Raises:
        PipelineError: its path has such a character.
    """
    if found := UNFIT.search(str(folder)):
        raise PipelineError(
            f"the path {folder} has {found[0]!r}, and there DVC cannot run queued experiments; allowed: ASCII without "
            "# ? %; move the clone, or try one setting after the other with `dvc exp run -S`"
        )
