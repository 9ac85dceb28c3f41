"""Tables: CSV, TSV, JSON Lines, JSON, Parquet, and data sets on the Hugging Face Hub."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError
from intents.data.corpus import OUT_OF_SCOPE
from tools.dataset.examples import (
    SPLIT_NAMES,
    Example,
    Options,
    arrays,
    listed,
    read_text,
    split_named,
    value,
)

# Names that columns have in published data sets; the first that a table has is taken.
TEXT = (
    "text",
    "utterance",
    "query",
    "sentence",
    "question",
    "example",
    "phrase",
    "utt",
    "message",
    "answer_normalised",
)
INTENT = ("intent", "label", "category", "class", "intent_name", "label_text", "target", "intents")
SPLIT = ("split", "partition", "subset")
COMMON = "rasa_nlu_data.common_examples"
DELIMITERS = ",;\t|"

Row = tuple[str, Mapping[str, Any]]  # place, and the cells by column


def examples(rows: Iterable[Row], columns: Sequence[str], options: Options, origin: str) -> Iterator[Example]:
    """The examples of a table.

    Raises:
        PipelineError: a column that is named is not there, or none has a name that is known.
    """
    text = _column("text", options.text, TEXT, columns, origin)
    intents = [_column("intent", name, INTENT, columns, origin) for name in (options.intent or "").split(",")]
    domain = _column("domain", options.domain, (), columns, origin) if options.domain else None
    split = _column("split", options.split, (), columns, origin) if options.split else None
    split = split or next((name for name in columns if name.strip().casefold() in SPLIT), None)
    named = split_named(Path(origin).stem)
    for place, cells in rows:
        parts = [value(cells.get(name), "intent", place).strip() for name in intents]
        yield Example(
            value(cells.get(text), "text", place),
            "_".join(parts) if all(parts) else "",
            place,
            _split(cells.get(split), place) if split else named,
            value(cells.get(domain), "domain", place).strip() or None if domain else None,
        )


def _column(what: str, asked: str | None, known: Sequence[str], columns: Sequence[str], origin: str) -> str:
    by_name = {name.strip().casefold(): name for name in reversed(columns)}
    names = [asked.strip()] if asked else known
    for name in names:
        if name in columns:
            return name
        if name.casefold() in by_name:
            return by_name[name.casefold()]
    if asked and asked.isdigit() and 1 <= int(asked) <= len(columns):
        return columns[int(asked) - 1]
    reason = f"no column {asked!r}" if asked else f"no column with a name that says it is the {what}"
    raise PipelineError(f"{origin} has {reason}; it has: {listed(list(columns))}; name it with --{what}")


def _split(found: Any, place: str) -> str:
    name = SPLIT_NAMES.get(str(found).strip().casefold())
    if name is None:
        raise PipelineError(f"{place} has {str(found)[:40]!r} as its split; allowed: {', '.join(SPLIT_NAMES)}")
    return name


def read_csv(path: Path, options: Options) -> Iterator[Example]:
    """A table in text: a line a row, but for line breaks in quotes. The delimiter is that of the first line."""
    text = read_text(path, options.encoding)
    first = text.split("\n", 1)[0]
    delimiter = options.delimiter or ("\t" if path.suffix == ".tsv" else max(DELIMITERS, key=first.count))
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []

    def rows() -> Iterator[Row]:
        begins = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise PipelineError(f"{path}, line {begins}, begins a row that is no CSV: {error}") from None
            if cells is None:
                return
            place, begins = f"{path}:{begins}", reader.line_num + 1
            if not columns:
                columns.extend(cells if options.header else [str(number) for number in range(1, len(cells) + 1)])
                yield place, {}
                if options.header:
                    continue
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise PipelineError(
                    f"{place} has {len(cells)} columns, the first row {len(columns)}; a text with {delimiter!r} in it "
                    "must stand in quotes"
                )
            yield place, dict(zip(columns, cells, strict=True))

    found = rows()
    if next(found, None) is None:
        raise PipelineError(f"{path} is empty")
    if not options.header and not (options.text or options.intent) and len(columns) == 2:
        options = _numbered(options)
    return examples(found, columns, options, str(path))


def _numbered(options: Options) -> Options:
    """Two columns without names: the text, then the intent."""
    return Options(**(vars(options) | {"text": "1", "intent": "2"}))


def read_json_lines(path: Path, options: Options) -> Iterator[Example]:
    rows: list[Row] = []
    for number, line in enumerate(read_text(path, options.encoding).split("\n"), 1):
        if line.strip():
            place = f"{path}:{number}"
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise PipelineError(f"{place} is not valid JSON: {str(error)[:80]}") from None
            rows.append((place, _object(cells, place)))
    return examples(rows, _columns(rows, str(path)), options, str(path))


def read_json(path: Path, options: Options) -> Iterator[Example]:
    """CLINC150's schema, a list of objects, objects by split, or Rasa's older JSON."""
    found = arrays(path, options.encoding)
    if COMMON in found:
        others = [key for key, items in found.items() if key.startswith("rasa_nlu_data.") and key != COMMON and items]
        options.notes += [f"{path}: {key.partition('.')[2]} passed over, it holds no queries" for key in others]
        found = {"": found[COMMON]}
    splits = {key: split_named(key.removeprefix(f"{OUT_OF_SCOPE}_")) for key in found}
    if not found or ("" not in found and not any(splits.values())):
        raise PipelineError(f"{path} holds no list of rows, and no splits such as train, val and test")
    for key, items in found.items():
        if key and splits[key] is None:
            options.notes.append(f"{path}: {key!r} passed over, it is no split")
            continue
        rows = []
        for item, line in items:
            place = f"{path}:{line}"
            cells = {"text": item[0], "intent": item[1]} if isinstance(item, list) and len(item) == 2 else item
            rows.append((place, _object(cells, place)))
        if not rows:
            continue
        for example in examples(rows, _columns(rows, str(path)), options, str(path)):
            yield example._replace(split=splits[key] or example.split)


def read_parquet(path: Path, options: Options) -> Iterator[Example]:
    import pandas as pd  # deferred: slow, and the other formats do without

    try:
        frame = pd.read_parquet(path)
        frame = frame.astype(object).where(frame.notna(), None)  # each kind of column has a mark of its own for missing
    except Exception as error:  # Arrow's own kinds, of which there are many
        raise PipelineError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:120]}") from None
    rows = [(f"{path}:row {number}", cells) for number, cells in enumerate(frame.to_dict("records"), 1)]
    return examples(rows, [str(name) for name in frame.columns], options, str(path))  # type: ignore[arg-type]


def read_hub(name: str, options: Options) -> Iterator[Example]:
    """A data set on the Hub; the numbers of a class label become its names."""
    import datasets  # deferred: this import takes seconds

    try:
        published: Any = datasets.load_dataset(name, options.config, revision=options.revision)
    except Exception as error:  # the Hub's client raises dozens of kinds
        raise PipelineError(
            f"{name!r} is no file here, and as a data set on the Hub it cannot be had: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        ) from None
    for key, split in published.items():
        labels = {column: kind.names for column, kind in split.features.items() if hasattr(kind, "names")}

        def named(cells: Mapping[str, Any], labels: Mapping[str, list[str]] = labels) -> dict[str, Any]:
            return {
                column: labels[column][cell] if column in labels and isinstance(cell, int) and cell >= 0 else cell
                for column, cell in cells.items()
            }

        rows = ((f"{name}:{key}:{number}", named(cells)) for number, cells in enumerate(split, 1))
        for example in examples(rows, list(split.features), options, name):
            yield example._replace(split=split_named(key) or example.split)


def _object(cells: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(cells, dict):
        raise PipelineError(f'{place} is no object; allowed: {{"text": ..., "intent": ...}}')
    return cells


def _columns(rows: Sequence[Row], origin: str) -> list[str]:
    if not rows:
        raise PipelineError(f"{origin} is empty")
    return list(dict.fromkeys(name for _, cells in rows for name in cells))
