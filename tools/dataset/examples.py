"""What every reader gives, an example with its place, and what every reader is told."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from intents.core.errors import PipelineError
from intents.data import sources

# What a part of a file's name, a column or a split on the Hub says, and the split that it means.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPACE = re.compile(r"[\s,]*")


class Example(NamedTuple):
    text: str
    intent: str
    place: str  # file and line
    split: str | None = None  # None: to be put into one
    domain: str | None = None


@dataclass
class Options:
    """What the command line says of how to read, and what readers have to say of what they passed over."""

    text: str | None = None  # the column of the text; None: guessed by its name
    intent: str | None = None  # that of the intent; several, separated by commas, are joined
    domain: str | None = None
    split: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    header: bool = True
    language: str | None = None  # of a Dialogflow export that has several
    config: str | None = None  # of a data set on the Hub
    revision: str | None = None
    notes: list[str] = field(default_factory=list)


def split_named(name: str) -> str | None:
    """The split that a name such as train.csv or intents_dev.tsv speaks of; None if it speaks of none, or of two."""
    found = {SPLIT_NAMES[word] for word in re.split(r"[\W_\d]+", name.casefold()) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def read_text(path: Path, encoding: str | None) -> str:
    """The text of a file, without the mark of its byte order.

    Raises:
        PipelineError: it cannot be read, or is in another encoding; the message names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return sources.decoded(content, str(path), encoding).removeprefix("\ufeff")
    except PipelineError as error:
        hint = "" if encoding else ", or name its encoding: --encoding latin-1"
        raise PipelineError(f"{error}{hint}") from None


def value(found: Any, what: str, place: str) -> str:
    """A cell as text; "" where there is none.

    Raises:
        PipelineError: it is a list, a mapping or, of a text, a number.
    """
    if found is None or (isinstance(found, float) and isnan(found)):  # with which tables mark what is missing
        return ""
    if isinstance(found, str):
        return found
    if what == "intent" and isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    raise PipelineError(f"{place} has {sources.shown(found)} as its {what}; allowed: a text")


def arrays(path: Path, encoding: str | None) -> dict[str, list[tuple[Any, int]]]:
    """The arrays of a JSON file, each item with its line: {"": ...} of a list, {"train": ..., "a.b": ...} of an object.

    Raises:
        PipelineError: it is not JSON; the message names the line.
    """
    text = read_text(path, encoding)
    decode = json.JSONDecoder().raw_decode
    found: dict[str, list[tuple[Any, int]]] = {}
    end = 0  # of the array that was read last

    def after(place: int) -> int:
        return SPACE.match(text, place).end()  # type: ignore[union-attr]

    def items(place: int) -> Iterator[tuple[Any, int]]:
        nonlocal end
        line, counted = text.count("\n", 0, place) + 1, place
        place = after(place + 1)
        while text[place : place + 1] != "]":
            line, counted = line + text.count("\n", counted, place), place
            item, place = decode(text, place)
            yield item, line
            place = after(place)
        end = place + 1

    def walk(place: int, prefix: str) -> int:
        """Note the arrays of the value at `place`; returns where it ends."""
        if text[place : place + 1] == "[":
            found[prefix] = list(items(place))
            return end
        if text[place : place + 1] != "{" or prefix.count(".") > 1:
            return decode(text, place)[1]
        place = after(place + 1)
        while text[place : place + 1] != "}":
            key, place = decode(text, place)
            colon = after(place)
            if text[colon : colon + 1] != ":" or not isinstance(key, str):
                raise json.JSONDecodeError("Expecting ':' delimiter", text, colon)
            place = after(walk(after(colon + 1), f"{prefix}.{key}" if prefix else key))
        return place + 1

    try:
        json.loads(text)  # the walk is after lines, and lets a comma too few pass
        walk(after(0), "")
    except json.JSONDecodeError as error:
        raise PipelineError(f"{path}, line {error.lineno}, is not valid JSON: {error.msg}") from None
    except RecursionError:
        raise PipelineError(f"{path} is nested too deeply to be a data set") from None
    return found


def listed(names: list[str], most: int = 8) -> str:
    """Names as an error lists them, the first few."""
    shown = ", ".join(sources.shown(name)[1:-1] for name in islice(names, most))
    return f"{shown}, ..." if len(names) > most else shown
