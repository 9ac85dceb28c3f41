"""int8: the kernels' arithmetic is the one in the papers, and a saved model is the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from intents.core.errors import PipelineError
from intents.int8 import kernels
from intents.int8.kernels import Int8Linear, Range, Scheme
from intents.models import encoder
from intents.models.encoder import Kept

BATCH = {"input_ids": torch.tensor([[101, 1592, 1088, 102], [101, 1231, 1003, 102]])}


def scheme(**changes: object) -> Scheme:
    return Scheme(**{"per_row": True, "reduce_range": False, "embeddings": True, "float_layers": []} | changes)


def layer(rows: int = 24, columns: int = 40) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(columns, rows)


@pytest.fixture
def inputs() -> torch.Tensor:
    """Queries of unlike size, some of whose values lie outside of the ranges used here; shape (6, 40)."""
    return torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * torch.logspace(-1, 1, 6)[:, None]


@pytest.fixture
def classifier(tiny_checkpoint: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=5).eval()


def ranges_of(model: PreTrainedModel) -> dict[str, Range]:
    return {name: Range(-2.0, 3.0) for name in kernels.linear_layers(model, scheme())}


def quantized_weights(linear: torch.nn.Linear, per_row: bool = True) -> tuple[np.ndarray, np.ndarray]:
    weight = linear.weight.detach().numpy()
    largest = np.abs(weight).max(axis=1, keepdims=True) if per_row else np.full((len(weight), 1), np.abs(weight).max())
    scales = (largest / 127).astype(np.float32)
    return np.rint(weight / scales).astype(np.int64), scales


def integer_product(
    inputs: np.ndarray, scale: float, zero_point: int, levels: int, linear: torch.nn.Linear, per_row: bool = True
) -> np.ndarray:
    """Quantize, multiply and sum in integers, dequantize: by NumPy alone."""
    # The kernel scales and shifts in one float32 operation before it rounds.
    shifted = (inputs.astype(np.float64) * (np.float32(1) / np.float32(scale)) + zero_point).astype(np.float32)
    levels_of_inputs = np.clip(np.rint(shifted), 0, levels).astype(np.int64)
    weights, scales = quantized_weights(linear, per_row)
    sums = (levels_of_inputs - zero_point) @ weights.T
    return sums * np.float64(scale) * scales[:, 0] + linear.bias.detach().numpy()


@pytest.mark.parametrize("per_row", [True, False])
@pytest.mark.parametrize(("reduce_range", "levels"), [(False, 255), (True, 127)])
def test_static_is_quantize_multiply_dequantize(
    inputs: torch.Tensor, per_row: bool, reduce_range: bool, levels: int
) -> None:
    linear = layer()
    found = Int8Linear.of(linear, scheme(per_row=per_row, reduce_range=reduce_range), Range(-2.0, 3.0))(inputs)
    scale = np.float32(5.0 / levels)
    expected = integer_product(inputs.numpy(), scale, round(2.0 / float(scale)), levels, linear, per_row)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)
    clamped = linear(inputs.clamp(-2, 3)).detach().numpy()
    assert np.abs(found.numpy() - clamped).max() < 0.02 * 255 / levels


@pytest.mark.parametrize(("reduce_range", "levels"), [(False, 255), (True, 127)])
def test_dynamic_is_the_same_within_the_range_of_the_call(
    inputs: torch.Tensor, reduce_range: bool, levels: int
) -> None:
    linear = layer()
    found = Int8Linear.of(linear, scheme(reduce_range=reduce_range))(inputs)
    low, high = float(inputs.min()), float(inputs.max())
    scale = np.float32((high - low) / levels)
    expected = integer_product(inputs.numpy(), scale, round(-low / float(scale)), levels, linear)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-4)


def test_sums_do_not_overflow_at_the_largest_values() -> None:
    linear = torch.nn.Linear(1536, 8)
    torch.nn.init.constant_(linear.weight, 1.0)
    torch.nn.init.zeros_(linear.bias)
    found = Int8Linear.of(linear, scheme(), Range(0.0, 255.0))(torch.full((1, 1536), 255.0))
    np.testing.assert_allclose(found.detach().numpy(), 255 * 1536, rtol=1e-6)


def test_a_static_answer_does_not_depend_on_the_batch_and_a_dynamic_one_does(inputs: torch.Tensor) -> None:
    static, dynamic = Int8Linear.of(layer(), scheme(), Range(-2.0, 3.0)), Int8Linear.of(layer(), scheme())
    alone = [torch.cat([form(row[None]) for row in inputs]) for form in (static, dynamic)]
    assert torch.equal(static(inputs), alone[0])
    assert not torch.allclose(dynamic(inputs), alone[1], atol=1e-3)


def test_zero_is_among_the_values_of_every_grid() -> None:
    for low, high in ((-2.3, 0.7), (0.0, 9.1), (-0.17, 22.9), (-3.0, 0.0), (0.0, 0.0)):
        scale, zero_point = kernels.input_grid(torch.tensor(low), torch.tensor(high), 255)
        assert 0 <= zero_point <= 255
        assert scale > 0
        assert (0 - zero_point) * scale == pytest.approx(low, abs=float(scale) / 2 + 1e-6)
        assert (255 - zero_point) * scale == pytest.approx(high, abs=float(scale) / 2 + 1e-4)


@pytest.mark.parametrize("static", [False, True])
def test_a_saved_model_comes_back_with_its_logits_and_its_bytes(
    classifier: PreTrainedModel, tmp_path: Path, static: bool
) -> None:
    ranges = ranges_of(classifier) if static else None
    model = kernels.quantize(classifier, scheme(reduce_range=static, float_layers=["classifier"]), ranges)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    kernels.save(model, tmp_path / "first")
    loaded = kernels.load(tmp_path / "first", "")
    kernels.save(loaded, tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    with torch.inference_mode():
        assert torch.equal(loaded(**BATCH).logits, model(**BATCH).logits)
    names = load_file(tmp_path / "first/int8.safetensors").keys()
    assert ("bert.pooler.dense.input_scale" in names) == static


SIZES = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", SIZES)
def test_a_model_with_heads_and_neurons_cut_out_comes_back_with_its_shapes(
    tmp_path: Path, kind: str, static: bool
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES[kind], initializer_range=0.2, num_labels=5)
    kept = [Kept([2], list(range(0, 64, 4))), Kept([0, 1, 3], list(range(8, 40)))]
    shrunk = encoder.shrink(AutoModelForSequenceClassification.from_config(config).eval(), kept)
    float_logits = shrunk(**BATCH).logits.detach()
    shapes = {name: linear.weight.shape for name, linear in kernels.linear_layers(shrunk, scheme()).items()}
    ranges = {name: Range(-6.0, 6.0) for name in shapes}
    model = kernels.quantize(shrunk, scheme(), ranges if static else None)
    kernels.save(model, tmp_path)
    loaded = kernels.load(tmp_path, "")
    assert {name: loaded.get_submodule(name).weight_int8.shape for name in shapes} == shapes
    with torch.inference_mode():
        found = loaded(**BATCH).logits
        assert torch.equal(found, model(**BATCH).logits)
    assert 0 < (found - float_logits).abs().max() < 0.2 * float_logits.abs().max()


def test_layers_named_stay_in_float(classifier: PreTrainedModel) -> None:
    chosen = scheme(float_layers=["classifier", "*.layer.0.*"], embeddings=False)
    model = kernels.quantize(classifier, chosen)
    kept = {name for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    assert kept == {"classifier", *(name for name in kept if ".layer.0." in name)}
    assert len(kept) == 7
    assert not any(isinstance(module, kernels.Int8Embedding) for module in model.modules())


def test_a_layer_that_there_is_not_is_refused(classifier: PreTrainedModel) -> None:
    with pytest.raises(
        PipelineError, match=r"`float_layers` has 'head', but no layer .*; there are: bert\..*classifier"
    ):
        kernels.quantize(classifier, scheme(float_layers=["classifier", "head"]))


def test_static_where_pytorch_has_no_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack")
    Int8Linear.of(layer(), scheme())
    with pytest.raises(PipelineError, match="needs PyTorch's x86 or fbgemm engine, and this machine's is qnnpack"):
        Int8Linear.of(layer(), scheme(), Range(-2.0, 3.0))
