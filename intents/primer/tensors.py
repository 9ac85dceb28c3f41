"""A model's tensors as a safetensors file holds them: its widest layers, and bytes by part."""

from collections.abc import Mapping

import numpy as np

PARTS = ("embeddings", "attention", "feed-forward", "head")
KINDS = ("int8", "scales", "float32")


def part_of(name: str) -> str:
    """The part of a BERT-family classifier that a tensor belongs to, by its name."""
    if "embeddings." in name:
        return "embeddings"
    if "attention." in name or "sa_layer_norm" in name:
        return "attention"
    return "feed-forward" if ".layer." in name else "head"


def bytes_by_part(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Per part, the bytes of its float32 tensors, of its int8 weights and of their scales."""
    sizes = {part: dict.fromkeys(KINDS, 0) for part in PARTS}
    for name, tensor in tensors.items():
        kind = "scales" if name.endswith(".scales") else tensor.dtype.name
        sizes[part_of(name)][kind] += tensor.nbytes
    return sizes
