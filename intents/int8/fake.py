"""Quantization-aware training: the model computes with the values that int8 will give it, and adapts to them.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
section 3: weights and layer inputs are quantized and dequantized on the way forward, in float32. Rounding has no
gradient, so on the way back it is passed straight through to the float weights, which go on learning.

The ends of an input's range are learnt too, from those that a calibration found (Esser et al., "Learned Step Size
Quantization", 2020, section 2.1, there for the step alone). With x̂ the quantized value of x in [low, high]:

    dx̂/dx = 1 within, 0 outside      dx̂/dhigh = (x̂ − x) / (high − low) within, 1 above, 0 below

and dx̂/dlow is minus the former within, 1 below, 0 above. Both are summed over the inputs and scaled by
1 / √(inputs · levels), so that clipping the norm of all gradients leaves the weights' their share. Section 2.2 counts
the inputs of one query; here they are those of the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from intents.int8.kernels import Range, Scheme, input_grid, linear_layers, quantize_symmetric, word_embeddings


class _StraightThrough(torch.autograd.Function):
    """`quantized` forward; backward, the gradient goes to `weight` as if nothing had been done to it."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ARG004
        return gradients[0], None


def fake_quantize_rows(weight: torch.Tensor, per_row: bool) -> torch.Tensor:
    """`weight` as its int8 form gives it back, shape (..., rows, columns); differentiable straight through."""
    weight_int8, scales = quantize_symmetric(weight.detach(), per_row)
    return _StraightThrough.apply(weight, weight_int8 * scales)


class _LearnedRange(torch.autograd.Function):
    """Inputs as their quantized form gives them back; see above for the gradients."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, low: torch.Tensor, high: torch.Tensor, levels: int) -> torch.Tensor:
        scale, zero_point = input_grid(low, high, levels)
        quantized = torch.fake_quantize_per_tensor_affine(inputs, scale, zero_point, 0, levels)
        ctx.save_for_backward(inputs, quantized, low, high)
        ctx.levels = levels
        return quantized

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        (gradient,) = gradients
        inputs, quantized, low, high = ctx.saved_tensors
        below, above = gradient * (inputs < low), gradient * (inputs > high)
        within = gradient - below - above
        moved = (within * (quantized - inputs)).sum() / (high - low)
        scale = (inputs.numel() * ctx.levels) ** -0.5
        return within, scale * (below.sum() - moved), scale * (above.sum() + moved), None


class FakeQuantizedWeight(nn.Module):
    """A parametrization of a weight matrix: weight → what its int8 form gives back."""

    def __init__(self, per_row: bool) -> None:
        super().__init__()
        self.per_row = per_row

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return fake_quantize_rows(weight, self.per_row)


class FakeQuantizedInput(nn.Module):
    """What a static int8 layer makes of its inputs, with a range that is learnt."""

    def __init__(self, inputs: Range, levels: int) -> None:
        super().__init__()
        self.low, self.high = nn.Parameter(torch.tensor(inputs.low)), nn.Parameter(torch.tensor(inputs.high))
        self.levels = levels

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        # An optimizer's step may have left 0 out of the range. The parameters themselves are put back: past a clamp in
        # the graph they would have no gradient, and never move again. By `data`, since a layer that is called twice
        # must not find changed in backward what it saved.
        self.low.data.clamp_(max=0)
        self.high.data.clamp_(min=0)
        return _LearnedRange.apply(inputs.float(), self.low, self.high, self.levels)

    def range(self) -> Range:
        return Range(min(self.low.item(), 0.0), max(self.high.item(), 0.0))


def _quantize_input(module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return module.fake_quantized_input(inputs[0])  # type: ignore[operator]


def _quantize_output(module: nn.Module, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return fake_quantize_rows(outputs, per_row=True)


@dataclass
class FakeQuantizer:
    """Fake quantization of what `int8.quantize` makes int8 with the same scheme."""

    layers: dict[str, nn.Linear]
    hooks: list[RemovableHandle]

    @classmethod
    def attach(cls, model: PreTrainedModel, scheme: Scheme, ranges: Mapping[str, Range]) -> "FakeQuantizer":
        layers, hooks = linear_layers(model, scheme), []
        for name, layer in layers.items():
            layer.fake_quantized_input = FakeQuantizedInput(ranges[name], scheme.levels)
            hooks.append(layer.register_forward_pre_hook(_quantize_input))
            parametrize.register_parametrization(layer, "weight", FakeQuantizedWeight(scheme.per_row))
        # Of the embeddings just the rows that are looked up are quantized: the same values, and not all the table.
        hooks += [table.register_forward_hook(_quantize_output) for table in word_embeddings(model, scheme).values()]
        return cls(layers, hooks)

    def finish(self) -> dict[str, Range]:
        """Take it all off, which leaves an ordinary float model; returns the ranges that were learnt."""
        ranges = {name: layer.fake_quantized_input.range() for name, layer in self.layers.items()}  # type: ignore[operator,union-attr]
        for hook in self.hooks:
            hook.remove()
        for layer in self.layers.values():
            del layer.fake_quantized_input
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        return ranges


def is_range(name: str) -> bool:
    """Whether a parameter of that name is an end of an input's range."""
    return "fake_quantized_input" in name
