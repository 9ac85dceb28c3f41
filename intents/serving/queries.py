"""Queries from a file or a pipe: one a line, or JSON Lines. They come in groups, so that many are answered in batches.

A group is what one read gives: of a file thousands of lines, of a person who types a single one. So nobody waits for a
batch to fill.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from intents.core.errors import PipelineError
from intents.serving.classifier import LONGEST

CHUNK = 1 << 18  # bytes; a pipe gives up to 64 KiB at once
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Bytes of a line that are kept. Of a plain one, all that can be in the characters that are read.
LONGEST_PLAIN = 4 * LONGEST
LONGEST_JSON = 1 << 25


class Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def lines(stream: Readable, longest: int) -> Iterator[list[bytes]]:
    """The lines of a stream without their ends, as many together as one read completes; each cut at `longest` bytes."""
    kept = bytearray()
    while chunk := stream.read1(CHUNK):
        first, *others = chunk.split(b"\n")
        kept += first[: longest - len(kept)]
        if others:
            yield [bytes(kept), *(line[:longest] for line in others[:-1])]
            kept = bytearray(others[-1][:longest])
    if kept:
        yield [bytes(kept)]


def groups(stream: Readable, name: str, json_lines: bool) -> Iterator[list[str]]:
    """The queries of a stream, group by group.

    What is not UTF-8 is read as U+FFFD, and a note on standard error names the first such line.

    Args:
        stream: bytes in UTF-8, with or without a byte order mark.
        name: of the stream, for errors.
        json_lines: each line is a JSON object with "text", and empty lines are passed over; else each is a query.

    Raises:
        PipelineError: a line is no such object, or the stream cannot be read; the queries before it were given.
    """
    number, noted = 0, False
    try:
        for group in lines(stream, LONGEST_JSON + 1 if json_lines else LONGEST_PLAIN):
            found: list[str] = []
            problem = None
            for line in group:
                number += 1
                if number == 1:
                    if line.startswith(UTF16_MARKS):
                        raise PipelineError(f"{name} is UTF-16; allowed: UTF-8")
                    line = line.removeprefix(UTF8_MARK)
                where = f"line {number} of {name}"
                text, replaced = _decoded(line)
                if replaced and not noted:
                    print(f"note: {where} is not UTF-8; it is read with \\ufffd for what is not", file=sys.stderr)
                    noted = True
                if not json_lines:
                    found.append(text)
                elif text.strip():
                    try:
                        found.append(_text_of(text, where))
                    except PipelineError as error:
                        problem = error
                        break
            if found:
                yield found
            if problem:
                raise problem
    except OSError as error:
        raise PipelineError(f"{name} cannot be read: {error.strerror}") from None


def _decoded(line: bytes) -> tuple[str, bool]:
    """A line as text, and whether some of it was not UTF-8."""
    try:
        return line.decode("utf-8").rstrip("\r"), False
    except UnicodeDecodeError as error:
        cut = len(line) == LONGEST_PLAIN and error.end == len(line)  # by us, within a character
        return line.decode("utf-8", "replace").rstrip("\r"), not cut


def _text_of(line: str, where: str) -> str:
    if len(line) > LONGEST_JSON:
        raise PipelineError(f"{where} is too long; allowed: {LONGEST_JSON} bytes")
    try:
        text = json.loads(line)["text"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        raise PipelineError(f'{where} is {line[:80]!r}; allowed: a JSON object with "text"') from None
    if not isinstance(text, str):
        raise PipelineError(f'"text" in {where} is {repr(text)[:80]}; allowed: a text')
    return text


def opened(path: Path) -> BinaryIO:
    """A file of queries.

    Raises:
        PipelineError: it cannot be read.
    """
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # the latter where its name holds a NUL
        raise PipelineError(f"--file {path} cannot be read: {getattr(error, 'strerror', error)}") from None
