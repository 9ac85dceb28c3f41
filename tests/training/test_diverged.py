"""A training that diverges ends there, in a line that has the settings; nothing of it is written."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.core.settings import parse
from intents.data import corpus, logits
from intents.data.corpus import Corpus, Intents, Row
from intents.models import checkpoints, folder
from intents.models.folder import Made
from intents.training import distillation, together, trainer
from intents.training.distillation import Distillation, distil
from intents.training.encoding import encode
from intents.training.trainer import Run, Schedule

ROWS = [Row("wake me", "alarm"), Row("ring at seven", "alarm"), Row("play", "music"), Row("tax", "oos")]
INTENTS = Intents.of({"daily": ["alarm", "music"]})
SCHEDULE = {"epochs": 2, "batch_size": 2, "learning_rate": 0.001, "warmup": 0.0, "weight_decay": 0.0}
RUN = parse(Run, {"seed": 0, "device": "cpu", "precision": "fp32"}, "run")
NOWHERE = [np.nan, np.inf, -np.inf]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.chdir(tmp_path)
    corpus.save(tmp_path / "data/clinc", dict.fromkeys(corpus.SPLITS, ROWS), INTENTS)
    return Corpus()


@pytest.fixture
def tokenizer(tiny_checkpoint: Path) -> PreTrainedTokenizerFast:
    return checkpoints.load_tokenizer(tiny_checkpoint, 16)


@pytest.fixture
def model(tiny_checkpoint: Path) -> PreTrainedModel:
    return checkpoints.load_classifier(tiny_checkpoint, INTENTS)


@pytest.fixture
def train(data: Corpus, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Callable:
    """A training of two epochs on those rows, to be called."""
    rows = {split: encode(data, split, tokenizer) for split in ("train", "validation")}
    schedule = parse(Schedule, SCHEDULE, "teacher")
    return partial(trainer.train, model, tokenizer, **rows, schedule=schedule, run=RUN, scratch=tmp_path / "run")


@pytest.mark.parametrize("value", NOWHERE)
def test_a_loss_that_is_not_finite_ends_the_training_with_the_learning_rate(train: Callable, value: float) -> None:
    def loss(outputs: dict[str, torch.Tensor], *_: object, **__: object) -> torch.Tensor:
        return outputs["logits"].sum() * value

    with pytest.raises(PipelineError, match=r"diverged: the loss is (nan|-?inf) in step 1\. .*`learning_rate` 0\.001"):
        train(loss=loss)


def test_so_does_a_loss_that_is_not_finite_in_another_process(train: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "mean", lambda loss: loss * np.inf)  # over the processes
    with pytest.raises(PipelineError, match=r"diverged: the loss is inf in step 1\."):
        train()


def test_so_does_a_distillation_and_names_its_temperature(
    data: Corpus, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    lesson = parse(Distillation, SCHEDULE | {"answers": "", "alpha": 0.5, "temperature": 1e-42}, "distill")
    with pytest.raises(PipelineError, match=r"diverged: the loss is nan in step 1\. .*`temperature` 1e-42") as error:
        distil(model, tokenizer, data, np.ones((4, 3), np.float32), lesson, RUN, tmp_path / "run")
    assert len(str(error.value)) <= 400


def test_weights_that_break_in_the_last_step_are_found_on_validation(
    train: Callable, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trainer.FiniteTrainer.evaluate

    def evaluate(self: trainer.FiniteTrainer, *inputs: object, **more: object) -> dict[str, float]:
        with torch.no_grad():
            model.classifier.weight.fill_(np.nan)
        return original(self, *inputs, **more)

    monkeypatch.setattr(trainer.FiniteTrainer, "evaluate", evaluate)
    with pytest.raises(PipelineError, match=r"diverged: the loss on validation is nan"):
        train()


def test_every_training_goes_by_that_trainer() -> None:
    assert issubclass(distillation.DistillationTrainer, trainer.FiniteTrainer)


@pytest.mark.parametrize("value", NOWHERE)
def test_logits_that_are_not_finite_are_not_published(data: Corpus, tmp_path: Path, value: float) -> None:
    answers = {split: np.zeros((4, 3), np.float32) for split in corpus.JUDGED}
    folder.publish("half", data, lambda _: Made(answers))
    before = contents(tmp_path)
    answers["test"][1, 2] = value
    with pytest.raises(PipelineError, match=r"the logits of half are not finite for 1 of 4 queries of test.*learning_"):
        folder.publish("half", data, lambda _: Made(answers))
    assert contents(tmp_path) == before


def test_nor_are_they_saved_or_read(data: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"train": np.float32([[0, np.nan]])}
    with pytest.raises(PipelineError, match="the logits of half are not finite"):
        logits.save("half", broken)
    monkeypatch.setattr(logits, "check", lambda *_: None)
    logits.save("half", broken)
    with pytest.raises(
        PipelineError, match=r"half.safetensors has logits of train .* not finite; `dvc repro distill@h"
    ):
        logits.load("half")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_of_logits_names_the_stage_that_makes_it(data: Corpus, tmp_path: Path, share: float) -> None:
    logits.save("half-movement", {"train": np.zeros((4, 3))})
    path = tmp_path / "data/logits/half-movement.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PipelineError, match=r"half-movement.safetensors is damaged: .*; `dvc repro prune@movement` ma"):
        logits.load("half-movement")
