"""The timed product: both kernels compute x · Wᵀ, they take turns, and what is told of them is what was measured."""

from collections.abc import Mapping

import numpy as np
import pytest

from intents.timing import latency, product

WEIGHT = np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The arguments of each call of latency.interleaved, which measures 8 µs and 2 µs, and once a second of noise."""
    calls: list[tuple] = []

    def interleaved(answerers: Mapping, queries: list[str], warmup: int, seed: int) -> dict[str, np.ndarray]:
        calls.append((answerers, queries, warmup, seed))
        return {
            "float32": np.r_[np.full(len(queries) - 1, 0.008), 1000.0],
            "int8": np.full(len(queries), 0.002),
        }

    monkeypatch.setattr(latency, "interleaved", interleaved)
    return calls


def test_the_figures_are_medians_and_their_ratio(timed: list[tuple]) -> None:
    found = product.multiply_timings(WEIGHT, calls=20, seed=0, samples=200)
    assert (found["outputs"], found["inputs"]) == (24, 32)
    assert list(found["tokens"]) == [str(tokens) for tokens in product.TOKENS]
    for row in found["tokens"].values():
        assert row == {
            "float32_us": pytest.approx(8),
            "int8_us": pytest.approx(2),
            "speedup": pytest.approx(4),
            "speedup_interval": pytest.approx([4, 4]),
        }


def test_both_kernels_take_turns_on_the_same_product(timed: list[tuple]) -> None:
    product.multiply_timings(WEIGHT, calls=20, seed=3, samples=200)
    assert len(timed) == len(product.TOKENS)
    for (kernels, queries, _, seed), tokens in zip(timed, product.TOKENS, strict=True):
        assert (list(kernels), len(queries), seed) == (["float32", "int8"], 20, 3)
        exact, rounded = kernels["float32"](""), kernels["int8"]("")
        assert exact.shape == rounded.shape == (tokens, 24)
        # Rounding moves a weight by at most half a step of max|w| / 127, an activation by half a 255th of its range.
        assert 0 < (exact - rounded).abs().max() < 0.02 * exact.abs().max()


def test_the_clock_gives_positive_times() -> None:
    found = product.multiply_timings(WEIGHT, calls=3, seed=0, samples=100)
    for row in found["tokens"].values():
        low, high = row["speedup_interval"]
        assert min(row["float32_us"], row["int8_us"]) > 0
        assert 0 < low <= row["speedup"] <= high
