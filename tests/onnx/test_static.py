"""Static int8: against the product of rounded integers, with a range that was fixed beforehand."""

from pathlib import Path

import numpy as np
import pytest
from graphs import answers, constants, product, static_settings

from intents.onnx.static import Calibration

DRAW = np.random.default_rng(0)
WEIGHT = (DRAW.normal(size=(8, 8)) * np.arange(1, 9)).astype(np.float32)
SEEN = [{"x": DRAW.normal(size=(3, 8)).astype(np.float32)} for _ in range(4)]
X = 2 * DRAW.normal(size=(5, 8)).astype(np.float32)  # beyond what was seen, so that some of it is clipped


def quantized(folder: Path, inner: str = "Abs", **changes: object) -> Path:
    """The product in int8, calibrated on SEEN."""
    settings = static_settings(queries=len(SEEN), **changes)
    queries = [str(number) for number in range(len(SEEN))]
    target = folder / "int8.onnx"
    settings.quantizer(product(folder, WEIGHT, inner), queries, lambda query: SEEN[int(query)])(target, ["product"])
    return target


def expected(x: np.ndarray, low: float, high: float, scales: np.ndarray) -> np.ndarray:
    """x · W with both rounded, plus x, which is not rounded: the residual."""
    step = (high - low) / 255
    zero = np.round(-low / step)
    integers = np.clip(np.round(x / step) + zero, 0, 255) - zero
    return (integers * step) @ (np.round(WEIGHT / scales) * scales) + x


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_static_product_is_that_of_the_rounded_integers(tmp_path: Path, per_channel: bool) -> None:
    found = answers(quantized(tmp_path, per_channel=per_channel), X)
    high = max(np.abs(feed["x"]).max() for feed in SEEN)
    assert np.abs(X).max() > high
    scales = np.abs(WEIGHT).max(axis=0 if per_channel else None) / 127
    np.testing.assert_allclose(found, expected(np.abs(X), 0, high, scales), rtol=1e-4, atol=1e-3)
    assert np.abs(found - (np.abs(X) @ WEIGHT + np.abs(X))).max() > 0.1  # it differs from float


@pytest.mark.parametrize("inner", ["Abs", "Identity"])
def test_the_zero_point_is_where_it_fits_or_in_the_middle(tmp_path: Path, inner: str) -> None:
    """Symmetric, the range is as wide below 0 as above, whatever was seen there."""
    values = np.concatenate([feed["x"] for feed in SEEN])
    values, x = (np.abs(values), np.abs(X)) if inner == "Abs" else (values, X)
    scales = np.abs(WEIGHT).max(axis=0) / 127
    widest = np.abs(values).max()
    bounds = {False: (min(values.min(), 0), values.max()), True: (-widest, widest)}
    zeros = {}
    for symmetric, (low, high) in bounds.items():
        path = quantized(tmp_path, inner, symmetric=symmetric)
        zeros[symmetric] = int(constants(path)["inner_zero_point"])
        assert constants(path)["inner_scale"] == pytest.approx((high - low) / 255, rel=1e-5)
        np.testing.assert_allclose(answers(path, x), expected(x, low, high, scales), rtol=1e-4, atol=1e-3)
    assert zeros[True] in (127, 128)
    assert zeros[False] == round(255 * -bounds[False][0] / (bounds[False][1] - bounds[False][0]))
    assert zeros[False] not in (127, 128)


@pytest.mark.parametrize(("calibration", "least"), [("MinMax", 8.0), ("Percentile", 7.9), ("Entropy", 4.0)])
def test_a_range_is_that_of_all_queries_seen(tmp_path: Path, calibration: str, least: float) -> None:
    """The feeds differ in length, as queries do. Entropy may cut off a single largest value."""
    source = product(tmp_path, np.eye(2, dtype=np.float32))
    seen = [{"x": np.array(rows, np.float32)} for rows in ([[1, 2]], [[-8, 3], [5, 4]], [[0.5, 1]])]
    ranges = static_settings(calibration=Calibration[calibration]).calibrate(source, seen)
    low, high = (np.ravel(bound)[0] for bound in ranges["inner"].range_value)
    assert least <= high <= 8
    assert 0 <= low <= 0.5


def test_an_answer_is_the_same_in_any_batch(tmp_path: Path) -> None:
    path = quantized(tmp_path)
    alone = answers(path, X[:1])
    np.testing.assert_array_equal(answers(path, np.concatenate([X[:1], 100 * X]))[:1], alone)


def test_the_ranges_are_taken_once_and_not_for_every_graph(tmp_path: Path) -> None:
    asked: list[str] = []

    def inputs(query: str) -> dict[str, np.ndarray]:
        asked.append(query)
        return SEEN[int(query)]

    write = static_settings(queries=2).quantizer(product(tmp_path, WEIGHT), ["0", "1", "2"], inputs)
    for name in ("one.onnx", "two.onnx"):
        write(tmp_path / name, ["product"])
    assert len(asked) == 2
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_calibration_draws_training_queries_and_the_same_ones_again() -> None:
    training = [f"query {number}" for number in range(100)]
    drawn = static_settings(queries=30).drawn(training)
    assert len(set(drawn)) == len(drawn) == 30
    assert set(drawn) < set(training)
    assert drawn == static_settings(queries=30).drawn(training)
    assert drawn != static_settings(queries=30, seed=1).drawn(training)
    assert sorted(static_settings(queries=1000).drawn(training)) == sorted(training)
