"""demo: the pipeline on the embedded sample, with few techniques, in a copy of the project; nothing here changes.

In:  the files that Git knows of (with your edits), conf/demo.yaml.
Out: .demo/, a project of its own with data/, models/, release/ and reports/. Run again, it only does what changed.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from intents.core.errors import Parser, PipelineError, run_program
from intents.core.settings import PARAMS
from tools import params, programs, repro

DEMO = Path(".demo")
CONFIG = "demo"
QUERY = "my card got stolen, please block it"
CODE = ("conf", "intents", "stages")
# What the pipeline is made of. The results of the real run stay behind: they are not the copy's.
PARTS = ("LICENSE", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "data", "dvc.yaml", *CODE)


def create(target: Path) -> None:
    """Bring `target` up to the working tree: the files that Git knows of, with your edits; its own results stay.

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
    for folder in CODE:
        shutil.rmtree(target / folder, ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target / name)
    if not (target / ".git").exists():  # killed while it makes one, Git leaves one that it will not know
        part = target / ".git.part"
        shutil.rmtree(part, ignore_errors=True)
        run(target, "git", "init", "--quiet", part.name)
        (part / ".git").rename(target / ".git")
        part.rmdir()
    run(target, "dvc", "config", "hydra.config_name", CONFIG)
    params.compose(target / PARAMS, CONFIG)


def run(folder: Path, *command: str) -> None:
    """Run a command in the copy, in sight of the user.

    Raises:
        PipelineError: it failed.
    """
    shown = " ".join(command).replace(sys.executable, "python")
    print("$", shown, flush=True)
    status, _ = programs.run(command, cwd=folder)
    if status:
        raise PipelineError(f"`{shown}` ended with status {status}; the copy is in {folder}/")


def main() -> None:
    Parser("tools.demo", __doc__).parse_args()
    create(DEMO)
    with contextlib.chdir(DEMO):
        repro.everything(os.cpu_count() or 1)
    run(DEMO, sys.executable, "-m", "intents.serving", QUERY)
    print(f"\nThe demo's report is {DEMO}/reports/report.md, its pictures are in {DEMO}/reports/figures/.")


if __name__ == "__main__":
    run_program(main)
