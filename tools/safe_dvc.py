"""DVC's command line; dvc.lock and the other files of its serializers are written whole or not at all.

DVC 3.67 opens dvc.lock for writing, which empties it, and then writes entry by entry: some tenths of a second for each
stage. Killed then, or out of room, it leaves a torn file, which no later run can read or which has lost stages.
tools.repro runs DVC by this file's path, since the project in which it runs may have no tools/.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc.stage.cache import StageCache
from dvc.utils.serialize import _common, _json, _py, _toml, _yaml


def write(path: str | os.PathLike[str], data: Any, dumper: Callable[..., Any], fs: Any = None, **words: Any) -> None:
    """In place of `_dump_data` of DVC's serializers. What was there stays until all of the new text is on the disk.

    Args:
        dumper: called with the data, a stream and `words`.
        fs: DVC's way to files; where it writes, they are local.
    """
    del fs
    target = Path(path).resolve()  # a link stays
    part = target.with_name(f".{target.name}.part")
    text = io.StringIO()
    dumper(data, text, **words)
    try:
        part.write_text(text.getvalue(), encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def without_empty_folders(load: Callable[..., Any]) -> Callable[..., Any]:
    """`StageCache._load_cache` that takes an empty folder of run records for none.

    DVC makes the folder before it writes the record; killed or out of room in between, the stage could never run again.
    """

    def loaded(cache: StageCache, key: str, value: str | None) -> Any:
        return load(cache, key, value) if value else None

    return loaded


@contextmanager
def installed() -> Iterator[None]:
    """Within it, DVC writes so in this process."""
    modules = (_common, _json, _py, _toml, _yaml)
    before = [module._dump_data for module in modules]
    for module in modules:
        module._dump_data = write
    load = StageCache._load_cache
    StageCache._load_cache = without_empty_folders(load)
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            module._dump_data = own
        StageCache._load_cache = load


if __name__ == "__main__":
    with installed():
        sys.exit(main())
