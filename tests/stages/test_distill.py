"""distill: the student starts from layers of the teacher or from a checkpoint, and learns from cached logits."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_numpy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.training import student as students
from intents.training import trainer
from intents.training.distillation import DistillationTrainer
from stages import distill

OUTPUTS = ("data/student", "data/logits", "reports/quality", "reports/training")


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


def initial(built: Path, **student: object) -> torch.nn.Module:
    given = {"layers": None, "checkpoint": None, "revision": None, "sha256": None} | student
    intents = corpus.load_intents(built / "data/clinc")
    return students.initial(students.Student(**given), built / "data/teacher", intents)[0]


def test_the_student_starts_with_the_chosen_layers_and_all_else_of_the_teacher(built: Path) -> None:
    teacher = load_file(built / "data/teacher/model.safetensors")
    student = initial(built, layers=[1, 3]).state_dict()
    renamed = {name.replace("layer.1.", "layer.3.").replace("layer.0.", "layer.1."): name for name in student}
    assert set(renamed) == {name for name in teacher if "layer.0." not in name and "layer.2." not in name}
    for theirs, ours in renamed.items():
        np.testing.assert_array_equal(student[ours].numpy(), teacher[theirs])


def test_a_student_from_a_checkpoint_has_its_layers_and_a_head_for_our_intents(
    built: Path, tiny_checkpoint: Path
) -> None:
    model = initial(built, checkpoint=str(tiny_checkpoint))
    weights = load_file(tiny_checkpoint / "model.safetensors")
    for name, tensor in model.base_model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])
    assert model.classifier.weight.shape == (4, 32)


def test_a_student_from_a_checkpoint_cuts_queries_where_the_teacher_does(
    built: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built / "data/teacher"
    AutoTokenizer.from_pretrained(folder, model_max_length=9).save_pretrained(folder)
    compose(*overrides, "student.layers=null", f"student.checkpoint={tiny_checkpoint}", "distill.epochs=1")
    run(distill)
    assert json.loads((built / "data/student/config.json").read_text())["num_hidden_layers"] == 4
    assert json.loads((built / "data/student/tokenizer.json").read_text())["truncation"]["max_length"] == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["student.layers=null"], r"one of `student.layers` and `student.checkpoint` must be given"),
        (["student.checkpoint=./data/teacher"], r"one of `student.layers` and `student.checkpoint` must be given"),
        (["student.layers=[1,4]"], r"`student.layers` names layer 4, but the teacher has 4: allowed are 0 to 3"),
        (["student.layers=[-1]"], r"`student.layers` names layer -1"),
        (["student.layers=[3,1]"], r"`student.layers` is \[3, 1\]; allowed: .* in increasing order"),
        (["student.layers=[1,1]"], r"`student.layers` is \[1, 1\]; allowed: .* each once"),
        (["student.layers=[]"], r"`student.layers` is \[\]; allowed: one or more"),
        (["student.layers=null", "student.checkpoint=./nowhere"], r"checkpoint folder './nowhere' does not exist"),
        (["student.layers=null", "student.checkpoint=a/b"], r"'a/b' is no folder here, .* a revision must be given"),
        (["student.layers=null", "student.checkpoint=./data/teacher", "student.sha256=abc"], "expected abc"),
    ],
)
def test_after_a_wrong_student_everything_is_as_before(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, change: list[str], message: str
) -> None:
    before = outputs(built)
    compose(*overrides, *change)
    with pytest.raises(PipelineError, match=message):
        run(distill)
    assert outputs(built) == before


def test_without_the_teachers_logits_it_says_what_to_run(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (built / "data/logits/teacher.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"teacher.safetensors not found; run `dvc repro finetune-teacher`"):
        run(distill)


def test_cached_logits_are_what_the_saved_student_gives(built: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(built / "data/student")
    tokenizer = AutoTokenizer.from_pretrained(built / "data/student")
    cached = load_file(built / "data/logits/student.safetensors")
    assert set(cached) == {"validation", "test"}
    for split, logits in cached.items():
        texts = [row.text for row in corpus.load(built / "data/clinc", split)]
        with torch.inference_mode():
            for text, row in zip(texts, logits, strict=True):
                found = model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
                np.testing.assert_allclose(row, found, atol=1e-5)


def test_figures_are_those_of_the_logits_and_of_the_smaller_model(built: Path) -> None:
    figures = json.loads((built / "reports/quality/student.json").read_text())["student"]
    answers = load_file(built / "data/logits/student.safetensors")["test"].argmax(axis=1)
    assert figures["accuracy"] == pytest.approx((answers == np.repeat([0, 1, 3, 2], 10)).mean())
    tensors = load_file(built / "data/student/model.safetensors")
    assert figures["parameters"] == sum(tensor.size for tensor in tensors.values())
    assert figures["size_mb"] < json.loads((built / "reports/quality/teacher.json").read_text())["teacher"]["size_mb"]


def test_the_student_learns_what_the_cached_logits_say_not_the_labels(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With alpha 0 and logits that always say "music", the student says so too."""
    logits = load_file(built / "data/logits/teacher.safetensors")
    logits["train"] = np.tile(np.float32([0, 10, 0, 0]), (len(logits["train"]), 1))
    save_numpy(logits, built / "data/logits/teacher.safetensors")
    # The Trainer keeps the epoch that is best on validation, where "music" is wrong: so one epoch.
    compose(*overrides, "distill.alpha=0.0", "distill.epochs=1", "distill.learning_rate=0.02")
    run(distill)
    assert set(load_file(built / "data/logits/student.safetensors")["test"].argmax(axis=1)) == {1}


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.2, 4.0), (0.7, 2.5), (1.0, 4.0)])
def test_the_loss_is_that_of_the_formula(alpha: float, temperature: float) -> None:
    """L = alpha · CE(labels) + (1 − alpha) · T² · Σ p log(p / q), with p the teacher's and q the student's, by T."""
    draw = np.random.default_rng(0)
    student, teacher = draw.normal(size=(5, 4)), 3 * draw.normal(size=(5, 4))
    labels = draw.integers(4, size=5)

    def softmax(logits: np.ndarray) -> np.ndarray:
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    hard = -np.log(softmax(student)[np.arange(5), labels]).mean()
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = alpha * hard + (1 - alpha) * temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()

    def model(labels: torch.Tensor) -> SimpleNamespace:
        logits = torch.from_numpy(student)
        return SimpleNamespace(loss=torch.nn.functional.cross_entropy(logits, labels), logits=logits)

    trainer = DistillationTrainer.__new__(DistillationTrainer)
    trainer.args = SimpleNamespace(alpha=alpha, temperature=temperature)  # type: ignore[assignment]
    inputs = {"labels": torch.from_numpy(labels), "teacher_logits": torch.from_numpy(teacher)}
    assert float(trainer.compute_loss(model, inputs)) == pytest.approx(expected)  # type: ignore[arg-type]
    without = {"labels": torch.from_numpy(labels)}  # as validation has it
    assert float(trainer.compute_loss(model, without)) == pytest.approx(hard)  # type: ignore[arg-type]


