"""The data set as the pipeline keeps it: three splits of (query, intent) rows and an order of the intents.

`Corpus` is how every stage reads it.

On disk (data/clinc/): `train.jsonl`, `validation.jsonl`, `test.jsonl` with one {"text", "intent"} a line, and
`intents.json` with the names in label order and the domain of each. The out-of-scope class, where a data set
has one, is always the last label: the logits of the in-scope intents are then `logits[:, :-1]`.
"""

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intents.core import files, paths
from intents.core.errors import PipelineError

OUT_OF_SCOPE = "oos"
SPLITS = ("train", "validation", "test")
JUDGED = ("validation", "test")  # the splits that every variant answers
MADE_BY = "dvc repro fetch-clinc"


class Row(NamedTuple):
    text: str
    intent: str


@dataclass(frozen=True)
class Intents:
    """The labels, in order, out-of-scope last; `domains` maps each in-scope intent to its domain."""

    names: list[str]
    domains: dict[str, str]

    @property
    def out_of_scope(self) -> int:
        """The label of the out-of-scope class."""
        return len(self.names) - 1

    @classmethod
    def of(cls, domains: dict[str, list[str]]) -> "Intents":
        """The intents of a {domain: [intent, ...]} mapping in alphabetical order, then out-of-scope."""
        domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
        return cls([*sorted(domain_of), OUT_OF_SCOPE], domain_of)


def canonical(rows: list[Row]) -> list[Row]:
    """`rows` in the one order that every source can give: by intent, then by text; duplicates stay."""
    return sorted(rows, key=lambda row: (row.intent, row.text))


def to_jsonl(rows: list[Row]) -> str:
    return "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)


def digest(splits: dict[str, list[Row]]) -> str:
    """sha256 over the canonical rows of all splits, the same whatever source they came from."""
    return files.sha256("".join(f"{name}\n{to_jsonl(splits[name])}" for name in SPLITS).encode())


def save(folder: Path, splits: dict[str, list[Row]], intents: Intents) -> None:
    with files.new_folder(folder) as scratch:
        for name in SPLITS:
            files.write_text(scratch / f"{name}.jsonl", to_jsonl(splits[name]))
        files.write_json(scratch / "intents.json", {"names": intents.names, "domains": intents.domains})


class Corpus:
    """The data set in a folder that `save` wrote; each split is read when it is first asked for.

    Args:
        folder: that of the stage fetch-clinc.
    """

    def __init__(self, folder: Path = paths.CLINC) -> None:
        self.folder = folder
        self.rows = cache(self._read)  # of a split: list[Row]

    def _read(self, split: str) -> list[Row]:
        path = files.require(self.folder / f"{split}.jsonl", MADE_BY)
        try:
            # Lines end at a newline alone: a query may hold what str.splitlines takes for the end of one.
            return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except (ValueError, TypeError) as error:  # UnicodeDecodeError among them
            raise damaged(path, error) from None

    @cached_property
    def intents(self) -> Intents:
        path = self.folder / "intents.json"
        try:
            return Intents(**files.read_json(path, MADE_BY))
        except TypeError as error:
            raise damaged(path, error) from None

    def texts(self, split: str) -> list[str]:
        return [row.text for row in self.rows(split)]

    def labels(self, split: str) -> np.ndarray:
        """The label of each row of a split, shape (rows,), int64."""
        index = {name: label for label, name in enumerate(self.intents.names)}
        try:
            return np.array([index[row.intent] for row in self.rows(split)], dtype=np.int64)
        except KeyError as error:
            raise damaged(self.folder / f"{split}.jsonl", f"intents.json has no intent {error}") from None

    @property
    def learnt_from(self) -> list[Path]:
        """The files that a training run reads: it learns from one split and chooses its best epoch on another."""
        return [self.folder / f"{split}.jsonl" for split in ("train", "validation")]


def damaged(path: Path, why: object) -> PipelineError:
    return PipelineError(f"{path} is not as the stage fetch-clinc wrote it ({str(why)[:120]}); run `{MADE_BY}`")


def normalized(text: str) -> str:
    """`text` as compared when duplicates are counted: case, accents' encoding and spacing aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def overlaps(splits: dict[str, list[Row]]) -> dict[str, int]:
    """How many queries stand twice: within a split, and (leaks) between two splits.

    `A_in_B` counts rows of A whose normalized text is in B; `conflicting_intents` counts texts that carry
    more than one intent anywhere.
    """
    texts = {name: [normalized(row.text) for row in rows] for name, rows in splits.items()}
    report = {f"duplicates_in_{name}": len(text) - len(set(text)) for name, text in texts.items()}
    for later, earlier in (("validation", "train"), ("test", "train"), ("test", "validation")):
        known = set(texts[earlier])
        report[f"{later}_in_{earlier}"] = sum(text in known for text in texts[later])
    pairs = {(normalized(row.text), row.intent) for rows in splits.values() for row in rows}
    report["conflicting_intents"] = sum(count > 1 for count in Counter(text for text, _ in pairs).values())
    return report
