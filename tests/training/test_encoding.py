"""encoding: a query, its label and what the teacher said of it stay together."""

from pathlib import Path

import numpy as np
import pytest

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.data.corpus import Corpus, Intents, Row
from intents.models import checkpoints
from intents.training.encoding import encode

ROWS = [Row("wake me up at seven in the morning please", "alarm"), Row("tax", "oos"), Row("play", "music")]


@pytest.fixture
def data(tmp_path: Path) -> Corpus:
    corpus.save(tmp_path, dict.fromkeys(corpus.SPLITS, ROWS), Intents.of({"daily": ["alarm", "music"]}))
    return Corpus(tmp_path)


def test_rows_are_token_ids_labels_and_the_teachers_logits(data: Corpus, tiny_checkpoint: Path) -> None:
    tokenizer = checkpoints.load_tokenizer(tiny_checkpoint, 8)
    logits = np.arange(9.0).reshape(3, 3)
    found = encode(data, "train", tokenizer, logits)
    assert set(found.column_names) == {"input_ids", "attention_mask", "labels", "teacher_logits"}
    assert found["labels"][:] == [0, 2, 1]
    assert found["input_ids"][:] == [tokenizer(row.text, truncation=True)["input_ids"] for row in ROWS]
    assert [len(ids) for ids in found["input_ids"]] == [8, 3, 3]  # cut, and not padded
    np.testing.assert_array_equal(found["teacher_logits"][:], logits)


def test_without_a_teacher_there_is_no_column_for_it(data: Corpus, tiny_checkpoint: Path) -> None:
    found = encode(data, "validation", checkpoints.load_tokenizer(tiny_checkpoint))
    assert set(found.column_names) == {"input_ids", "attention_mask", "labels"}


def test_logits_of_other_queries_are_refused(data: Corpus, tiny_checkpoint: Path) -> None:
    with pytest.raises(PipelineError, match=r"the teacher answered 2 queries of train, and there are 3: .*dvc repro"):
        encode(data, "train", checkpoints.load_tokenizer(tiny_checkpoint), np.zeros((2, 3)))