def test_a_run_from_another_checkpoint_does_not_resume_this_ones(
    built: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def train(*_: object, scratch: Path, **__: object) -> None:
        found.append(scratch)
        raise KeyboardInterrupt

    shutil.copytree(tiny_checkpoint, built / "own")
    compose(*overrides, "student.layers=null", "student.checkpoint=./own")
    monkeypatch.setattr(training, "train", train)
    for change in (0, 1):
        tensors = load_file(built / "own/model.safetensors")
        tensors["pooler.dense.bias"] += change
        save_numpy(tensors, built / "own/model.safetensors", metadata={"format": "pt"})
        with pytest.raises(KeyboardInterrupt):
            run(distill)
    assert found[0] != found[1]


def test_the_same_seed_gives_the_same_bytes_also_after_an_interruption(
    built: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    count = iter((1, 2))

    def accuracy(prediction: object, original: object = trainer.accuracy) -> dict[str, float]:
        if next(count) == 2:
            raise KeyboardInterrupt
        return original(prediction)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(training, "accuracy", accuracy)
        with pytest.raises(KeyboardInterrupt):
            run(distill)
    with caplog.at_level("INFO"):
        run(distill)
    assert any(message.startswith("resuming from data/.training/student-") for message in caplog.messages)
    assert outputs(built) == outputs(built_once)
    assert contents(built / "data/.training") == {}
