"""Dynamic int8 in PyTorch: weights stored as int8, activations quantized as they come.

torch.ao's eager front end (`quantize_dynamic`) is deprecated, and saves its packed weights as a pickle. The
kernels under it (`quantized::linear_dynamic`) are the ones used here, directly: a layer's int8 weight, scales
and bias are plain tensors in a safetensors file, and are packed for the CPU when they are loaded.

Weights are symmetric, q = round(w / s) with s = max|w| / 127, one s per output row (or embedding row), or one
for the matrix. Activations are asymmetric uint8, one scale and zero point per call: so the answer to a query
depends a little on what else is in its batch.
"""

import warnings
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from stages.library import artifacts

WEIGHTS = "int8.safetensors"


def quantize_symmetric(weight: torch.Tensor, per_row: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 weight, float32 scales of shape (rows, 1)); weight ≈ int8 weight · scales.

    Args:
        weight: float32, shape (rows, columns).
        per_row: one scale for each row, else the same for all.
    """
    largest = weight.abs().amax(dim=1, keepdim=True)
    if not per_row:
        largest = largest.max().expand_as(largest)
    scales = (largest / 127).clamp(min=torch.finfo(torch.float32).tiny).contiguous()
    return torch.clamp(torch.round(weight / scales), -127, 127).to(torch.int8), scales


class Int8Linear(nn.Module):
    """A linear layer with int8 weights whose inputs are quantized per call."""

    weight_int8: torch.Tensor
    scales: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight_int8: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor, reduce_range: bool) -> None:
        super().__init__()
        self.register_buffer("weight_int8", weight_int8)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)
        self.reduce_range = reduce_range  # 7-bit activations: safe from overflow on CPUs without VNNI
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
    def of(cls, linear: nn.Linear, per_row: bool, reduce_range: bool) -> "Int8Linear":
        return cls(*quantize_symmetric(linear.weight.detach(), per_row), linear.bias.detach(), reduce_range)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ops.quantized.linear_dynamic(inputs, self.packed, self.reduce_range)


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


def quantize(model: PreTrainedModel, per_row: bool, reduce_range: bool, embeddings: bool) -> PreTrainedModel:
    """`model` with int8 layers in place of its linear layers and, if asked for, its word embeddings."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            model.set_submodule(name, Int8Linear.of(module, per_row, reduce_range))
        elif isinstance(module, nn.Embedding) and embeddings and name.endswith("word_embeddings"):
            model.set_submodule(name, Int8Embedding.of(module))
    return model


def save(model: PreTrainedModel, folder: Path) -> None:
    """config.json and the tensors, as a safetensors file that names its reduce_range."""
    ranges = {module.reduce_range for module in model.modules() if isinstance(module, Int8Linear)}
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"reduce_range": str(ranges.pop()).lower()})


def load(folder: Path, made_by: str) -> PreTrainedModel:
    """A model that `save` wrote, in evaluation mode; nothing in the folder is executed."""
    path = artifacts.require(folder / WEIGHTS, made_by)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    with safe_open(path, framework="pt") as file:
        reduce_range = file.metadata()["reduce_range"] == "true"
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    for name in [key.removesuffix(".weight_int8") for key in state if key.endswith(".weight_int8")]:
        weight, scales = state[f"{name}.weight_int8"], state[f"{name}.scales"]
        bias = state.get(f"{name}.bias")
        module = Int8Embedding(weight, scales) if bias is None else Int8Linear(weight, scales, bias, reduce_range)
        model.set_submodule(name, module)
    model.load_state_dict(state)
    return model.eval()
