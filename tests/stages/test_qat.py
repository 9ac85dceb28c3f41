"""qat: an ordinary float model and the ranges of its inputs, trained as its int8 form will compute."""

import csv
from pathlib import Path
from typing import Any

import interruption
import numpy as np
import pytest
from conftest import compose, contents, run
from made import LABELS, answers_one_by_one, logits_of, read, saved
from transformers import AutoModelForSequenceClassification

from intents.core.errors import PipelineError
from intents.int8 import calibration, fake
from intents.training import trainer
from stages import qat, quantize

LAYER = "model.encoder.layer.1.output.dense"
FOLDER = Path("models/half-qat")
SCHEME = {"per_row": True, "reduce_range": False, "embeddings": True, "float_layers": []}


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    made = ("models/half-qat", "models/half-qat-torch-static", "data/logits", "reports")
    return {name: contents(folder / name) for name in made}


def ranges() -> dict[str, Any]:
    return read("models/half-qat/ranges.json")


@pytest.mark.usefixtures("reading")
def test_the_folder_is_an_ordinary_model_with_its_ranges_and_gives_the_cached_logits() -> None:
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(contents(FOLDER)) == names | {"ranges.json"}
    student, trained = (saved(name) for name in ("half", "half-qat"))
    assert {name: tensor.shape for name, tensor in trained.items()} == {n: t.shape for n, t in student.items()}
    found = answers_one_by_one(AutoModelForSequenceClassification.from_pretrained(FOLDER), FOLDER, "test")
    np.testing.assert_allclose(logits_of("half-qat")["test"], found, atol=1e-5)


@pytest.mark.usefixtures("reading")
def test_training_moved_weights_and_ranges() -> None:
    student, trained = (saved(name) for name in ("half", "half-qat"))
    assert all((student[f"{name}.weight"] != trained[f"{name}.weight"]).any() for name in (LAYER, "head"))
    assert ranges()["scheme"] == SCHEME
    layers = {name.removesuffix(".weight") for name, weight in trained.items() if weight.ndim == 2}
    assert set(ranges()["inputs"]) == {name for name in layers if "embeddings" not in name and name != "head"}
    assert all(low <= 0 <= high and low < high for low, high in ranges()["inputs"].values())
    # The stage quantize calibrated the student on the same queries.
    scale = saved("half-torch-static")[f"{LAYER}.input_scale"]
    low, high = ranges()["inputs"][LAYER]
    assert scale != pytest.approx((high - low) / 255, rel=1e-4)
    assert scale == pytest.approx((high - low) / 255, rel=0.2)


@pytest.mark.usefixtures("reading")
def test_accuracy_is_that_of_the_logits_on_validation() -> None:
    answers = logits_of("half-qat")["validation"].argmax(axis=1)
    right = (answers == LABELS).mean()
    report = read("reports/models/half-qat.json")
    assert report == {"half-qat": {"validation": {"accuracy": pytest.approx(right)}}}


@pytest.mark.usefixtures("built")
def test_it_trains_in_float32_whatever_the_run_says() -> None:
    """bfloat16 would round the quantized values once more, and training would see others than int8 gives."""
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("precision: auto", "precision: bf16"))
    assert not trainer.in_bfloat16(interruption.options_of_training(qat)["run"])


@pytest.mark.usefixtures("reading")
def test_the_int8_model_gives_the_answers_that_training_saw() -> None:
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
    fake.FakeQuantizer.attach(model, *calibration.load(FOLDER))
    seen = answers_one_by_one(model, FOLDER, "test")
    int8_logits, float_logits = (logits_of(name)["test"] for name in ("half-qat-torch-static", "half-qat"))
    assert np.median(np.abs(int8_logits - seen)) < 1e-5
    assert np.abs(int8_logits - seen).mean() < 0.05 * np.abs(int8_logits - float_logits).mean()


def test_an_interrupted_run_goes_on_with_its_ranges_and_ends_with_the_same_bytes(
    built: Path, overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    compose(*overrides, "qat.epochs=2", "qat.learning_rate=1e-3")
    run(qat)
    run(quantize, "half-qat", "static")
    in_one_go = outputs(built)
    for name in ("model.safetensors", "ranges.json"):
        (FOLDER / name).unlink()
    with interruption.in_epoch(2), pytest.raises(KeyboardInterrupt):
        run(qat)
    with caplog.at_level("INFO"):
        run(qat)
    assert any(message.startswith("resuming from data/.training/half-qat-") for message in caplog.messages)
    run(quantize, "half-qat", "static")
    assert outputs(built) == in_one_go
    with Path("reports/training/half-qat.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.usefixtures("built")
def test_the_scheme_reaches_the_ranges_and_with_them_the_int8_model(overrides: list[str]) -> None:
    compose(
        *overrides,
        "qat.reduce_range=true",
        "qat.float_layers=[model.encoder.layer.0.output.dense]",
        "qat.per_row=false",
    )
    run(qat)
    assert ranges()["scheme"] == {
        "per_row": False,
        "reduce_range": True,
        "embeddings": True,
        "float_layers": ["model.encoder.layer.0.output.dense"],
    }
    assert "model.encoder.layer.0.output.dense" not in ranges()["inputs"]
    run(quantize, "half-qat", "static")
    tensors = saved("half-qat-torch-static")
    assert tensors["model.encoder.layer.0.output.dense.weight"].dtype == np.float32
    assert len(np.unique(tensors[f"{LAYER}.scales"])) == 1
    low, high = ranges()["inputs"][LAYER]
    assert tensors[f"{LAYER}.input_scale"] == pytest.approx((high - low) / 127)


@pytest.mark.usefixtures("built")
def test_it_trains_the_student_that_its_section_names(overrides: list[str]) -> None:
    compose(*overrides, "qat.student=labels")
    before = contents(FOLDER)
    run(qat)
    tensors = {name: saved(name) for name in ("labels", "half", "labels-qat")}
    apart = {
        student: np.abs(tensors["labels-qat"][f"{LAYER}.weight"] - tensors[student][f"{LAYER}.weight"]).max()
        for student in ("labels", "half")
    }
    assert 0 < apart["labels"] < 0.1 * apart["half"]
    assert set(read("reports/models/labels-qat.json")) == {"labels-qat"}
    assert contents(FOLDER) == before


def test_a_layer_that_there_is_not_is_refused(built: Path, overrides: list[str]) -> None:
    compose(*overrides, "qat.float_layers=[head]")
    before = contents(built)
    with pytest.raises(PipelineError, match=r"`float_layers` has 'head', but no layer is called so; there are: model"):
        run(qat)
    assert contents(built) == before
