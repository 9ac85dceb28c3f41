"""demo: the pipeline on the embedded sample, a technique of each kind, in a copy of the project; nothing here changes.

In:  the files that Git knows of (with your edits), conf/demo.yaml.
Out: .demo/, a project of its own with data/ and reports/. Run again, it only does what changed.
"""

import sys
from pathlib import Path

from stages import params
from stages.library import project_copy
from stages.library.errors import run_program
from stages.library.settings import PARAMS

DEMO = Path(".demo")
CONFIG = "demo"


def main() -> None:
    project_copy.create(DEMO, CONFIG)
    params.compose(DEMO / PARAMS, CONFIG)
    project_copy.run(DEMO, sys.executable, "-m", "stages.clean")
    project_copy.run(DEMO, "dvc", "repro")
    project_copy.run(DEMO, sys.executable, "-m", "stages.predict", "my card got stolen, please block it")
    print(f"\nThe demo's report is {DEMO}/reports/report.md, its pictures are in {DEMO}/reports/figures/.")


if __name__ == "__main__":
    run_program(main)
