"""finetune-teacher: a complete model folder and its logits, the same bytes every time, also after an interruption."""

import csv
import json
import shutil
from pathlib import Path

import interruption
import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from made import LABELS, answers_one_by_one, figures, logits_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.models import encoder
from intents.training import trainer
from stages import fetch_clinc, finetune_teacher

OUTPUTS = ("models/teacher", "data/logits", "reports/models", "reports/training")


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


def of_the_teacher(built_once: Path) -> dict[str, dict[str, str]]:
    """What the stage once wrote in the tiny project."""
    found = outputs(built_once)
    files = {"data/logits": "teacher.safetensors", "reports/models": "teacher.json", "reports/training": "teacher.csv"}
    return found | {name: {file: found[name][file]} for name, file in files.items()}


def epochs() -> list[dict[str, str]]:
    with Path("reports/training/teacher.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def fetched(project: Path) -> Path:
    run(fetch_clinc)
    return project


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_weighted_cross_entropy_is_the_weighted_mean_of_negative_log_likelihoods(weight: float) -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(12, 5)), draw.integers(5, size=12)
    labels[:3] = 4
    likelihoods = np.exp(logits)[np.arange(12), labels] / np.exp(logits).sum(axis=1)
    weights = np.where(labels == 4, weight, 1.0)
    expected = -(weights * np.log(likelihoods)).sum() / weights.sum()
    outputs = {"logits": torch.tensor(logits)}
    found = finetune_teacher.weighted_cross_entropy(outputs, torch.tensor(labels), weight=weight, num_items_in_batch=3)
    assert found.item() == pytest.approx(expected)


@pytest.mark.usefixtures("reading")
def test_the_model_folder_is_complete() -> None:
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(contents(Path("models/teacher"))) == names
    config = AutoModelForSequenceClassification.from_pretrained("models/teacher").config
    assert config.id2label == {0: "alarm", 1: "music", 2: "weather", 3: "oos"}
    assert config.num_hidden_layers == 4


@pytest.mark.usefixtures("reading")
def test_cached_logits_are_what_the_saved_model_gives() -> None:
    model = AutoModelForSequenceClassification.from_pretrained("models/teacher").eval()
    cached = logits_of("teacher")
    assert set(cached) == {"train", "validation", "test"}  # students learn from those of train
    for split, logits in cached.items():
        found = answers_one_by_one(model, Path("models/teacher"), split)
        np.testing.assert_allclose(logits, found, atol=1e-4)
        assert logits.dtype == np.float32


@pytest.mark.usefixtures("reading")
def test_the_figure_is_the_accuracy_of_the_validation_logits_by_arg_max() -> None:
    right = logits_of("teacher")["validation"].argmax(axis=1) == LABELS
    assert figures("teacher") == {"validation": {"accuracy": pytest.approx(right.mean(), abs=1e-6)}}
    assert right.mean() > 0.5  # it has learnt something, so the other tests are about a real model


@pytest.mark.usefixtures("reading")
def test_history_has_a_row_per_epoch_and_nothing_of_the_clock() -> None:
    rows = epochs()
    assert list(rows[0]) == ["epoch", "loss", "learning_rate", "eval_loss", "eval_accuracy"]
    assert [float(row["epoch"]) for row in rows] == list(range(1, 9))


@pytest.mark.usefixtures("reading")
def test_the_kept_weights_are_those_of_the_best_epoch() -> None:
    best = max(float(row["eval_accuracy"]) for row in epochs())
    assert figures("teacher")["validation"]["accuracy"] == pytest.approx(best, abs=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_leaves_no_scratch(fetched: Path, built_once: Path) -> None:
    run(finetune_teacher)
    assert outputs(fetched) == of_the_teacher(built_once)
    assert contents(fetched / "data/.training") == {}


def test_another_seed_gives_another_model(fetched: Path, built_once: Path, overrides: list[str]) -> None:
    compose(*overrides, "run.seed=1")
    run(finetune_teacher)
    weights = "models/teacher/model.safetensors"
    assert (fetched / weights).read_bytes() != (built_once / weights).read_bytes()


def test_an_interrupted_run_goes_on_where_it_was_and_ends_with_the_same_bytes(
    fetched: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with interruption.in_epoch(3), pytest.raises(KeyboardInterrupt):
        run(finetune_teacher)
    assert not any(outputs(fetched).values())  # nothing half-written
    evaluated = []
    monkeypatch.setattr(
        trainer, "accuracy", lambda prediction, original=trainer.accuracy: evaluated.append(1) or original(prediction)
    )
    with caplog.at_level("INFO"):
        run(finetune_teacher)
    assert len(evaluated) == 8 - 2
    assert any(message.startswith("resuming from data/.training/teacher-") for message in caplog.messages)
    assert outputs(fetched) == of_the_teacher(built_once)
    assert contents(fetched / "data/.training") == {}


@pytest.mark.usefixtures("project")
def test_without_data_it_says_what_to_run() -> None:
    with pytest.raises(PipelineError, match=r"data/clinc/intents.json not found; run `dvc repro fetch-clinc`"):
        run(finetune_teacher)


# What is refused, before anything is written.


@pytest.fixture
def trained_before(fetched: Path, built_once: Path) -> Path:
    """A project with the teacher of an earlier run."""
    shutil.copytree(built_once / "models/teacher", fetched / "models/teacher")
    for name, files in of_the_teacher(built_once).items():
        for file in files:
            (fetched / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(built_once / name / file, fetched / name / file)
    return fetched


def test_a_checkpoint_with_another_digest_is_refused(
    trained_before: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    before = outputs(trained_before)
    assert all(before.values())
    compose(*overrides, "teacher.sha256=abc")
    with pytest.raises(PipelineError, match=f"{tiny_checkpoint}/model.safetensors has sha256 .*, expected abc"):
        run(finetune_teacher)
    assert outputs(trained_before) == before


def test_a_checkpoint_without_safetensors_is_refused(
    fetched: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    shutil.copytree(tiny_checkpoint, fetched / "pickled")
    (fetched / "pickled/model.safetensors").rename(fetched / "pickled/pytorch_model.bin")
    compose(*overrides, "teacher.checkpoint=./pickled")
    with pytest.raises(PipelineError, match=r"checkpoint folder pickled has no model\.safetensors"):
        run(finetune_teacher)
    assert not any(outputs(fetched).values())


def test_a_gpu_that_is_not_there_is_refused(
    fetched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    compose(*overrides, "run.device=cuda")
    with pytest.raises(PipelineError, match=r"`run.device` is cuda, but torch finds no GPU; allowed here: auto, cpu"):
        run(finetune_teacher)
    assert not any(outputs(fetched).values())


def test_queries_are_cut_at_max_length(fetched: Path, overrides: list[str]) -> None:
    compose(*overrides, "teacher.epochs=1", "teacher.max_length=8")
    run(finetune_teacher)
    tokenizer = AutoTokenizer.from_pretrained(fetched / "models/teacher")
    assert len(tokenizer("one two three four five six seven eight", truncation=True)["input_ids"]) == 8
    assert json.loads((fetched / "models/teacher/tokenizer.json").read_text())["truncation"]["max_length"] == 8
    assert encoder.load_classifier(fetched / "models/teacher").config.num_labels == 4
