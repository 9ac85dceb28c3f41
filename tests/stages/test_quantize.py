"""quantize: int8 tensors in a safetensors file; what is reported of them is what the files say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents
from made import LABELS, answers_one_by_one, figures, logits_of, read, saved, texts
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.int8 import kernels

VARIANTS = [f"{model}-torch-{method}" for model in ("half", "half-qat") for method in ("dynamic", "static")]
EMBEDDINGS = "model.embeddings.word_embeddings"
LAYER = "model.encoder.layer.1.output.dense"


def folder_of(variant: str) -> Path:
    return Path("models") / variant


def parent_of(variant: str) -> str:
    return variant.split("-torch-")[0]


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_folder_holds_all_that_a_user_needs(variant: str) -> None:
    names = {"config.json", "int8.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(contents(folder_of(variant))) == names


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_linear_layer_and_the_word_embeddings_are_int8(variant: str) -> None:
    tensors, parent = saved(variant), saved(parent_of(variant))
    matrices = [name.removesuffix(".weight") for name, weight in parent.items() if weight.ndim == 2]
    small = ("position_embeddings", "token_type_embeddings", "head")  # a cosine head is no linear layer
    assert {name.removesuffix(".weight_int8") for name, tensor in tensors.items() if tensor.dtype == np.int8} == {
        name for name in matrices if not name.endswith(small)
    }
    for name in (EMBEDDINGS, "model.encoder.layer.0.attention.self.query"):
        weight = parent[f"{name}.weight"]
        restored = tensors[f"{name}.weight_int8"] * tensors[f"{name}.scales"]
        assert (np.abs(restored - weight) <= np.abs(weight).max(axis=1, keepdims=True) / 127 * 0.501).all()


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("model", ["half", "half-qat"])
def test_with_static_every_linear_layer_has_a_fixed_grid_and_with_dynamic_none(model: str) -> None:
    tensors = saved(f"{model}-torch-static")
    linear = {name.removesuffix(".bias") for name in tensors if name.endswith(".bias") and "LayerNorm" not in name}
    linear -= {"head"}  # a cosine head
    assert {name.removesuffix(".input_scale") for name in tensors if name.endswith(".input_scale")} == linear
    for name in linear:
        assert tensors[f"{name}.weight_int8"].dtype == np.int8
        assert tensors[f"{name}.input_scale"].shape == ()
        assert 0 <= tensors[f"{name}.input_zero_point"] <= 255
    assert not [name for name in saved(f"{model}-torch-dynamic") if ".input_" in name]


@pytest.mark.usefixtures("reading")
def test_static_ranges_are_those_of_training_queries() -> None:
    seen = []
    model = AutoModelForSequenceClassification.from_pretrained("models/half")
    tokenizer = AutoTokenizer.from_pretrained("models/half")
    model.get_submodule(LAYER).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        for text in texts("train"):
            model(**tokenizer(text, return_tensors="pt"))
    span = float(saved("half-torch-static")[f"{LAYER}.input_scale"]) * 255
    assert span <= max(float(batch.max()) for batch in seen) - min(float(batch.min()) for batch in seen) + 1e-5
    assert span > 0.5


@pytest.mark.usefixtures("reading")
def test_the_static_form_of_a_model_of_qat_has_the_ranges_that_it_was_trained_with() -> None:
    tensors = saved("half-qat-torch-static")
    trained = read("models/half-qat/ranges.json")["inputs"]
    assert len(trained) == 12  # six in each of two layers; a cosine head is no linear layer
    for name, (low, high) in trained.items():
        assert tensors[f"{name}.input_scale"] == pytest.approx((high - low) / 255, rel=1e-5)
        assert tensors[f"{name}.input_zero_point"] == round(-low / (high - low) * 255)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_size_and_parameters_are_those_of_the_file_and_of_the_parent(variant: str) -> None:
    manifest = read("reports/manifest.json")
    row, parent = manifest[variant], manifest[parent_of(variant)]
    file = folder_of(variant) / "int8.safetensors"
    assert row["size_mb"] == pytest.approx(file.stat().st_size / 2**20, abs=1e-6)
    assert row["parameters"] == parent["parameters"]
    assert row["size_mb"] < parent["size_mb"] / 3


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_parity_is_that_of_the_logits_files(variant: str) -> None:
    theirs, ours = (logits_of(name)["validation"] for name in (parent_of(variant), variant))
    difference = np.abs(theirs - ours)
    row = read("reports/evaluation.json")["variants"][variant]
    assert row["parity"] == pytest.approx(
        {
            "parent": parent_of(variant),
            "queries": 40,
            "max_logit_difference": difference.max(),
            "mean_logit_difference": difference.mean(),
            "agreement": (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean(),
        },
        abs=1e-6,
    )
    assert difference.max() > 0


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_accuracy_is_that_of_the_logits_on_validation(variant: str) -> None:
    right = logits_of(variant)["validation"].argmax(axis=1) == LABELS
    assert figures(variant)["validation"] == pytest.approx({"accuracy": right.mean()})


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_logits_are_what_the_saved_model_gives_one_query_at_a_time(variant: str) -> None:
    cached, folder = logits_of(variant), folder_of(variant)
    assert set(cached) == {"validation", "test"}
    np.testing.assert_array_equal(cached["test"], answers_one_by_one(kernels.load(folder, ""), folder, "test"))


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_that_differ_in_padded_batches_are_counted(variant: str) -> None:
    folder = folder_of(variant)
    quantized, tokenizer = kernels.load(folder, ""), AutoTokenizer.from_pretrained(folder)
    queries = texts("validation")
    with torch.inference_mode():
        batches = [queries[start : start + 32] for start in range(0, len(queries), 32)]
        batched = [quantized(**tokenizer(batch, padding=True, return_tensors="pt")).logits.numpy() for batch in batches]
    alone = logits_of(variant)["validation"]
    flipped = np.mean(np.concatenate(batched).argmax(axis=1) != alone.argmax(axis=1))
    assert figures(variant)["flipped_in_padded_batches"] == pytest.approx(flipped, abs=1e-6)
