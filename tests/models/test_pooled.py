"""PooledClassifier: the function it computes, what it is saved as, and the tools that must take it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    pipeline,
)

from intents.models import encoder
from intents.models.pooled import PooledClassifier, PooledConfig, class_means, in_head
from intents.onnx.export import export
from intents.onnx.graph import fuse

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "is", "my", "balance", "book", "a", "flight", "tell", "me"]
NAMES = ["balance", "flight", "oos"]
SMALL = {"vocab_size": len(WORDS), "max_position_embeddings": 32}
ENCODERS = {
    "bert": BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, **SMALL),
    "distilbert": DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64, **SMALL),
    "mpnet": MPNetConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, **SMALL),
}


def classifier(kind: str = "bert", attention: str = "sdpa", **settings: str) -> PooledClassifier:
    torch.manual_seed(0)
    config = PooledConfig(
        encoder_config=ENCODERS[kind].to_dict(),
        id2label=dict(enumerate(NAMES)),
        label2id={name: label for label, name in enumerate(NAMES)},
        **settings,
    )
    config._attn_implementation = attention
    return PooledClassifier(config).eval()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=16,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


IDS = torch.tensor([[2, 4, 5, 6, 7, 3], [2, 8, 9, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


@torch.no_grad()
def test_the_logits_are_scaled_cosines_of_the_mean_over_unmasked_tokens() -> None:
    model = classifier()
    model.head.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
    logits = model(input_ids=IDS, attention_mask=MASK).logits
    states = model.base_model(input_ids=IDS, attention_mask=MASK).last_hidden_state
    for row, length in enumerate((6, 4)):
        mean = states[row, :length].mean(dim=0)
        cosines = functional.cosine_similarity(mean[None], model.head.weight)
        torch.testing.assert_close(logits[row], 20.0 * cosines + model.head.bias)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_answer_with_either_form_of_the_mask(pooling: str) -> None:
    model = classifier(pooling=pooling, attention="eager")
    alone = model(input_ids=IDS[1:, :4]).logits
    torch.testing.assert_close(model(input_ids=IDS, attention_mask=MASK).logits[1:], alone)
    added = (1.0 - MASK[:, None, None, :].float()) * torch.finfo(torch.float32).min
    torch.testing.assert_close(model(input_ids=IDS, attention_mask=added).logits[1:], alone)


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(ENCODERS))
@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_a_saved_model_loads_through_transformers_and_answers_the_same(kind: str, head: str, tmp_path: Path) -> None:
    model = classifier(kind, head=head)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, use_safetensors=True).eval()
    assert isinstance(loaded, PooledClassifier)
    assert loaded.config.architectures == ["PooledClassifier"]
    assert loaded.config.id2label == dict(enumerate(NAMES))
    assert torch.equal(model(input_ids=IDS, attention_mask=MASK).logits, loaded(IDS, MASK).logits)


def test_attention_is_what_was_asked_for(tmp_path: Path) -> None:
    classifier().save_pretrained(tmp_path)
    for attention in ("eager", "sdpa"):
        loaded = encoder.load_classifier(tmp_path, attention=attention)
        assert loaded.base_model.config._attn_implementation == attention


def test_the_pipeline_of_transformers_takes_it(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = classifier()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(**tokenizer("book a flight", return_tensors="pt")).logits.softmax(-1).max()
    [answer] = pipeline("text-classification", str(tmp_path))("book a flight")
    assert answer["label"] in NAMES
    assert answer["score"] == pytest.approx(float(expected), abs=1e-6)


def test_a_pretrained_encoder_is_read_and_nothing_tells_its_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    pretrained = BertModel(ENCODERS["bert"])
    pretrained.save_pretrained(tmp_path / "checkpoint")
    model = PooledClassifier.from_encoder(tmp_path / "checkpoint", num_labels=3)
    for name, weight in model.base_model.state_dict().items():
        assert torch.equal(weight, pretrained.state_dict()[name]), name
    model.save_pretrained(tmp_path / "model")
    assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()


def test_layers_are_cut_as_from_a_plain_bert(tmp_path: Path) -> None:
    model = encoder.keep_layers(classifier(), [1], "layers")
    encoder.shrink(model, [encoder.Kept([0, 2], list(range(10)))])
    model.save_pretrained(tmp_path)
    loaded = encoder.load_classifier(tmp_path)
    assert len(loaded.base_model.encoder.layer) == loaded.config.num_hidden_layers == 1
    with torch.no_grad():
        assert torch.equal(model(IDS, MASK).logits, loaded(IDS, MASK).logits)


@torch.no_grad()
def test_class_means_are_the_normalized_means_of_normalized_vectors(tokenizer: PreTrainedTokenizerFast) -> None:
    model = classifier()
    texts, labels = ["what is my balance", "book a flight", "tell me", "my balance"], [0, 1, 2, 0]
    rows = class_means(model, tokenizer, texts, labels, batch_size=3)
    vectors = [functional.normalize(model.vectors(**tokenizer(text, return_tensors="pt")), dim=-1)[0] for text in texts]
    torch.testing.assert_close(rows[0], functional.normalize(vectors[0] + vectors[3], dim=0))
    torch.testing.assert_close(rows[1], vectors[1])
    model.head.weight.copy_(rows)  # a tensor of inference mode could not be trained
    with pytest.raises(ValueError, match="class 1 has no text"):
        class_means(model, tokenizer, texts[2:], labels[2:])


def test_without_a_text_out_of_scope_begins_opposite_to_all_classes(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = class_means(classifier(), tokenizer, ["what is my balance", "book a flight"], [0, 1])
    torch.testing.assert_close(rows[2], -functional.normalize(rows[0] + rows[1], dim=0))


def test_the_head_is_told_from_the_encoder_by_name() -> None:
    assert {name for name, _ in classifier().named_parameters() if in_head(name)} == {
        "head.weight",
        "head.bias",
        "head.scale",
    }


def test_the_exported_graph_is_fused_and_gives_the_same_logits(tmp_path: Path) -> None:
    model = classifier(attention="eager")
    with torch.no_grad():
        expected = model(IDS, MASK).logits.numpy()
        folded = model.folded()
        np.testing.assert_allclose(folded(IDS, MASK).logits.numpy(), expected, atol=1e-5)
    export(folded, tmp_path / "plain.onnx", opset=20)
    assert fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx")["Attention"] == 2
    for graph in ("plain.onnx", "fused.onnx"):
        session = onnxruntime.InferenceSession(tmp_path / graph)
        found = session.run(["logits"], {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
