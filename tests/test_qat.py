"""qat and the int8 models on a fixed grid, static and qat: what is in their files, and what is reported of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages import qat, quantize
from stages.library import calibration, fake_quantization, int8, logits, quality, splits, training
from stages.library.errors import PipelineError

METHODS = {"static": "student", "qat": "qat"}  # and the model that each is applied to
LAYER = "bert.encoder.layer.1.output.dense"


@pytest.fixture(scope="module")
def settings(overrides: list[str]) -> list[str]:
    return [
        *overrides,
        "quantize=[dynamic,static,qat]",
        *(f"quantize.{method}.queries=20" for method in METHODS),
        *(f"quantize.qat.{value}" for value in ("epochs=2", "batch_size=8", "learning_rate=1e-3")),
    ]


@pytest.fixture(scope="module")
def quantized_once(built_once: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized") / "project"
    shutil.copytree(built_once, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        compose(*settings)
        run(qat, monkeypatch)
        for method, model in METHODS.items():
            run(quantize, monkeypatch, method, model)
    return folder


@pytest.fixture
def quantized(quantized_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with qat and its int8 models, and static; a copy, so a test may change it."""
    folder = tmp_path / "project"
    shutil.copytree(quantized_once, folder)
    monkeypatch.chdir(folder)
    return folder


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in ("data/qat", "data/quantized", "data/logits", "reports")}


def texts(split: str) -> list[str]:
    return [row.text for row in splits.load(Path("data/clinc"), split)]


def test_the_folder_is_an_ordinary_model_with_its_ranges_and_gives_the_cached_logits(quantized: Path) -> None:
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "classifier.json"}
    assert set(contents(quantized / "data/qat")) == names | {"ranges.json"}
    student, trained = (load_file(f"data/{name}/model.safetensors") for name in ("student", "qat"))
    assert {name: tensor.shape for name, tensor in trained.items()} == {n: t.shape for n, t in student.items()}
    model = AutoModelForSequenceClassification.from_pretrained("data/qat")
    tokenizer = AutoTokenizer.from_pretrained("data/qat")
    with torch.inference_mode():
        found = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts("test")]
    np.testing.assert_allclose(load_file("data/logits/qat.safetensors")["test"], found, atol=1e-5)


@pytest.mark.usefixtures("quantized")
def test_training_moved_weights_and_ranges() -> None:
    student, trained = (load_file(f"data/{name}/model.safetensors") for name in ("student", "qat"))
    assert all((student[f"{name}.weight"] != trained[f"{name}.weight"]).any() for name in (LAYER, "classifier"))
    stored = json.loads(Path("data/qat/ranges.json").read_text())
    assert stored["scheme"] == {"per_row": True, "reduce_range": False, "embeddings": True, "float_layers": []}
    layers = {name.removesuffix(".weight") for name, weight in trained.items() if weight.ndim == 2}
    assert set(stored["inputs"]) == {name for name in layers if "embeddings" not in name}
    assert all(low <= 0 <= high and low < high for low, high in stored["inputs"].values())
    before = load_file("data/quantized/static/int8.safetensors")[f"{LAYER}.input_scale"]
    assert load_file("data/quantized/qat/int8.safetensors")[f"{LAYER}.input_scale"] != before


