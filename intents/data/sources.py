"""Where the rows of a data set come from: a file given by path, a local mirror, the Hub, or upstream.

Every source yields the same thing, {split: rows}; the caller checks the digest of what came.
"""

import http.client
import json
import logging
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intents.core import files
from intents.core.errors import PipelineError
from intents.data.corpus import OUT_OF_SCOPE, SPLITS, Row

MIRROR_VARIABLE = "CLINC150_MIRROR"
MIRROR_FOLDER = Path("shared/clinc150")
TIMEOUT_S = 30

log = logging.getLogger(__name__)

# What the published files call each of our splits.
UPSTREAM_SPLITS = {"train": "train", "validation": "val", "test": "test"}


class UnavailableError(Exception):
    """This source did not answer; the next one is tried."""


def parse(content: bytes, origin: str) -> dict[str, list[Row]]:
    """The rows of a file in CLINC150's schema: {split or oos_split: [[query, intent], ...]}.

    A row may be an object as well: {"text": query, "intent": intent}.

    Raises:
        PipelineError: the file is not JSON of that schema, or a row has no text or no intent that can be trained on.
    """
    try:
        published = json.loads(decoded(content, origin))
        return {
            ours: [
                row_of(row, f"row {place} of {part!r} in {origin}")
                for part in (theirs, f"{OUT_OF_SCOPE}_{theirs}")
                for place, row in enumerate(published[part], 1)
            ]
            for ours, theirs in UPSTREAM_SPLITS.items()
        }
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PipelineError(
            f"{origin} is not a data set in CLINC150's schema, "
            f'{{"train": [["query", "intent"], ...], "val", "test", "oos_train", "oos_val", "oos_test"}}: '
            f"{repr(error)[:120]}"
        ) from None


def decoded(content: bytes, origin: str, encoding: str | None = None) -> str:
    """The text of a file: in UTF-8, 16 or 32 as its first bytes tell, or in the encoding given.

    Raises:
        PipelineError: it is in another; the message names the line.
    """
    encoding = encoding or json.detect_encoding(content)  # type: ignore[attr-defined]
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PipelineError(
            f"{origin}, line {line}, is not {encoding}: byte 0x{content[error.start]:02x}; save the file as UTF-8"
        ) from None
    except LookupError:
        raise PipelineError(
            f"{encoding!r} is no encoding that Python knows; allowed: utf-8, latin-1, cp1252, ..."
        ) from None


def row_of(row: Any, place: str) -> Row:
    """A row of a data set that was read from JSON: a pair, or an object with text and intent.

    Args:
        place: where it stands, for the error.

    Raises:
        PipelineError: it is neither, or its text or intent is no text with something in it.
    """
    if isinstance(row, dict) and {"text", "intent"} <= row.keys():
        row = [row["text"], row["intent"]]
    if not isinstance(row, list) or len(row) != 2:
        raise PipelineError(f'{place} is {shown(row)}; allowed: ["query", "intent"], or {{"text", "intent"}}')
    for name, value in zip(("query", "intent"), row, strict=True):
        if not isinstance(value, str):
            raise PipelineError(f"{place} has {shown(value)} as its {name}; allowed: a text")
        if reason := flaw(value):
            raise PipelineError(f"{place} has as its {name} a text {reason}; allowed: a text that UTF-8 can write")
    return Row(*row)


def flaw(text: str) -> str | None:
    """Why a text cannot be trained on, or None."""
    if not text.strip():
        return "that is empty"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"with half a surrogate pair, U+{ord(text[error.start]):04X}"
    return None


def shown(value: Any) -> str:
    """A value as an error shows it, cut where it is long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def checked(content: bytes, sha256: str, origin: str) -> bytes:
    """`content`, if its digest is `sha256`.

    Raises:
        PipelineError: it is another; the file is damaged or of another version.
    """
    found = files.sha256(content)
    if found != sha256:
        raise PipelineError(
            f"{origin} has sha256 {found}, expected {sha256} (dataset.file_sha256): "
            "the file is damaged or another version"
        )
    return content


def from_path(path: Path, sha256: str) -> dict[str, list[Row]]:
    """The rows of a file of the user's own."""
    if not path.is_file():
        raise PipelineError(f"dataset.file is {str(path)!r}, which does not exist in {Path.cwd()}")
    return parse(checked(path.read_bytes(), sha256, str(path)), str(path))


def mirror_folder() -> Path:
    """The folder named by CLINC150_MIRROR, else shared/clinc150 in the nearest folder above that has one.

    Looking upwards finds a mirror beside the checkout from DVC's experiment workspaces too, which lie
    deep inside the checkout's .dvc folder.
    """
    if named := os.environ.get(MIRROR_VARIABLE):
        if not Path(named).is_dir():
            raise UnavailableError(f"{MIRROR_VARIABLE} names {named}, which is not a folder")
        return Path(named)
    for parent in Path.cwd().parents:
        if (parent / MIRROR_FOLDER).is_dir():
            return parent / MIRROR_FOLDER
    raise UnavailableError(f"{MIRROR_VARIABLE} is not set, and no folder above {Path.cwd()} has {MIRROR_FOLDER}")


def from_mirror(file: str, sha256: str) -> dict[str, list[Row]]:
    path = mirror_folder() / file
    if not path.is_file():
        raise UnavailableError(f"{path} does not exist")
    return parse(checked(path.read_bytes(), sha256, str(path)), str(path))


def from_hub(dataset: str, config: str, revision: str) -> dict[str, list[Row]]:
    """The rows of a data set on the Hugging Face Hub at one revision, read from its data files alone."""
    import datasets  # deferred: this import takes seconds, and a mirror does not need it

    try:
        splits: Any = datasets.load_dataset(dataset, config, revision=revision)
        names = splits["train"].features["intent"].names
        return {ours: [Row(row["text"], names[row["intent"]]) for row in splits[ours]] for ours in SPLITS}
    except Exception as error:  # the Hub's client raises dozens of kinds; all mean: not from here
        raise UnavailableError(_one_line(error)) from error


def from_upstream(url: str, sha256: str) -> dict[str, list[Row]]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:  # an answer that is cut off raises the second kind
        raise UnavailableError(_one_line(error)) from error
    return parse(checked(content, sha256, url), url)


def first_that_answers(sources: dict[str, Callable[[], dict[str, list[Row]]]]) -> tuple[str, dict[str, list[Row]]]:
    """The name and the rows of the first source that answers.

    Raises:
        PipelineError: none did; each is listed with its reason. Also what a source that did answer
            raised because its content is wrong: bad content is never passed over in silence.
    """
    refusals = []
    for name, fetch in sources.items():
        try:
            return name, fetch()
        except UnavailableError as reason:
            log.info("%s: %s", name, reason)
            refusals.append(f"{name} ({reason})")
    raise PipelineError(
        f"no source of the data set answered: {'; '.join(refusals)}. Point {MIRROR_VARIABLE} at a folder with "
        "the data files of github.com/clinc/oos-eval, or run `make demo`, which needs no download"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'…' if len(text) > 160 else ''}"
