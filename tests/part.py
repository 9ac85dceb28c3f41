"""A part of the tiny project as a copy: a test that changes a few variants copies those alone."""

import shutil
from pathlib import Path


def copy(built: Path, folder: Path, *names: str) -> Path:
    """The settings, the data set, and of the variants named all that their makers wrote, in `folder`.

    Args:
        built: the tiny project with every stage run.
    """
    shutil.copytree(built / "data/clinc", folder / "data/clinc")
    shutil.copy(built / "params.yaml", folder)
    for path in ("data/logits", "reports/models"):
        (folder / path).mkdir(parents=True)
    for name in names:
        shutil.copytree(built / "models" / name, folder / "models" / name)
        for path in (f"data/logits/{name}.safetensors", f"reports/models/{name}.json"):
            shutil.copy(built / path, folder / path)
    return folder
