"""whole: every technique side by side, in a copy of the project that shares its DVC cache.

python -m stages.whole           run it; what `make repro` has made already is not made again
python -m stages.whole --check   exit 1 if reports/whole/ is not that of the code and conf/whole.yaml

In:  the files that Git knows of (with your edits), conf/whole.yaml.
Out: .whole/, a project of its own, and reports/whole/: its reports and its dvc.lock.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from dvc.repo import Repo
from omegaconf import OmegaConf

from stages import lock, params
from stages.library import artifacts, project_copy
from stages.library.errors import PipelineError, run_program
from stages.library.settings import PARAMS

WHOLE = Path(".whole")
CONFIG = "whole"
REPORTS = Path("reports/whole")
LOCK = "dvc.lock"


def bring_data(copy: Path) -> None:
    """The files of a data set of one's own, which lie wherever params.yaml says, below the project."""
    dataset = OmegaConf.select(OmegaConf.load(copy / PARAMS), "dataset", default={})
    for name in filter(None, (dataset.get("file"), dataset.get("domains"))):
        if not Path(name).is_absolute() and Path(name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, copy / name)


def bring_back(copy: Path) -> None:
    """Its reports and its dvc.lock, into reports/whole/."""
    with artifacts.new_folder(REPORTS) as scratch:
        shutil.copytree(copy / "reports", scratch, dirs_exist_ok=True)
        shutil.copy(copy / LOCK, scratch)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.whole", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="run nothing; fail if reports/whole/ is out of step")
    if parser.parse_args().check:
        artifacts.require(REPORTS / LOCK, "make whole")
        with tempfile.TemporaryDirectory(dir=".") as folder:
            copy = Path(folder)
            project_copy.create(copy, CONFIG)
            params.compose(copy / PARAMS, CONFIG)
            bring_data(copy)
            shutil.copytree(REPORTS, copy / "reports")
            (copy / "reports" / LOCK).rename(copy / LOCK)
            if reason := lock.stale(copy):
                raise PipelineError(f"{REPORTS}/ is not that of the code and conf/ ({reason}); run `make whole`")
        return
    project_copy.create(WHOLE, CONFIG)
    params.compose(WHOLE / PARAMS, CONFIG)
    bring_data(WHOLE)
    with Repo() as repo:  # wherever it is: `dvc cache dir` may name a shared one
        cache = repo.cache.local_cache_dir
    project_copy.run(WHOLE, "dvc", "cache", "dir", "--local", cache)
    project_copy.run(WHOLE, sys.executable, "-m", "stages.clean")
    project_copy.run(WHOLE, "dvc", "repro")
    bring_back(WHOLE)
    print(f"\nThe report is {REPORTS}/report.md.")


if __name__ == "__main__":
    run_program(main)
