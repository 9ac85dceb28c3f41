"""Int8 in PyTorch: weights stored as int8, activations quantized as they come (dynamic) or on a fixed grid (static).

torch.ao's eager front end (`quantize_dynamic`, `prepare`, `convert`) is deprecated, and saves its packed weights as
a pickle. What is to replace it, torchao and PT2E, is fast on a CPU by way of `torch.compile`, and so needs a C++
compiler wherever the model is served. The kernels under the old front end are the ones used here, directly. Both
take and give float32 and sum in int32:

- dynamic: `quantized::linear_dynamic`, with a scale and zero point found in each call, so that the answer to a query
  depends a little on what else is in its batch;
- static: `quantized::linear_with_input_q_dq_qweight_dq_output_fp32`, with those that a calibration found beforehand
  (intents/int8/calibration.py), so that it hardly does (in a batch float32 sums between the products come out
  different in their last bits, which now and then tips a rounding); and no pass over the inputs is spent on it.

Weights are symmetric, q = round(w / s) with s = max|w| / 127, one s per output row (or embedding row), or one for
the matrix. Activations are asymmetric uint8, q = round(x / S + Z), which stands for x ≈ (q − Z) · S; 0 is always among
the values that it can stand for (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 2.1).

A layer's int8 weight, scales, bias and input grid are plain tensors in a safetensors file, and are packed for the CPU
when they are loaded.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from intents.core import files
from intents.core.errors import PipelineError
from intents.models import encoder, reading

WEIGHTS = "int8.safetensors"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """What becomes int8, and how finely."""

    per_row: bool  # a scale for each output row, else one for each matrix
    reduce_range: bool  # 7-bit activations, for CPUs without VNNI, whose 16-bit sums could overflow
    embeddings: bool  # quantize the word embeddings too
    float_layers: list[str]  # linear layers that stay in float32; * stands for any part of a name

    @property
    def levels(self) -> int:
        """The largest quantized activation; the least is 0."""
        return 127 if self.reduce_range else 255


class Range(NamedTuple):
    """What a layer's inputs are clamped to: low ≤ 0 ≤ high."""

    low: float
    high: float


def quantize_symmetric(weight: torch.Tensor, per_row: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 weight, float32 scales of shape (..., rows, 1)); weight ≈ int8 weight · scales.

    Args:
        weight: float32, shape (..., rows, columns).
        per_row: one scale for each row, else the same for all.
    """
    largest = weight.abs().amax(dim=-1, keepdim=True)
    if not per_row:
        largest = largest.max().expand_as(largest)
    scales = (largest / 127).clamp(min=torch.finfo(torch.float32).tiny).contiguous()
    return torch.clamp(torch.round(weight / scales), -127, 127).to(torch.int8), scales


def input_grid(low: torch.Tensor, high: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale S, float32; zero point Z, int32) of the grid from `low` to `high`, float32 scalars, in `levels` steps."""
    scale = ((high - low) / levels).clamp(min=torch.finfo(torch.float32).eps)
    return scale, torch.round(-low / scale).clamp(0, levels).to(torch.int32)


class Int8Linear(nn.Module):
    """A linear layer with int8 weights.

    Args:
        weight_int8, scales, bias: of shapes (out, in), (out, 1) and (out,).
        reduce_range: 7-bit inputs.
        input_scale, input_zero_point: the fixed grid of the inputs, scalars; without it, one is found in each call.

    Raises:
        PipelineError: a fixed grid is asked for where PyTorch has no kernel for it.
    """

    weight_int8: torch.Tensor
    scales: torch.Tensor
    bias: torch.Tensor
    input_scale: torch.Tensor | None
    input_zero_point: torch.Tensor | None

    def __init__(
        self,
        weight_int8: torch.Tensor,
        scales: torch.Tensor,
        bias: torch.Tensor,
        reduce_range: bool,
        input_scale: torch.Tensor | None = None,
        input_zero_point: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight_int8", weight_int8)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero_point", input_zero_point)
        self.reduce_range = reduce_range
        if input_scale is not None and input_zero_point is not None:
            if (engine := torch.backends.quantized.engine) not in ("x86", "fbgemm"):
                raise PipelineError(
                    f"static int8 needs PyTorch's x86 or fbgemm engine, and this machine's is {engine}; "
                    "use a dynamic model here"
                )
            self.grid = float(input_scale), int(input_zero_point)
        with warnings.catch_warnings():
            # The tensor type that the kernel's packing asks for is on its way out (pytorch/pytorch#184982). The
            # kernels that take plain int8 tensors (onednn.qlinear_pointwise) leave it to Python to quantize the
            # activations, and took twice to four times as long on layers of this size.
            warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")
            quantized = torch.quantize_per_channel(
                weight_int8.float() * scales,
                scales.flatten().double(),
                torch.zeros(len(scales), dtype=torch.int64),
                axis=0,
                dtype=torch.qint8,
            )
        self.packed = torch.ops.quantized.linear_prepack(quantized, bias)

    @classmethod
    def of(cls, linear: nn.Linear, scheme: Scheme, inputs: Range | None = None) -> "Int8Linear":
        """The int8 form of a float layer, static if the range of its inputs is given."""
        weight = quantize_symmetric(linear.weight.detach(), scheme.per_row)
        grid = (
            input_grid(torch.tensor(inputs.low), torch.tensor(inputs.high), scheme.levels) if inputs else (None, None)
        )
        return cls(*weight, linear.bias.detach(), scheme.reduce_range, *grid)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.input_scale is None:
            return torch.ops.quantized.linear_dynamic(inputs, self.packed, self.reduce_range)
        scale, zero_point = self.grid
        if self.reduce_range:  # the kernel itself clamps at 255
            inputs = inputs.clamp(max=(127 - zero_point) * scale)
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(inputs, scale, zero_point, self.packed)


