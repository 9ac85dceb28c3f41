"""What the command lines of the tools take: a value that cannot be is refused with its option and what is allowed."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)


def number(kind: type[Number], low: Number, high: Number, *, above: bool = False) -> Callable[[str], Number]:
    """The type of an option that is a number from `low` to `high`; with `above`, `low` itself is none."""
    words = f"a {'whole ' if kind is int else ''}number {'above' if above else 'from'} {low} to {high}"

    def read(text: str) -> Number:
        try:
            found = kind(text)
        except (ValueError, OverflowError):
            found = None
        # NaN lies nowhere.
        if found is None or not low <= found <= high or (above and found == low):
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; allowed: {words}")
        return found

    return read


def exists(path: Path) -> bool:
    """Whether there is a file or folder; no name that is too long for one has any, where pathlib raises an error."""
    try:
        return path.exists()
    except OSError:
        return False
