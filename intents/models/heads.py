"""Heads that read the direction of a vector: cosines with one learnt direction per label.

The cosine head gives scale · cos(x, w) + b, with the scale learnt (Gidaris and Komodakis, "Dynamic Few-Shot Visual
Learning without Forgetting", 2018, section 3.2).
"""

import torch
from torch import nn
from torch.nn import functional


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors of length 1 along the last axis; a zero vector stays zero.

    torch's `normalize` does the same, but exports with an Expand that ONNX Runtime's shape inference fails on.
    """
    return vectors * vectors.square().sum(dim=-1, keepdim=True).clamp_min(1e-24).rsqrt()


class CosineHead(nn.Module):
    """scale · cos(x, w) + b: x (batch, hidden), w (labels, hidden), b (labels,); scale is one learnt number."""

    def __init__(self, hidden: int, labels: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(labels, hidden))
        self.bias = nn.Parameter(torch.zeros(labels))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.linear(unit(vectors), self.scale * unit(self.weight), self.bias)


class FoldedHead(nn.Module):
    """What a trained `CosineHead` computes, as one linear layer over the normalized vector.

    The scale and the weight's normalization are constants then: an exported graph does not compute them in each call.
    """

    def __init__(self, head: CosineHead) -> None:
        super().__init__()
        labels, hidden = head.weight.shape
        self.linear = nn.Linear(hidden, labels, device=head.weight.device, dtype=head.weight.dtype)
        with torch.no_grad():
            self.linear.weight.copy_(head.scale * unit(head.weight))
            self.linear.bias.copy_(head.bias)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.linear(unit(vectors))
