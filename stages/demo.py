"""demo: the whole pipeline on the embedded sample, in a copy of the project, so that nothing here changes.

In:  the files that Git knows of (with your edits), conf/demo.yaml.
Out: .demo/, a project of its own with data/ and reports/. Run again, it only does what changed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from stages import params
from stages.library.errors import PipelineError, run_program
from stages.library.settings import PARAMS

DEMO = Path(".demo")
CONFIG = "demo"
# What the pipeline is made of. The results of the real run stay behind: they are not the demo's.
PARTS = (".dvc/config", ".dvc/.gitignore", ".dvcignore", "conf", "data", "dvc.yaml", "stages")


def copy_project(target: Path) -> None:
    """The pipeline's own files, as they are in the working tree, into `target`; files gone here go there too."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise PipelineError(f"the demo copies what Git lists, and Git says: {listed.stderr.strip()}")
    shutil.rmtree(target / "stages", ignore_errors=True)
    shutil.rmtree(target / "conf", ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target / name)


def main() -> None:
    copy_project(DEMO)
    params.compose(DEMO / PARAMS, CONFIG)
    commands = [
        ["dvc", "config", "hydra.config_name", CONFIG],  # so that `dvc exp run` in the copy composes the same
        ["dvc", "repro"],
        [sys.executable, "-m", "stages.predict", "my card got stolen, please block it"],
    ]
    if not (DEMO / ".git").exists():
        commands.insert(0, ["git", "init", "--quiet"])
    for command in commands:
        print("$", " ".join(command).replace(sys.executable, "python"), flush=True)
        if status := subprocess.run(command, cwd=DEMO, check=False).returncode:
            raise PipelineError(f"`{' '.join(command)}` ended with status {status}; the copy is in {DEMO}/")
    print(f"\nThe demo's report is {DEMO}/reports/report.md, its pictures are in {DEMO}/reports/figures/.")


if __name__ == "__main__":
    run_program(main)
