"""Files and folders that are written whole or not at all, and their digests."""

import csv
import errno
import glob
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError, of_the_disk, refused

MIB = 2**20
PART = ".part"  # how the name of an unfinished write ends


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside `path` that takes its place when the block ends well.

    If the block raises, `path` is left as it was and the scratch folder is removed. Where `path` is a link to a folder,
    such as one on another disk, what it leads to is replaced, and the link stays. Of two processes that write the same
    folder, each writes one of its own, and the one that ends last is what stays.

    Raises:
        PipelineError: the disk is full, read-only or not the user's to write.
    """
    target = path.resolve()
    scratch = _scratch(target)
    old = scratch.with_name(f"{scratch.name[: -len(PART)]}.old{PART}")
    with _told(path, scratch):
        _sweep(target)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            while True:
                if target.exists():
                    with suppress(FileNotFoundError):  # another process took it away first
                        target.rename(old)
                try:
                    scratch.rename(target)
                    break
                except OSError as error:  # another process has put its own there in between
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    shutil.rmtree(old, ignore_errors=True)
        finally:
            for left in (scratch, old):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A scratch file beside `path` that takes its place when the block ends well.

    A link is replaced, and what it leads to stays as it was: it may be an object of DVC's cache.

    Raises:
        PipelineError: the disk is full, read-only or not the user's to write.
    """
    scratch = _scratch(path)
    with _told(path, scratch):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        try:
            yield scratch
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def _scratch(path: Path) -> Path:
    """Where this process writes what is to become `path`: a name that says whose it is."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}{PART}")


def _sweep(path: Path) -> None:
    """Remove what killed processes of this machine left of `path`. What a living one writes stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(platform.node())}-*{PART}"):
        owner = left.name[len(f".{path.name}.{platform.node()}-") :].split(".")[0]
        if not owner.isdecimal() or (int(owner) != os.getpid() and _lives(int(owner))):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextmanager
def _told(path: Path, scratch: Path) -> Iterator[None]:
    """Names the file where the disk refuses to write it."""
    try:
        yield
    except Exception as error:
        found = of_the_disk(error)
        if found is None:
            raise
        named = found.filename2 or found.filename  # of a copy, the second is what could not be written
        elsewhere = named is not None and not str(named).startswith(str(scratch))
        raise refused(found, named if elsewhere else path) from error


def write_text(path: Path, text: str) -> None:
    with new_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, *, sort_keys: bool = True) -> None:
    """`content` as JSON that diffs well: sorted keys, two spaces, a newline at the end.

    Args:
        sort_keys: False where the order says something.
    """
    write_text(path, json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False) + "\n")


def rounded(content: Any) -> Any:
    """`content` with every float in it rounded to six decimals."""
    if isinstance(content, Mapping):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return round(content, 6) if isinstance(content, float) else content


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """`rows` as CSV, numbers to six significant digits."""
    with new_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: f"{value:.6g}" for key, value in row.items()} for row in rows])


def read_json(path: Path, made_by: str) -> Any:
    """The content of a JSON file.

    Raises:
        PipelineError: it is not there, or not JSON.
    """
    try:
        return json.loads(require(path, made_by).read_text(encoding="utf-8"))
    except ValueError as error:
        raise PipelineError(f"{path} is not valid JSON: {error}; `{made_by}` makes it again") from None


def require(path: Path, made_by: str) -> Path:
    """`path`, if it is there.

    Raises:
        PipelineError: it is not; the message says that `made_by` makes it.
    """
    if not path.exists():
        raise PipelineError(f"{path} not found; run `{made_by}`")
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_mib(path: Path) -> float:
    """The size of a file in MiB."""
    return path.stat().st_size / MIB
