"""Files and folders that are written whole or not at all, and their digests."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError

MIB = 2**20


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside `path` that takes its place when the block ends well.

    If the block raises, `path` is left as it was and the scratch folder is removed.
    """
    scratch = path.with_name(f".{path.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        shutil.rmtree(path, ignore_errors=True)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A scratch file beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


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
        raise PipelineError(f"{path} is not valid JSON: {error}; `{made_by}` makes it anew") from None


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
