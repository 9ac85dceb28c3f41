"""augment: queries made of the training queries alone, and the teacher's answers to them."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import compose, contents, run

from intents.core import paths
from intents.core.errors import PipelineError
from intents.data import augmented, logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder, inference
from intents.models.near_words import near_words
from stages import augment


def test_it_writes_so_many_queries_and_the_teachers_answers_to_them(reading: Path) -> None:
    texts, answers = augmented.load()
    assert len(texts) == 100
    teacher = encoder.load_classifier(paths.MODELS / "teacher")
    found = inference.logits_of(teacher, checkpoints.load_tokenizer(paths.MODELS / "teacher"), texts)
    # bfloat16, where the CPU has it, keeps 8 significant bits.
    np.testing.assert_allclose(answers["unlabelled"], found, rtol=0.02, atol=0.1)
    np.testing.assert_array_equal(answers["train"], logits.load("teacher")["train"])


def test_no_query_of_validation_or_test_plays_a_part(built: Path, overrides: list[str]) -> None:
    """With other queries in both splits, the very same queries are made."""
    before = (paths.AUGMENTED / augmented.QUERIES).read_bytes()
    for split in ("validation", "test"):
        path = paths.CLINC / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row | {"text": f"zebra {row['text']}"}) + "\n" for row in rows))
    run(augment, "teacher")
    assert (paths.AUGMENTED / augmented.QUERIES).read_bytes() == before
    assert b"zebra" not in before


def test_each_word_is_one_of_training_or_near_one(reading: Path) -> None:
    queries = Corpus().texts("train")
    known = {word for text in queries for word in text.split()}
    folder = paths.MODELS / "teacher"
    near = near_words(encoder.load_classifier(folder), checkpoints.load_tokenizer(folder), queries)
    made = {word for text in augmented.load()[0] for word in text.split()}
    assert made <= known | {other for word in known for other in near.get(word, ())}


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(built: Path, overrides: list[str]) -> None:
    before = contents(paths.AUGMENTED)
    run(augment, "teacher")
    assert contents(paths.AUGMENTED) == before
    compose(*overrides, "augment.seed=1")
    run(augment, "teacher")
    assert contents(paths.AUGMENTED)[augmented.QUERIES] != before[augmented.QUERIES]


def test_a_recipe_of_nothing_is_refused_and_nothing_is_lost(built: Path, overrides: list[str]) -> None:
    before = contents(paths.AUGMENTED)
    compose(*overrides, "augment.recipe={splice: 0.0, thin: 0.0, swap: 0.0, shuffle: 0.0}")
    with pytest.raises(PipelineError, match="allowed: shares of 0 or more, one at least above 0"):
        run(augment, "teacher")
    assert contents(paths.AUGMENTED) == before
