"""distillation: the loss is that of the formula, and every training run gets the settings that it is of."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from intents.core.errors import PipelineError
from intents.core.settings import parse
from intents.training import distillation, trainer
from intents.training.distillation import Distillation, DistillationTrainer, distil, distillation_loss

SCHEDULE = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "warmup": 0.1, "weight_decay": 0.0} | {
    "answers": "data/logits/teacher.safetensors"
}


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.2, 4.0), (0.7, 2.5), (1.0, 4.0)])
def test_the_loss_is_that_of_the_formula(alpha: float, temperature: float) -> None:
    """L = alpha · CE(labels) + (1 − alpha) · T² · Σ p log(p / q), with p the teacher's and q the student's, by T."""
    draw = np.random.default_rng(0)
    student, teacher = draw.normal(size=(5, 4)), 3 * draw.normal(size=(5, 4))
    labels = draw.integers(4, size=5)
    hard = -np.log(softmax(student)[np.arange(5), labels]).mean()
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = alpha * hard + (1 - alpha) * temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()

    def model(labels: torch.Tensor) -> SimpleNamespace:
        logits = torch.from_numpy(student)
        return SimpleNamespace(loss=torch.nn.functional.cross_entropy(logits, labels), logits=logits)

    engine = DistillationTrainer.__new__(DistillationTrainer)
    engine.alpha, engine.temperature, engine.logits_alone, engine.emphasis = alpha, temperature, False, 0.0
    inputs = {"labels": torch.from_numpy(labels), "teacher_logits": torch.from_numpy(teacher)}
    assert float(engine.compute_loss(model, inputs)) == pytest.approx(expected)  # type: ignore[arg-type]
    without = {"labels": torch.from_numpy(labels)}  # as validation has it
    assert float(engine.compute_loss(model, without)) == pytest.approx(hard)  # type: ignore[arg-type]


def test_equal_answers_cost_nothing_and_a_shift_of_all_logits_changes_nothing() -> None:
    teacher = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(distillation_loss(teacher, teacher, 4.0)) == pytest.approx(0, abs=1e-12)
    assert float(distillation_loss(teacher + 3, teacher, 4.0)) == pytest.approx(0, abs=1e-12)
    assert float(distillation_loss(2 * teacher, teacher, 4.0)) > 0.01


def test_at_a_high_temperature_the_gradient_is_the_difference_of_the_logits() -> None:
    """Hinton et al. (2015), section 2.1: with logits of mean 0 over N labels, T² times theirs becomes (z − v) / N."""
    draw = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(1, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    teacher, student = teacher - teacher.mean(), (student - student.mean()).requires_grad_()
    distillation_loss(student, teacher, 1e4).backward()
    torch.testing.assert_close(student.grad, ((student - teacher) / 4).detach(), rtol=1e-3, atol=1e-6)


def test_a_run_is_of_the_alpha_the_temperature_and_the_schedule_of_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: dict[str, Any] = {}

    def train(*data: object, **options: Any) -> trainer.Log:
        found.update(options, data=data)
        return [{"epoch": 1.0}]

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(distillation, "encode", lambda _data, split, _tokenizer, *logits: (split, *logits))
    monkeypatch.setattr(DistillationTrainer, "__init__", lambda _, **given: found.update(engine=given))
    settings = parse(Distillation, SCHEDULE | {"alpha": 0.3, "temperature": 2.5}, "distill")
    log = distil("model", "words", "data", "logits", settings, "run", tmp_path, callbacks=["mine"])  # type: ignore[arg-type]
    assert log == [{"epoch": 1.0}]
    assert found["data"] == ("model", "words", ("train", "logits"), ("validation",))
    assert (found["schedule"], found["run"], found["scratch"]) == (settings, "run", tmp_path)
    assert found["callbacks"] == ["mine"]
    found["engine"](model="model")
    assert found["engine"] == {
        "model": "model",
        "alpha": 0.3,
        "temperature": 2.5,
        "logits_alone": False,
        "emphasis": 0.0,
    }


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("alpha", -0.1, "a number from 0 to 1"),
        ("alpha", 1.1, "a number from 0 to 1"),
        ("temperature", 0, "a number above 0 to 1000"),
        ("epochs", 0, "a whole number, 1 or more"),
        ("batch_size", 0, "a whole number, 1 or more"),
        ("learning_rate", 0, "a number above 0 to 1"),
        ("warmup", 1, "a number from 0 to below 1"),
        ("weight_decay", -1, "a number from 0 to 10"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(key: str, value: float, allowed: str) -> None:
    message = rf"^`distill.{key}` is {re.escape(str(value))}(\.0)?; allowed: {allowed}$"
    with pytest.raises(PipelineError, match=message):
        parse(Distillation, SCHEDULE | {"alpha": 0.3, "temperature": 2.5, key: value}, "distill")
