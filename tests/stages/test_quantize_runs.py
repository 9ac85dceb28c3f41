"""quantize: it takes every model, its settings reach the files, and what cannot be is refused."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import compose, contents, run
from made import LABELS, answers_one_by_one, figures, logits_of, saved
from safetensors import safe_open

from intents.core import techniques
from intents.core.errors import PipelineError
from intents.int8 import kernels
from stages import quantize

METHODS = ("dynamic", "static")
EMBEDDINGS = "model.embeddings.word_embeddings"
LAYER = "model.encoder.layer.1.output.dense"
DYNAMIC = Path("models/half-torch-dynamic/int8.safetensors")
NARROW = ("range=percentile", "percentile=90", "float_layers=[model.encoder.layer.0.output.dense]", "reduce_range=true")


@pytest.mark.usefixtures("built")
def test_the_share_of_flipped_answers_is_that_of_the_two_ways_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this project the two hardly ever differ, so here they are told to."""
    right = np.eye(4)[LABELS].astype(np.float32)

    def answers_of(_: object, __: object, queries: list[str], batch_size: int) -> np.ndarray:
        return right if batch_size == 1 else np.concatenate([right[10:20], right[10:]])

    monkeypatch.setattr(quantize, "answers_of", answers_of)
    run(quantize, "half", "dynamic")
    assert figures("half-torch-dynamic") == {"validation": {"accuracy": 1.0}, "flipped_in_padded_batches": 0.25}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["half", "half-qat"])
def test_the_same_again_gives_the_same_bytes(built: Path, built_once: Path, model: str, method: str) -> None:
    run(quantize, model, method)
    for name in ("models", "data/logits", "reports/models"):
        assert contents(built / name) == contents(built_once / name)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["teacher", "labels", "half-movement", "half-magnitude", "half-structured"])
def test_every_model_has_an_int8_form(model: str, method: str) -> None:
    run(quantize, model, method)
    name = f"{model}-torch-{method}"
    folder, tensors, parent = Path("models") / name, saved(name), saved(model)
    for layer in (LAYER, "model.encoder.layer.0.attention.self.query"):
        assert tensors[f"{layer}.weight_int8"].shape == parent[f"{layer}.weight"].shape
    np.testing.assert_array_equal(logits_of(name)["test"], answers_one_by_one(kernels.load(folder, ""), folder, "test"))
    theirs, ours = logits_of(model)["test"], logits_of(name)["test"]
    assert 0 < np.abs(ours - theirs).mean() < 0.1 * np.abs(theirs).mean()


@pytest.mark.usefixtures("built")
def test_zeros_of_a_pruned_model_stay_zeros() -> None:
    run(quantize, "half-movement", "dynamic")
    pruned = saved("half-movement")[f"{LAYER}.weight"] == 0
    assert pruned.mean() > 0.5
    assert not saved("half-movement-torch-dynamic")[f"{LAYER}.weight_int8"][pruned].any()


@pytest.mark.usefixtures("built")
def test_the_settings_of_dynamic_reach_the_file(overrides: list[str]) -> None:
    with safe_open(DYNAMIC, "np") as file:
        assert file.metadata()["reduce_range"] == "false"
    assert len(np.unique(saved("half-torch-dynamic")["model.encoder.layer.0.attention.output.dense.scales"])) == 32
    compose(
        *overrides,
        "quantize.dynamic.per_row=false",
        "quantize.dynamic.embeddings=false",
        "quantize.dynamic.reduce_range=true",
    )
    run(quantize, "half", "dynamic")
    tensors = saved("half-torch-dynamic")
    assert len(np.unique(tensors["model.encoder.layer.0.attention.output.dense.scales"])) == 1
    assert tensors[f"{EMBEDDINGS}.weight"].dtype == np.float32
    with safe_open(DYNAMIC, "np") as file:
        assert file.metadata()["reduce_range"] == "true"


@pytest.mark.usefixtures("built")
def test_the_settings_of_static_reach_the_file(overrides: list[str]) -> None:
    before = saved("half-torch-static")
    compose(*overrides, *(f"quantize.static.{value}" for value in NARROW))
    run(quantize, "half", "static")
    after = saved("half-torch-static")
    assert after[f"{LAYER}.input_scale"] * 127 < before[f"{LAYER}.input_scale"] * 255
    assert after[f"{LAYER}.input_zero_point"] <= 127
    assert after["model.encoder.layer.0.output.dense.weight"].dtype == np.float32
    assert "model.encoder.layer.0.output.dense.input_scale" not in after


def test_a_model_of_qat_keeps_the_scheme_that_it_was_trained_with(built: Path, overrides: list[str]) -> None:
    compose(*overrides, *(f"quantize.static.{value}" for value in NARROW))
    before = contents(built)
    run(quantize, "half-qat", "static")
    assert contents(built) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_there_is_not_is_refused(built: Path, overrides: list[str], method: str) -> None:
    compose(*overrides, f"quantize.{method}.float_layers=[head]")
    before = contents(built)
    with pytest.raises(PipelineError, match=r"`float_layers` has 'head', but no layer is called so; there are: model"):
        run(quantize, "half", method)
    assert contents(built) == before


@pytest.mark.usefixtures("project")
def test_the_techniques_are_the_modules_with_settings_and_each_has_its_section() -> None:
    assert techniques.names("intents.int8") == list(METHODS)
    assert set(yaml.safe_load(Path("params.yaml").read_text())["quantize"]) == set(METHODS)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["ternary", "kernels"])
def test_another_method_is_refused_and_all_are_named(name: str) -> None:
    with pytest.raises(PipelineError, match=f"'{name}' is no technique of intents.int8; allowed: dynamic, static"):
        run(quantize, "half", name)
