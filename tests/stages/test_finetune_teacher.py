"""finetune-teacher: a complete model folder and its logits, the same bytes every time, also after an interruption."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.evaluation import threshold
from intents.training import trainer
from stages import fetch_clinc, finetune_teacher

OUTPUTS = ("data/teacher", "data/logits", "reports/quality", "reports/training")


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


@pytest.fixture
def fetched(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    run(fetch_clinc)
    return project


def interrupt_at(evaluation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the model is evaluated after epoch `evaluation`, so before that epoch's checkpoint."""
    count = iter(range(1, evaluation + 1))

    def accuracy(prediction: object, original: object = trainer.accuracy) -> dict[str, float]:
        if next(count) == evaluation:
            raise KeyboardInterrupt
        return original(prediction)

    monkeypatch.setattr(training, "accuracy", accuracy)


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


def test_the_model_folder_is_complete(built: Path) -> None:
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "classifier.json"}
    assert set(contents(built / "data/teacher")) == names
    config = json.loads((built / "data/teacher/config.json").read_text())
    assert config["id2label"] == {"0": "alarm", "1": "music", "2": "weather", "3": "oos"}
    assert config["num_hidden_layers"] == 4


def test_the_rule_is_calibrated_on_validation(built: Path) -> None:
    rule = json.loads((built / "data/teacher/classifier.json").read_text())
    logits = load_file(built / "data/logits/teacher.safetensors")["validation"]
    intents = corpus.load_intents(built / "data/clinc")
    labels = corpus.labels(corpus.load(built / "data/clinc", "validation"), intents)
    assert rule["intents"] == intents.names
    assert rule["rate"] == 0.2
    assert rule["threshold"] == pytest.approx(threshold.calibrate(logits, labels, 0.2))


