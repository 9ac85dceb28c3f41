"""Data sets that are folders: a Dialogflow export, seq.in beside label, or files that each are one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError
from tools.dataset.examples import Example, Options, arrays, read_text, split_named, value

USER_SAYS = re.compile(r"(.+)_usersays_([\w-]+)\.json")
SEQUENCES, LABELS = "seq.in", ("label", "seq.label", "labels")


def is_dialogflow(folder: Path) -> bool:
    return (folder / "agent.json").is_file() or any(folder.rglob("*_usersays_*.json"))


def read_dialogflow(folder: Path, options: Options) -> Iterator[Example]:
    """The training phrases of each intent, in one language; the pieces of a phrase are joined."""
    found = [(path, match) for path in sorted(folder.rglob("*.json")) if (match := USER_SAYS.fullmatch(path.name))]
    languages = sorted({match[2] for _, match in found})
    if not found:
        raise PipelineError(f"{folder} is a Dialogflow export without training phrases (no *_usersays_*.json)")
    language = options.language or languages[0]
    if language not in languages or (not options.language and len(languages) > 1):
        raise PipelineError(f"{folder} has phrases in {', '.join(languages)}; say which with --language")
    templates = 0
    for path, match in found:
        if match[2] != language:
            continue
        for phrase, line in arrays(path, options.encoding).get("", []):
            place = f"{path}:{line}"
            if isinstance(phrase, dict) and phrase.get("isTemplate"):
                templates += 1  # such as "@city:city", which nobody types
                continue
            pieces = phrase.get("data") if isinstance(phrase, dict) else None
            if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces):
                raise PipelineError(f"{place} is no training phrase of Dialogflow's: it has no list `data`")
            text = "".join(value(piece.get("text"), "text", place) for piece in pieces)
            yield Example(text, match[1], place, None, None)
    if templates:
        options.notes.append(f"{folder}: {templates} templates passed over, they hold names of entities, no queries")


def sequences(folder: Path) -> list[Path]:
    """The folders that hold seq.in: this one, or those in it."""
    return sorted(path.parent for path in [folder / SEQUENCES, *folder.glob(f"*/{SEQUENCES}")] if path.is_file())


def read_sequences(folder: Path, options: Options) -> Iterator[Example]:
    """seq.in has a query a line, label the intent of each."""
    names = [folder / name for name in LABELS if (folder / name).is_file()]
    if not names:
        raise PipelineError(f"{folder} has {SEQUENCES} but no file `label` beside it")
    texts, labels = (_lines(path, options) for path in (folder / SEQUENCES, names[0]))
    if len(texts) != len(labels):
        raise PipelineError(f"{folder / SEQUENCES} has {len(texts)} lines, {names[0]} {len(labels)}; each needs one")
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), 1):
        yield Example(text, label.strip(), f"{folder / SEQUENCES}:{number}", split_named(folder.name))


def _lines(path: Path, options: Options) -> list[str]:
    lines = read_text(path, options.encoding).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def none_known(folder: Path) -> Any:
    """Raise the error of a folder in which nothing is known."""
    raise PipelineError(
        f"{folder} holds no data set that is known; allowed: a Dialogflow export, {SEQUENCES} and label (in it, or in "
        "folders train, valid, test), or files .csv, .tsv, .jsonl, .json, .parquet, .yml, .md"
    )
