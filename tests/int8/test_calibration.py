"""calibration: ranges are those of the values that were seen, to within a bin of the histogram."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.int8 import calibration, kernels
from intents.int8.calibration import Calibration, Histogram, Method

SCHEME = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
TEXTS = ["wake me up", "will it rain today, or can I leave my umbrella at home?", "play a song", "volcano"]


def settings(**changes: object) -> Calibration:
    return Calibration(**{"range": Method.min_max, "percentile": 99.0, "queries": 3, "draw_seed": 0} | changes)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=5).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_checkpoint)


def histogram(values: np.ndarray) -> Histogram:
    counts, edges = np.histogram(values, calibration.BINS)
    return Histogram(edges, counts)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """A bell with outliers on one side, as what goes into a transformer's feed-forward layer."""
    draw = np.random.default_rng(0)
    return np.concatenate([draw.normal(size=50_000), np.full(20, 30.0)])


def test_what_goes_into_a_layer_is_what_is_counted(model: PreTrainedModel) -> None:
    batches = [{"input_ids": torch.tensor([ids])} for ids in ([101, 1592, 102], [101, 1231, 1003, 1307, 102])]
    layers = kernels.linear_layers(model, SCHEME)
    found = calibration.histograms(model, layers, batches)
    assert found.keys() == layers.keys()
    name = "bert.encoder.layer.0.attention.self.query"
    with torch.inference_mode():
        inputs = np.concatenate([model.bert.embeddings(**batch).numpy().ravel() for batch in batches])
    counts, _ = np.histogram(inputs, found[name].edges)
    assert (found[name].edges[0], found[name].edges[-1]) == (inputs.min(), inputs.max())
    assert found[name].counts.sum() == inputs.size == 8 * 32
    assert np.abs(found[name].counts - counts).sum() <= 2  # a value on an edge may fall to either side
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentiles_are_numpys(values: np.ndarray, percentile: float) -> None:
    seen = histogram(values)
    found = calibration.choose(seen, settings(range=Method.percentile, percentile=percentile), 255)
    expected = np.percentile(values, [100 - percentile, percentile])
    np.testing.assert_allclose(found, expected, atol=seen.edges[1] - seen.edges[0])


def test_min_max_is_numpys(values: np.ndarray) -> None:
    found = calibration.choose(histogram(values), settings(), 255)
    assert found == pytest.approx((values.min(), values.max()))


@pytest.mark.parametrize("levels", [15, 255])
def test_mse_is_the_range_with_the_least_error_of_quantized_values(values: np.ndarray, levels: int) -> None:
    def error(low: float, high: float) -> float:
        scale = (high - low) / levels
        zero_point = round(-low / scale)
        quantized = (np.clip(np.rint(values / scale) + zero_point, 0, levels) - zero_point) * scale
        return float(((quantized - values) ** 2).mean())

    low, high = calibration.choose(histogram(values), settings(range=Method.mse), levels)
    rivals = [(low * a, high * b) for a in (0.5, 0.8, 1.25) for b in (0.1, 0.5, 0.9) if low * a >= values.min() - 1e-9]
    assert error(low, high) < min(error(*rival) for rival in rivals)
    assert error(low, high) <= error(values.min(), values.max())


def test_with_few_levels_the_least_error_clips_outliers_and_min_max_does_not() -> None:
    draw = np.random.default_rng(0)
    values = np.append(draw.normal(size=100_000), 30.0)
    assert calibration.choose(histogram(values), settings(range=Method.mse), 15).high < 5
    assert calibration.choose(histogram(values), settings(), 15).high == 30


@pytest.mark.parametrize("method", list(Method))
def test_every_range_takes_in_zero(method: Method) -> None:
    draw = np.random.default_rng(0)
    for shift in (5.0, -5.0):
        low, high = calibration.choose(histogram(draw.uniform(size=1000) + shift), settings(range=method), 255)
        assert (low == 0) if shift > 0 else (high == 0)
        assert high - low > 4


def test_the_queries_drawn_are_few_seeded_and_unpadded(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(calibration, "histograms", lambda *given: seen.append(given[-1]) or {})
    for seed in (0, 0, 1):
        calibration.calibrate(model, tokenizer, TEXTS, {}, settings(draw_seed=seed), 255)
    drawn = [tuple(tuple(batch["input_ids"][0].tolist()) for batch in batches) for batches in seen]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == len(set(drawn[0])) == 3
    assert set(drawn[0]) < {tuple(tokenizer(text)["input_ids"]) for text in TEXTS}
    calibration.calibrate(model, tokenizer, TEXTS, {}, settings(queries=99), 255)
    assert len(seen[-1]) == len(TEXTS)


def test_ranges_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    ranges = {"bert.pooler.dense": kernels.Range(-0.1, 1 / 3), "classifier": kernels.Range(0.0, 1e-7)}
    calibration.save(tmp_path, SCHEME, ranges)
    assert calibration.load(tmp_path) == (SCHEME, ranges)


def test_without_ranges_it_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"ranges.json not found; run `dvc repro qat`"):
        calibration.load(tmp_path)
