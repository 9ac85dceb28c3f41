"""near_words: the nearest by cosine, whole words alone, whatever marks the pieces of a vocabulary."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, WordPiece
from torch import nn
from transformers import PreTrainedTokenizerFast

from intents.models.near_words import near_words

WORDPIECE = ["[UNK]", "the", "cat", "##s", "dog", "a", "2x", "car", "truck", "é", "bus"]
BYTES = ["<unk>", "Ġthe", "Ġcat", "s", "Ġdog", "Ġa", "Ġ2x", "Ġcar", "Ġtruck", "cat", "Ġbus"]


def tokenizer_of(pieces: list[str]) -> PreTrainedTokenizerFast:
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    if "##s" in vocabulary:
        tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.decoder = decoders.WordPiece()
    else:
        tokenizer = Tokenizer(BPE(vocabulary, []))
        tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def model_of(table: torch.Tensor) -> Any:
    return SimpleNamespace(get_input_embeddings=lambda: nn.Embedding.from_pretrained(table))


@pytest.mark.parametrize("pieces", [WORDPIECE, BYTES], ids=["wordpiece", "bytes"])
def test_words_are_whole_and_ordered_by_the_cosine(pieces: list[str]) -> None:
    table = torch.randn(len(pieces), 6, generator=torch.Generator().manual_seed(0))
    found = near_words(model_of(table), tokenizer_of(pieces), [], nearest=3)
    words = {"the": 1, "cat": 2, "dog": 4, "car": 7, "truck": 8, "bus": 10}
    assert list(found) == list(words)
    vectors = table[list(words.values())].numpy()
    vectors = vectors - vectors.mean(axis=0)
    for word, near in found.items():
        own = vectors[list(words).index(word)]
        cosine = {
            other: float(own @ vector / np.linalg.norm(own) / np.linalg.norm(vector))
            for other, vector in zip(words, vectors, strict=True)
            if other != word
        }
        assert near == sorted(cosine, key=lambda other: -cosine[other])[:3]


def test_the_common_words_and_those_of_the_texts_are_taken() -> None:
    table = torch.randn(len(WORDPIECE), 6, generator=torch.Generator().manual_seed(0))
    found = near_words(model_of(table), tokenizer_of(WORDPIECE), ["a truck é", "unknown"], common=2)
    assert list(found) == ["the", "cat", "truck"]
    assert sorted(found["truck"]) == ["cat", "the"]


def test_a_vocabulary_without_words_has_no_near_ones() -> None:
    assert near_words(model_of(torch.ones(2, 3)), tokenizer_of(["[UNK]", "##s"]), ["word"]) == {}