@pytest.mark.usefixtures("quantized")
def test_it_trains_in_float32_whatever_the_run_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 would round the quantized values once more, and training would see others than int8 gives."""
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("precision: auto", "precision: bf16"))
    seen = []

    def train(*_: object, run: training.Run, **__: object) -> None:
        seen.append(training.in_bfloat16(run))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(qat, monkeypatch)
    assert seen == [False]


@pytest.mark.usefixtures("quantized")
def test_the_int8_model_gives_the_answers_that_training_saw() -> None:
    model = AutoModelForSequenceClassification.from_pretrained("data/qat")
    tokenizer = AutoTokenizer.from_pretrained("data/qat")
    fake_quantization.FakeQuantizer.attach(model, *calibration.load(Path("data/qat"), ""))
    with torch.inference_mode():
        seen = np.stack([model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts("test")])
    int8_logits, float_logits = (
        load_file(f"data/logits/{name}.safetensors")["test"] for name in ("student-torch-qat", "qat")
    )
    assert np.median(np.abs(int8_logits - seen)) < 1e-5
    assert np.abs(int8_logits - seen).mean() < 0.05 * np.abs(int8_logits - float_logits).mean()


@pytest.mark.usefixtures("quantized")
@pytest.mark.parametrize("method", METHODS)
def test_every_linear_layer_has_a_fixed_grid(method: str) -> None:
    tensors = load_file(f"data/quantized/{method}/int8.safetensors")
    linear = {name.removesuffix(".bias") for name in tensors if name.endswith(".bias") and "LayerNorm" not in name}
    assert {name.removesuffix(".input_scale") for name in tensors if name.endswith(".input_scale")} == linear
    for name in linear:
        assert tensors[f"{name}.weight_int8"].dtype == np.int8
        assert tensors[f"{name}.input_scale"].shape == ()
        assert 0 <= tensors[f"{name}.input_zero_point"] <= 255


@pytest.mark.usefixtures("quantized")
def test_static_ranges_are_those_of_training_queries() -> None:
    seen = []
    model = AutoModelForSequenceClassification.from_pretrained("data/student")
    tokenizer = AutoTokenizer.from_pretrained("data/student")
    model.get_submodule(LAYER).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        for text in texts("train"):
            model(**tokenizer(text, return_tensors="pt"))
    tensors = load_file("data/quantized/static/int8.safetensors")
    span = float(tensors[f"{LAYER}.input_scale"]) * 255
    assert span <= max(float(batch.max()) for batch in seen) - min(float(batch.min()) for batch in seen) + 1e-5
    assert span > 0.5


@pytest.mark.parametrize(("method", "parent"), [("static", "student"), ("qat", "qat")])
def test_figures_are_those_of_the_files(quantized: Path, method: str, parent: str) -> None:
    variant = f"student-torch-{method}"
    figures = json.loads((quantized / f"reports/quality/{variant}.json").read_text())[variant]
    file = quantized / f"data/quantized/{method}/int8.safetensors"
    assert figures["size_mb"] == pytest.approx(file.stat().st_size / 2**20, abs=1e-6)
    ours, theirs = (logits.load(name, "")["validation"] for name in (variant, parent))
    assert figures["parity"] == quality.rounded(quality.parity(parent, theirs, ours))
    assert figures["parity"]["max_logit_difference"] > 0


@pytest.mark.usefixtures("quantized")
@pytest.mark.parametrize("method", METHODS)
def test_answers_in_padded_batches_are_counted(method: str) -> None:
    variant, folder = f"student-torch-{method}", Path("data/quantized") / method
    model, tokenizer = int8.load(folder, ""), AutoTokenizer.from_pretrained(folder)
    queries = texts("validation")
    with torch.inference_mode():
        batches = [queries[start : start + 32] for start in range(0, len(queries), 32)]
        batched = [model(**tokenizer(batch, padding=True, return_tensors="pt")).logits.numpy() for batch in batches]
    alone = logits.load(variant, "")["validation"]
    flipped = np.mean(np.concatenate(batched).argmax(axis=1) != alone.argmax(axis=1))
    figures = json.loads(Path(f"reports/quality/{variant}.json").read_text())[variant]["parity_in_padded_batches"]
    assert figures["agreement"] == pytest.approx(1 - flipped, abs=1e-6)


def test_an_interrupted_run_goes_on_with_its_ranges_and_ends_with_the_same_bytes(
    quantized: Path, quantized_once: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    count = iter((1, 2))

    def accuracy(prediction: object, original: object = training.accuracy) -> dict[str, float]:
        if next(count) == 2:
            raise KeyboardInterrupt
        return original(prediction)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(training, "accuracy", accuracy)
        with pytest.raises(KeyboardInterrupt):
            run(qat, interrupted)
    with caplog.at_level("INFO"):
        run(qat, monkeypatch)
    assert any(message.startswith("resuming from data/.training/qat-") for message in caplog.messages)
    for method in METHODS:
        run(quantize, monkeypatch, method, METHODS[method])
    assert outputs(quantized) == outputs(quantized_once)


def test_the_settings_reach_the_model(quantized: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = ["range=percentile", "percentile=90", "float_layers=[classifier]", "reduce_range=true"]
    before = load_file("data/quantized/static/int8.safetensors")
    compose(*settings, *(f"quantize.static.{value}" for value in narrow))
    run(quantize, monkeypatch, "static", "student")
    after = load_file("data/quantized/static/int8.safetensors")
    assert after[f"{LAYER}.input_scale"] * 127 < before[f"{LAYER}.input_scale"] * 255
    assert after[f"{LAYER}.input_zero_point"] <= 127
    assert after["classifier.weight"].dtype == np.float32
    assert "classifier.input_scale" not in after


@pytest.mark.parametrize(
    ("gone", "method", "message"),
    [
        ("data/qat", "qat", "data/qat not found; run `dvc repro quantize@qat`"),
        ("data/qat/ranges.json", "qat", "data/qat/ranges.json not found; run `dvc repro qat`"),
        ("data/student", "static", "data/student not found; run `dvc repro quantize@static`"),
    ],
)
def test_without_its_parent_a_method_says_what_to_run_and_writes_nothing(
    quantized: Path, monkeypatch: pytest.MonkeyPatch, gone: str, method: str, message: str
) -> None:
    (quantized / gone).rename(quantized / "elsewhere")
    before = contents(quantized)
    with pytest.raises(PipelineError, match=message):
        run(quantize, monkeypatch, method, METHODS[method])
    assert contents(quantized) == before


def test_a_layer_that_there_is_not_is_refused(
    quantized: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*settings, "quantize.static.float_layers=[head]")
    before = contents(quantized)
    with pytest.raises(PipelineError, match=r"`float_layers` has 'head', but no layer is called so; there are: bert"):
        run(quantize, monkeypatch, "static", "student")
    assert contents(quantized) == before


def test_another_method_is_refused_and_all_are_named(
    quantized: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(quantize, monkeypatch, "ternary", "student")
    assert "choose from" in (said := capsys.readouterr().err)
    assert all(method in said for method in ("dynamic", *METHODS))
