"""Dynamic int8: against the product of rounded integers, with the range of each call's own input."""

from pathlib import Path

import numpy as np
import pytest
from graphs import answers, dynamic_settings, product


def rounded(x: np.ndarray) -> np.ndarray:
    """x on the grid of 8 bits over its own range; 0 is on it."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_product_is_that_of_the_rounded_integers(tmp_path: Path, per_channel: bool) -> None:
    draw = np.random.default_rng(0)
    weight = (draw.normal(size=(8, 8)) * np.arange(1, 9)).astype(np.float32)
    x = draw.normal(size=(5, 8)).astype(np.float32)
    dynamic_settings(per_channel=per_channel).quantizer(product(tmp_path, weight, "Identity"), [], lambda _: {})(
        tmp_path / "int8.onnx", ["product"]
    )
    scales = np.abs(weight).max(axis=0 if per_channel else None) / 127
    found = answers(tmp_path / "int8.onnx", x)
    np.testing.assert_allclose(found, rounded(x) @ (np.round(weight / scales) * scales) + x, rtol=1e-4, atol=1e-3)
    assert np.abs(found - (x @ weight + x)).max() > 0.02  # it differs from float


def test_the_range_is_that_of_the_call_so_an_answer_depends_on_its_batch(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    weight, x = (draw.normal(size=(size, 8)).astype(np.float32) for size in (8, 1))
    dynamic_settings().quantizer(product(tmp_path, weight), [], lambda _: {})(tmp_path / "int8.onnx", ["product"])
    alone = answers(tmp_path / "int8.onnx", x)
    beside = answers(tmp_path / "int8.onnx", np.concatenate([x, 100 * x]))[:1]
    assert np.abs(beside - alone).max() > 0.1
    assert np.abs(alone - (np.abs(x) @ weight + np.abs(x))).max() < 0.1
