"""clean: removes what stages left behind that dvc.yaml, with the techniques of params.yaml, no longer declares.

python -m stages.clean

Benchmark and plot depend on whole folders, to which each technique adds its files. After a change of techniques, what
those before it left there would pass for a change of these folders, so `make repro` runs this first.

In:  dvc.yaml and params.yaml, as DVC reads them.
Out: a line per path removed. Nothing that the pipeline made is lost: models and logits stay in DVC's cache, reports in
     Git as they were committed, and a stage declared again has its outputs restored from there or is run again.
"""

import shutil
from collections.abc import Iterator, Set
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.library.errors import PipelineError, run_program

# The folders that hold the outputs of several stages and nothing else. They are named and not worked out from what is
# declared: a folder that no stage writes to at the moment is cleaned too, and no other ever is.
SHARED = (
    "data/logits",
    "data/onnx",
    "data/ort",
    "data/quantized",
    "reports/prune",
    "reports/quality",
    "reports/sensitivity",
    "reports/training",
)


def declared() -> tuple[Path, frozenset[Path]]:
    """The root of the project that the current folder is in, and the absolute path of every output declared there.

    Raises:
        PipelineError: this is no DVC project, or its dvc.yaml and params.yaml cannot be read.
    """
    try:
        with Repo() as repo:
            # DVC resolves links in the root's path, and the outputs' paths begin with it: so they can be compared.
            return Path(repo.root_dir), frozenset(Path(out.fs_path) for out in repo.index.outs)
    except DvcException as error:
        raise PipelineError(
            f"nothing removed, DVC cannot say what is declared: {' '.join(str(error).split())}"
        ) from None


def leftovers(folder: Path, outputs: Set[Path]) -> Iterator[Path]:
    """The files and folders below `folder` that are not in an output and hold none; of a folder that goes, just itself.

    Args:
        outputs: paths of files and folders, absolute as `folder` is.
    """
    for path in sorted(folder.iterdir()):
        if path in outputs:
            continue
        if path.is_dir() and any(path in output.parents for output in outputs):
            yield from leftovers(path, outputs)
        else:
            yield path


def main() -> None:
    root, outputs = declared()
    for name in SHARED:
        if not (root / name).is_dir():
            continue
        for path in leftovers(root / name, outputs):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            print(f"removed {path.relative_to(root)}")


if __name__ == "__main__":
    run_program(main)
