"""Timing of several answerers side by side, so that a noisy machine is equally unkind to all."""

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

import numpy as np
from tqdm.auto import tqdm

Asked = TypeVar("Asked")  # a query, or a batch of them
Answerer = Callable[[Asked], object]


def interleaved(
    answerers: Mapping[str, Answerer[Asked]], queries: Sequence[Asked], warmup: int, seed: int, *, primed: bool = True
) -> dict[str, np.ndarray]:
    """The time of each answerer on each query, in milliseconds, shape (queries,).

    Query by query all answerers take their turn, in a new order for each query: a slow minute of the
    machine slows them all.

    Args:
        queries: what is asked: a query, or a batch of them.
        warmup: turns of each answerer before the first that counts.
        seed: of the order.
        primed: a timed call follows an untimed one of the same query, since the turn of the others has emptied the
            CPU's caches, as no service that runs one model would. A batch is long enough to do without.
    """
    times: dict[str, list[float]] = {name: [] for name in answerers}
    order, draw = list(answerers), random.Random(seed)
    for query in [queries[0]] * warmup:
        for name in order:
            answerers[name](query)
    gc.collect()
    gc.disable()
    try:
        for query in tqdm(queries, desc="timing", unit="query" if primed else "batch"):
            draw.shuffle(order)
            for name in order:
                answer = answerers[name]
                if primed:
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


def throughput(batches: np.ndarray, size: int) -> float:
    """Queries per second in batches of `size`, of the median batch; `batches` are times in ms, (batches,)."""
    return 1000 * size / float(np.median(batches))
