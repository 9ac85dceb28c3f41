"""The product at the heart of a linear layer, in float32 and in int8, timed side by side."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from intents.evaluation import statistics
from intents.int8.kernels import Int8Linear, quantize_symmetric
from intents.timing import latency

TOKENS = (1, 4, 16, 64)


@torch.inference_mode()
def multiply_timings(weight: np.ndarray, calls: int, seed: int, samples: int) -> dict[str, Any]:
    """Medians of the time of x · Wᵀ with PyTorch's kernels, for several numbers of tokens.

    Both kernels take float32 activations and return float32, so the int8 one's time includes the quantization of
    x, as in the quantized student. They take turns, and run on as many threads as torch is set to.

    Args:
        weight: W, float32, (outputs, inputs), a linear layer of the student.
        calls: timed calls of each kernel.
        seed: of x, of the turns and of the bootstrap.
        samples: bootstrap samples.

    Returns:
        {"outputs", "inputs", "tokens": {number: {"float32_us", "int8_us", "speedup", "speedup_interval"}}}
    """
    matrix = torch.from_numpy(weight)
    outputs, inputs = weight.shape
    bias = torch.zeros(outputs)
    int8 = Int8Linear(*quantize_symmetric(matrix, per_row=True), bias, reduce_range=False)
    generator = torch.Generator().manual_seed(seed)
    measured = {}
    for tokens in TOKENS:
        x = torch.randn(tokens, inputs, generator=generator)
        kernels = {"float32": lambda _, x=x: F.linear(x, matrix, bias), "int8": lambda _, x=x: int8(x)}
        times = latency.interleaved(kernels, [""] * calls, warmup=10, seed=seed)
        speedup, interval = statistics.ratio_of_medians(times["float32"], times["int8"], samples, seed)
        measured[str(tokens)] = {
            **{f"{name}_us": 1000 * float(np.median(values)) for name, values in times.items()},
            "speedup": speedup,
            "speedup_interval": list(interval),
        }
    return {"outputs": outputs, "inputs": inputs, "tokens": measured}
