"""control: the student trained on the labels alone, beside one distilled from the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import compose, contents, run
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.evaluation import threshold
from intents.training import distillation
from stages import control, distill

LABELS = np.repeat([0, 1, 3, 2], 10)  # of the test split in canonical order: alarm, music, oos, weather


@pytest.fixture
def seeded(built: Path, overrides: list[str]) -> Path:
    compose(*overrides, "control.seeds=[0,1]", "distill.epochs=2")
    return built


def figures(folder: Path, seed: int) -> dict[str, object]:
    return json.loads((folder / f"reports/quality/control-{seed}.json").read_text())[f"control-{seed}"]


def right(folder: Path, variant: str, threshold: float) -> np.ndarray:
    logits = load_file(folder / f"data/logits/{variant}.safetensors")["test"]
    return threshold.decide(logits, threshold) == LABELS


def test_the_control_is_what_distill_makes_with_alpha_one(
    seeded: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control, "0")
    compose(*overrides, "distill.alpha=1.0", "distill.epochs=2")
    run(distill)
    ours, theirs = (contents(seeded / f"data/{name}") for name in ("control-0", "student"))
    assert ours == theirs


def test_with_the_seed_of_the_run_the_distilled_one_is_the_student(
    seeded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "distillation_loss", None)  # would be called if the student were trained again
    with pytest.raises(TypeError):
        run(control, "1")
    monkeypatch.undo()
    monkeypatch.chdir(seeded)
    run(control, "0")
    student = json.loads((seeded / "reports/quality/student.json").read_text())["student"]
    found = figures(seeded, 0)
    assert found["distilled"]["accuracy_with_rule"] == student["accuracy_with_rule"]
    gain = right(seeded, "student", student["threshold"]).mean() - right(seeded, "control-0", found["threshold"]).mean()
    assert found["distilled"]["gain"] == pytest.approx(gain, abs=1e-6)
    low, high = found["distilled"]["gain_interval"]
    assert low <= gain <= high


def test_another_seed_has_a_student_of_its_own(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in ("0", "1"):
        run(control, seed)
    weights = [(seeded / f"data/control-{seed}/model.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]
    assert contents(seeded / "data/.training") == {}


def test_the_folder_is_an_ordinary_model_and_gives_the_cached_logits(
    seeded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control, "0")
    model = AutoModelForSequenceClassification.from_pretrained(seeded / "data/control-0")
    tokenizer = AutoTokenizer.from_pretrained(seeded / "data/control-0")
    cached = load_file(seeded / "data/logits/control-0.safetensors")["test"]
    rows = corpus.load(seeded / "data/clinc", "test")
    found = model(**tokenizer(rows[3].text, return_tensors="pt")).logits[0].detach().numpy()
    np.testing.assert_allclose(cached[3], found, atol=1e-5)


def test_without_the_teachers_logits_it_says_what_to_run(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (seeded / "data/logits/teacher.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"teacher.safetensors not found; run `dvc repro finetune-teacher`"):
        run(control, "0")
