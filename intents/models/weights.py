"""A model's weights as a safetensors file holds them: arrays by name."""

from collections.abc import Mapping

import numpy as np


def widest_layers(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """The linear layers with the most inputs, of a float model, by name.

    In an encoder those are the feed-forward layers behind the activation function. Their inputs are lopsided, which
    shows best why activations need a zero point.
    """
    linear = {
        name.removesuffix(".weight"): tensor.shape[1]
        for name, tensor in sorted(tensors.items())
        if tensor.ndim == 2 and name.removesuffix("weight") + "bias" in tensors
    }
    return [name for name, inputs in linear.items() if inputs == max(linear.values())]