def test_cached_logits_are_what_the_saved_model_gives(built: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(built / "data/teacher")
    tokenizer = AutoTokenizer.from_pretrained(built / "data/teacher")
    cached = load_file(built / "data/logits/teacher.safetensors")
    assert set(cached) == {"train", "validation", "test"}
    for split, logits in cached.items():
        texts = [row.text for row in corpus.load(built / "data/clinc", split)]
        with torch.inference_mode():
            for text, row in zip(texts, logits, strict=True):
                found = model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
                np.testing.assert_allclose(row, found, atol=1e-5)


def test_figures_are_those_of_the_logits(built: Path) -> None:
    figures = json.loads((built / "reports/quality/teacher.json").read_text())["teacher"]
    labels = np.repeat([0, 1, 3, 2], 10)  # canonical order: alarm, music, oos, weather
    answers = load_file(built / "data/logits/teacher.safetensors")["test"].argmax(axis=1)
    right = answers == labels
    assert figures["accuracy"] == pytest.approx(right.mean())
    assert figures["in_scope_accuracy"] == pytest.approx(right[labels != 3].mean(), abs=1e-6)
    assert figures["oos_recall"] == pytest.approx(right[labels == 3].mean())
    assert figures["size_mb"] == pytest.approx((built / "data/teacher/model.safetensors").stat().st_size / 2**20)
    tensors = load_file(built / "data/teacher/model.safetensors")
    assert figures["parameters"] == sum(tensor.size for tensor in tensors.values())
    assert figures["accuracy"] > 0.5  # it has learnt something, so the other tests are about a real model


def test_history_has_a_row_per_epoch_and_nothing_of_the_clock(built: Path) -> None:
    with (built / "reports/training/teacher.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "learning_rate", "eval_loss", "eval_accuracy"]
    assert [float(row["epoch"]) for row in rows] == list(range(1, 9))


def test_the_kept_weights_are_those_of_the_best_epoch(built: Path) -> None:
    with (built / "reports/training/teacher.csv").open() as file:
        best = max(float(row["eval_accuracy"]) for row in csv.DictReader(file))
    figures = json.loads((built / "reports/quality/teacher.json").read_text())["teacher"]
    assert figures["validation"]["accuracy"] == pytest.approx(best, abs=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_leaves_no_scratch(
    fetched: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(finetune_teacher)
    for name, files in outputs(fetched).items():
        expected = contents(built_once / name)
        assert files == {file: expected[file] for file in files}
        assert files
    assert contents(fetched / "data/.training") == {}


def test_another_seed_gives_another_model(
    fetched: Path, built_once: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*overrides, "run.seed=1")
    run(finetune_teacher)
    weights = "data/teacher/model.safetensors"
    assert (fetched / weights).read_bytes() != (built_once / weights).read_bytes()


def test_an_interrupted_run_goes_on_where_it_was_and_ends_with_the_same_bytes(
    fetched: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as first:
        interrupt_at(3, first)
        with pytest.raises(KeyboardInterrupt):
            run(finetune_teacher, first)
    assert not any(outputs(fetched).values())  # nothing half-written
    epochs = []
    monkeypatch.setattr(
        training, "accuracy", lambda prediction, original=trainer.accuracy: epochs.append(1) or original(prediction)
    )
    with caplog.at_level("INFO"):
        run(finetune_teacher)
    assert len(epochs) == 8 - 2
    assert any(message.startswith("resuming from data/.training/teacher-") for message in caplog.messages)
    for name, files in outputs(fetched).items():
        expected = contents(built_once / name)
        assert files == {file: expected[file] for file in files}
    assert contents(fetched / "data/.training") == {}


def scratch_of_a_run(stage: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stage would look for checkpoints to resume, without training."""
    found = []

    def train(*_: object, scratch: Path, **__: object) -> None:
        found.append(scratch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "train", train)
        with pytest.raises(KeyboardInterrupt):
            run(stage, patched)
    return found[0]


@pytest.mark.parametrize(
    "change",
    [
        "teacher.learning_rate=0.004",
        "teacher.epochs=9",
        "teacher.max_length=63",
        "teacher.out_of_scope_weight=2.0",
        "run.seed=1",
        "run.precision=fp32",
    ],
)
@pytest.mark.usefixtures("fetched")
def test_a_run_with_another_setting_does_not_resume_this_ones_checkpoints(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = scratch_of_a_run(finetune_teacher, monkeypatch)
    assert scratch_of_a_run(finetune_teacher, monkeypatch) == before
    compose(*overrides, change)
    assert scratch_of_a_run(finetune_teacher, monkeypatch) != before


@pytest.mark.parametrize("split", ["train", "validation"])  # the best epoch is chosen on validation
def test_a_run_on_other_data_does_not_resume_this_ones_checkpoints(
    fetched: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    before = scratch_of_a_run(finetune_teacher, monkeypatch)
    path = fetched / f"data/clinc/{split}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert scratch_of_a_run(finetune_teacher, monkeypatch) != before


def test_a_run_from_another_checkpoint_does_not_resume_this_ones(
    fetched: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_checkpoint, fetched / "own")
    compose(*overrides, "teacher.checkpoint=./own")
    before = scratch_of_a_run(finetune_teacher, monkeypatch)
    tensors = load_file(fetched / "own/model.safetensors")
    tensors["pooler.dense.bias"] += 1
    save_file(tensors, fetched / "own/model.safetensors", metadata={"format": "pt"})
    assert scratch_of_a_run(finetune_teacher, monkeypatch) != before


@pytest.mark.usefixtures("project")
def test_without_data_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match=r"data/clinc/intents.json not found; run `dvc repro fetch-clinc`"):
        run(finetune_teacher)


def test_a_checkpoint_with_another_digest_is_refused(
    built: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outputs(built)
    compose(*overrides, "teacher.sha256=abc")
    with pytest.raises(PipelineError, match=f"{tiny_checkpoint}/model.safetensors has sha256 .*, expected abc"):
        run(finetune_teacher)
    assert outputs(built) == before


def test_a_checkpoint_without_safetensors_is_refused(
    fetched: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
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


def test_queries_are_cut_at_max_length(fetched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compose(*overrides, "teacher.epochs=1", "teacher.max_length=8")
    run(finetune_teacher)
    tokenizer = AutoTokenizer.from_pretrained(fetched / "data/teacher")
    assert len(tokenizer("one two three four five six seven eight", truncation=True)["input_ids"]) == 8
    assert json.loads((fetched / "data/teacher/tokenizer.json").read_text())["truncation"]["max_length"] == 8