class Int8Embedding(nn.Module):
    """An embedding table with int8 rows, each with its scale: a quarter of the size, the same look-up."""

    weight_int8: torch.Tensor
    scales: torch.Tensor

    def __init__(self, weight_int8: torch.Tensor, scales: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight_int8", weight_int8)
        self.register_buffer("scales", scales)

    @classmethod
    def of(cls, embedding: nn.Embedding) -> "Int8Embedding":
        return cls(*quantize_symmetric(embedding.weight.detach(), per_row=True))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids, self.weight_int8).float() * self.scales[ids]


def linear_layers(model: nn.Module, scheme: Scheme) -> dict[str, nn.Linear]:
    """The linear layers that become int8, by name.

    Raises:
        PipelineError: `float_layers` names a layer that there is not.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for pattern in scheme.float_layers:
        if not any(fnmatch(name, pattern) for name in layers):
            raise PipelineError(
                f"`float_layers` has {pattern!r}, but no layer is called so; there are: {', '.join(layers)}"
            )
    return {
        name: layer
        for name, layer in layers.items()
        if not any(fnmatch(name, pattern) for pattern in scheme.float_layers)
    }


def word_embeddings(model: nn.Module, scheme: Scheme) -> dict[str, nn.Embedding]:
    """The embedding tables that become int8, by name: that of the words, if any."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and scheme.embeddings and name.endswith("word_embeddings")
    }


def quantize(model: PreTrainedModel, scheme: Scheme, ranges: Mapping[str, Range] | None = None) -> PreTrainedModel:
    """`model` with int8 layers in place of its linear layers and word embeddings, as far as the scheme says.

    Args:
        ranges: of each such linear layer's inputs, for static int8; None for dynamic.
    """
    for name, linear in linear_layers(model, scheme).items():
        model.set_submodule(name, Int8Linear.of(linear, scheme, ranges[name] if ranges is not None else None))
    for name, embedding in word_embeddings(model, scheme).items():
        model.set_submodule(name, Int8Embedding.of(embedding))
    return model


def save(model: PreTrainedModel, folder: Path) -> None:
    """config.json and the tensors, as a safetensors file that names its reduce_range."""
    reduced = any(module.reduce_range for module in model.modules() if isinstance(module, Int8Linear))
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"reduce_range": str(reduced).lower()})


def load(folder: Path, made_by: str) -> PreTrainedModel:
    """A model that `save` wrote, in evaluation mode; nothing in the folder is executed."""
    path = files.require(folder / WEIGHTS, made_by)
    reading.check_weights(path, f"`{made_by}` makes it again")
    model = encoder.skeleton(folder)
    with safe_open(path, framework="pt") as file:
        reduce_range = file.metadata()["reduce_range"] == "true"
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    for name in [key.removesuffix(".weight_int8") for key in state if key.endswith(".weight_int8")]:
        weight, scales = state[f"{name}.weight_int8"], state[f"{name}.scales"]
        if f"{name}.bias" in state:
            grid = state.get(f"{name}.input_scale"), state.get(f"{name}.input_zero_point")
            module: nn.Module = Int8Linear(weight, scales, state[f"{name}.bias"], reduce_range, *grid)
        else:
            module = Int8Embedding(weight, scales)
        model.set_submodule(name, module)
    model.load_state_dict(state)
    return model.eval()
