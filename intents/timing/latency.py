"""Timing of several answerers side by side, so that a noisy machine is equally unkind to all."""

import gc
import random
from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
from tqdm.auto import tqdm

Answerer = Callable[[str], object]


def interleaved(answerers: Mapping[str, Answerer], queries: list[str], warmup: int, seed: int) -> dict[str, np.ndarray]:
    """The time of each answerer on each query, in milliseconds, shape (queries,).

    Query by query all answerers take their turn, in an order drawn anew for each query: a slow minute of the
    machine slows them all. Each turn is one untimed call and one timed call of the same query, since the
    turn of the others has emptied the CPU's caches, as no service that runs one model would.

    Args:
        warmup: turns of each answerer before the first that counts.
    """
    times: dict[str, list[float]] = {name: [] for name in answerers}
    order, draw = list(answerers), random.Random(seed)
    for query in [queries[0]] * warmup:
        for name in order:
            answerers[name](query)
    gc.collect()
    gc.disable()
    try:
        for query in tqdm(queries, desc="timing", unit="query"):
            draw.shuffle(order)
            for name in order:
                answer = answerers[name]
                answer(query)
                start = perf_counter()
                answer(query)
                times[name].append((perf_counter() - start) * 1000)
    finally:
        gc.enable()
    return {name: np.array(values) for name, values in times.items()}


def summary(reference: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Mean and deviation over the calls of the reference query, percentiles over the real ones, in ms."""
    p50, p95, p99 = np.percentile(real, [50, 95, 99])
    return {
        "time_avg_ms": float(reference.mean()),
        "time_std_ms": float(reference.std()),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
    }
