"""corpus: what was saved is what is read, in one order, with the out-of-scope class as the last label."""

import json
from pathlib import Path

import numpy as np
import pytest

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.data.corpus import Corpus, Intents, Row

SPLITS = {
    "train": [Row("wake me", "alarm"), Row("play a song", "music"), Row("volcano", "oos")],
    "validation": [Row("ring", "alarm"), Row("tax", "oos"), Row("album", "music"), Row("ring", "alarm")],
    "test": [Row("quark", "oos"), Row("snooze", "alarm")],
}
INTENTS = Intents.of({"sound": ["music"], "daily": ["alarm"]})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    corpus.save(tmp_path / "clinc", SPLITS, INTENTS)
    return tmp_path / "clinc"


def test_intents_are_in_alphabetical_order_with_out_of_scope_last() -> None:
    intents = Intents.of({"b": ["zebra", "ant"], "a": ["oxen"]})
    assert intents.names == ["ant", "oxen", "zebra", "oos"]
    assert intents.domains == {"ant": "b", "oxen": "a", "zebra": "b"}
    assert intents.out_of_scope == 3


def test_rows_and_intents_come_back(saved: Path) -> None:
    data = Corpus(saved)
    assert {split: data.rows(split) for split in corpus.SPLITS} == SPLITS
    assert data.intents == INTENTS


def test_texts_and_labels_are_those_of_the_rows(saved: Path) -> None:
    data = Corpus(saved)
    assert data.texts("validation") == ["ring", "tax", "album", "ring"]
    labels = data.labels("validation")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 2, 1, 0]
    assert [data.intents.names[label] for label in labels] == [row.intent for row in SPLITS["validation"]]


def test_a_split_is_read_once_and_not_before_it_is_asked_for(saved: Path) -> None:
    (saved / "test.jsonl").unlink()
    data = Corpus(saved)
    rows = data.rows("train")
    (saved / "train.jsonl").unlink()
    assert data.rows("train") is rows
    assert data.labels("train").tolist() == [0, 1, 2]
    with pytest.raises(PipelineError, match=r"test.jsonl not found; run `dvc repro fetch-clinc`"):
        data.rows("test")


def test_two_data_sets_are_read_apart(saved: Path, tmp_path: Path) -> None:
    corpus.save(tmp_path / "other", SPLITS | {"train": [Row("another", "alarm")]}, INTENTS)
    assert Corpus(saved).texts("train") == ["wake me", "play a song", "volcano"]
    assert Corpus(tmp_path / "other").texts("train") == ["another"]


def test_without_a_folder_it_is_that_of_the_stage(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    saved.rename(tmp_path / "data/clinc")
    monkeypatch.chdir(tmp_path)
    assert Corpus().rows("test") == SPLITS["test"]


def test_without_intents_it_says_what_to_run(saved: Path) -> None:
    (saved / "intents.json").unlink()
    with pytest.raises(PipelineError, match=r"intents.json not found; run `dvc repro fetch-clinc`"):
        Corpus(saved).labels("train")


def test_a_training_depends_on_what_it_learns_from_and_chooses_by_and_not_on_the_test_split(saved: Path) -> None:
    assert Corpus(saved).learnt_from == [saved / "train.jsonl", saved / "validation.jsonl"]


def test_the_canonical_order_is_by_intent_then_text_and_keeps_duplicates() -> None:
    rows = [Row("b", "two"), Row("a", "two"), Row("c", "one"), Row("a", "two")]
    assert corpus.canonical(rows) == [Row("c", "one"), Row("a", "two"), Row("a", "two"), Row("b", "two")]


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_the_digest_is_over_every_row_of_every_split(split: str) -> None:
    digest = corpus.digest(SPLITS)
    assert corpus.digest(dict(reversed(SPLITS.items()))) == digest
    assert corpus.digest(SPLITS | {split: SPLITS[split][:-1]}) != digest
    assert corpus.digest(SPLITS | {split: [*SPLITS[split][:-1], Row("x", "alarm")]}) != digest


def test_a_save_that_fails_leaves_the_old_data_set(saved: Path) -> None:
    with pytest.raises(AttributeError):
        corpus.save(saved, SPLITS | {"test": [None]}, INTENTS)  # type: ignore[list-item]
    assert Corpus(saved).rows("test") == SPLITS["test"]
    assert [path.name for path in saved.parent.iterdir()] == ["clinc"]


def test_queries_are_compared_without_case_spacing_and_the_encoding_of_accents() -> None:
    assert corpus.normalized("  Où \t EST le cafe\u0301 ") == corpus.normalized("où est le café")
    assert corpus.normalized("cafe") != corpus.normalized("café")


def test_a_line_is_one_query_as_json(saved: Path) -> None:
    lines = (saved / "train.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [row._asdict() for row in SPLITS["train"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.jsonl", b'{"text": "wake me", "intent": "al'),
        ("train.jsonl", b'{"text": "wake me"}\n'),
        ("train.jsonl", b'["wake me", "alarm"]\n'),
        ("train.jsonl", b'{"text": "\xe9", "intent": "alarm"}\n'),
        ("train.jsonl", b'{"text": "wake me", "intent": "gone"}\n'),
        ("intents.json", b'{"names": []}'),
    ],
)
def test_a_damaged_file_is_named_with_the_stage_to_run(saved: Path, name: str, content: bytes) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(PipelineError, match=rf"{name} is not as the stage fetch-clinc wrote it .*; run `dvc repro"):
        Corpus(saved).labels("train")
