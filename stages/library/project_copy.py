"""A copy of the project in a folder below it, where the pipeline runs with other parameters; nothing here changes."""

import shutil
import subprocess
import sys
from pathlib import Path

from stages.library import programs
from stages.library.errors import PipelineError

# What the pipeline is made of. The results of the real run stay behind: they are not the copy's.
PARTS = (".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "conf", "data", "dvc.yaml", "stages")


def create(target: Path, config: str) -> None:
    """Bring `target` up to the working tree: the files that Git knows of, with your edits; its own results stay.

    Args:
        config: the file of conf/ that `dvc exp run` in the copy starts from. Its params.yaml is left to the caller.

    Raises:
        PipelineError: this is no Git checkout.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise PipelineError(f"the copy is made of what Git lists, and Git says: {listed.stderr.strip()}")
    shutil.rmtree(target / "stages", ignore_errors=True)
    shutil.rmtree(target / "conf", ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target / name)
    if not (target / ".git").exists():
        run(target, "git", "init", "--quiet")
    run(target, "dvc", "config", "hydra.config_name", config)


def run(folder: Path, *command: str) -> None:
    """Run a command in the copy, in sight of the user.

    Raises:
        PipelineError: it failed.
    """
    shown = " ".join(command).replace(sys.executable, "python")
    print("$", shown, flush=True)
    if status := subprocess.run(command, cwd=folder, env=programs.environment(), check=False).returncode:
        raise PipelineError(f"`{shown}` ended with status {status}; the copy is in {folder}/")
