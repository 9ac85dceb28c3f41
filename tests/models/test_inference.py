"""inference: queries are batched by length, and answered in their own order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from intents.data.corpus import Intents
from intents.models import checkpoints, inference

TEXTS = [
    "a much longer query than all of the others here",
    "wake",
    "play a song",
    "tax",
    "what is the weather like now",
]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_answers_are_those_of_each_query_by_itself_in_the_order_given(tiny_checkpoint: Path, batch_size: int) -> None:
    torch.manual_seed(0)
    model = checkpoints.load_classifier(tiny_checkpoint, Intents.of({"daily": ["alarm", "music"]}))
    tokenizer = checkpoints.load_tokenizer(tiny_checkpoint, 16)
    with torch.inference_mode():
        expected = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS]
    found = inference.logits_of(model, tokenizer, TEXTS, batch_size)
    assert (found.shape, found.dtype) == ((5, 3), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len({tuple(row) for row in found.round(4)}) == 5  # so an order that is lost would show
