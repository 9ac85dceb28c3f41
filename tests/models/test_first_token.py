"""The last layer for the first token alone: the same logits, the same gradients, the same file."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from intents.models.first_token import FirstTokenLayer, read_first_token

IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def classifier(attention: str, layers: int = 2) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=40,
        num_labels=5,
        initializer_range=0.3,
    )
    return BertForSequenceClassification._from_config(config, attn_implementation=attention).eval()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("mask", [None, MASK])
def test_logits_and_gradients_are_the_same(attention: str, layers: int, mask: torch.Tensor | None) -> None:
    plain = classifier(attention, layers)
    short = read_first_token(copy.deepcopy(plain))
    assert isinstance(short.bert.encoder.layer[-1], FirstTokenLayer)
    for model in (plain, short):
        model(IDS, mask).logits.square().sum().backward()
    torch.testing.assert_close(plain(IDS, mask).logits, short(IDS, mask).logits)
    gradients = {name: parameter.grad for name, parameter in short.named_parameters()}
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], msg=name, atol=1e-4, rtol=1e-4)


def test_in_training_it_drops_as_much() -> None:
    torch.manual_seed(0)
    plain = classifier("sdpa", layers=1)
    short = read_first_token(copy.deepcopy(plain))
    spreads = []
    for model in (plain, short):
        model.train()
        with torch.no_grad():
            spreads.append(torch.stack([model(IDS, MASK).logits for _ in range(400)]).std(dim=0).mean())
    assert spreads[0] > 0
    assert spreads[1] / spreads[0] == pytest.approx(1, abs=0.15)


def test_saved_it_is_a_plain_model(tmp_path: Path) -> None:
    short = read_first_token(classifier("sdpa"))
    short.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(loaded.bert.encoder.layer[-1]).__name__ == "BertLayer"
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS, MASK).logits, short(IDS, MASK).logits)
    assert read_first_token(short) is short
