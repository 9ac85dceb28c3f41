"""Reports that another stage wrote. What is missing ends with one line: the file, and the stage to run again."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from intents.core import files
from intents.core.errors import PipelineError
from intents.core.variants import TEACHER


class Report(dict[str, Any]):
    """An object of a report. A key that is missing is an error in the file, not a defect of the code that asks for it.

    Args:
        content: what it holds.
        path: the file, for errors to name.
        made_by: the command that writes it.
    """

    def __init__(self, content: dict[str, Any], path: Path | str, made_by: str) -> None:
        super().__init__(content)
        self.path, self.made_by = path, made_by

    def __missing__(self, key: str) -> Any:
        raise lacking(self.path, self.made_by, f"has no `{key}`")


def lacking(path: Path | str, made_by: str, what: str) -> PipelineError:
    return PipelineError(f"{path} {what}; run `{made_by}`")


def parse(content: str, path: Path | str, made_by: str) -> Report:
    """The content of a report, every object in it a `Report`.

    Raises:
        PipelineError: it is no JSON, or no object.
    """
    try:
        found = json.loads(content, object_hook=lambda found: Report(found, path, made_by))
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path} is not valid JSON: {error}; run `{made_by}`") from None
    if not isinstance(found, Report):
        raise lacking(path, made_by, "holds no object")
    return found


def text(path: Path, made_by: str) -> str:
    """The text of a file that another stage wrote.

    Raises:
        PipelineError: it is not there, or no text.
    """
    try:
        return files.require(path, made_by).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise lacking(path, made_by, "is no text in UTF-8") from None


def load(path: Path, made_by: str) -> Report:
    """The content of the report in a file, every object in it a `Report`.

    Raises:
        PipelineError: it is not there, no text, no JSON, or no object.
    """
    return parse(text(path, made_by), path, made_by)


def rows(table: Report, key: str | None = None, numbers: Collection[str] = ()) -> Report:
    """The rows of a report by variant, which are objects.

    Args:
        key: where they stand in `table`; None for all of it.
        numbers: what each must hold, a number each.

    Raises:
        PipelineError: they are not, or do not.
    """
    found = table if key is None else table[key]
    where = "" if key is None else f"{key}."
    if not isinstance(found, Report):
        raise lacking(table.path, table.made_by, f"has {found!r:.60} as `{key}`, not an object")
    if TEACHER not in found:  # with which all others are compared
        raise lacking(table.path, table.made_by, f"has no `{where}{TEACHER}`")
    for name, row in found.items():
        if not isinstance(row, Report):
            raise lacking(table.path, table.made_by, f"has {row!r:.60} as `{where}{name}`, not an object")
        for number in numbers:
            if number not in row:
                raise lacking(table.path, table.made_by, f"has no `{where}{name}.{number}`")
            if isinstance(row[number], bool) or not isinstance(row[number], int | float):
                raise lacking(
                    table.path, table.made_by, f"has {row[number]!r:.60} as `{where}{name}.{number}`, no number"
                )
    return found


def table(content: str, path: Path, made_by: str, numbers: Collection[str]) -> Report:
    """A report whose `variants` are rows that hold these numbers."""
    found = parse(content, path, made_by)
    rows(found, "variants", numbers)
    return found


# The numbers of reports/benchmark.json that the pictures and pages cannot do without.
SHOWN = (
    *("accuracy", "accuracy_with_rule", "threshold", "size_mb", "size_ratio_vs_teacher", "p50_ms", "p95_ms"),
    *("p99_ms", "time_avg_ms", "time_std_ms", "speedup_vs_teacher", "served_agreement"),
)


def checked(found: Report) -> Report:
    """The content of a reports/benchmark.json, if its rows are whole.

    Raises:
        PipelineError: they are not.
    """
    table = rows(found, "variants", SHOWN)
    for name in ("best", "deployed"):
        if found[name] is not None and found[name] not in table:
            raise lacking(found.path, found.made_by, f"has {found[name]!r:.60} as `{name}`, and no such variant")
    return found


def benchmark(path: Path, made_by: str = "dvc repro select") -> Report:
    """reports/benchmark.json, `checked`."""
    return checked(load(path, made_by))
