"""folder: every stage that makes a model ends alike, and a stage that fails leaves everything as it was."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from intents.data import corpus
from intents.data.corpus import Corpus, Intents, Row
from intents.models import checkpoints, folder
from intents.models.folder import Made

ROWS = [Row("wake me", "alarm"), Row("ring at seven in the morning", "alarm"), Row("play", "music"), Row("tax", "oos")]
RIGHT = np.float32([[2, 1, 0], [2, 1, 0], [0, 1, 0], [0, 0, 1]])  # logits of the validation split, all right
ANSWERS = {"validation": RIGHT, "test": RIGHT}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A small data set in the current folder."""
    monkeypatch.chdir(tmp_path)
    intents = Intents.of({"daily": ["alarm", "music"]})
    corpus.save(tmp_path / "data/clinc", dict.fromkeys(corpus.SPLITS, ROWS), intents)
    return Corpus()


@pytest.fixture
def model(tiny_checkpoint: Path, data: Corpus) -> PreTrainedModel:
    torch.manual_seed(0)
    return checkpoints.load_classifier(tiny_checkpoint, data.intents)


@pytest.fixture
def tokenizer(tiny_checkpoint: Path) -> PreTrainedTokenizerFast:
    return checkpoints.load_tokenizer(tiny_checkpoint, 16)


def writing(made: Made, name: str = "model.onnx") -> object:
    def make(target: Path) -> Made:
        (target / name).write_text("a model")
        return made

    return make


def test_model_logits_and_figures_are_written_and_nothing_else(data: Corpus, tmp_path: Path) -> None:
    before = contents(tmp_path)
    folder.publish("half-onnx", data, writing(Made(ANSWERS, {"operators": 3})))
    written = {"models/half-onnx/model.onnx", "data/logits/half-onnx.safetensors", "reports/models/half-onnx.json"}
    assert set(contents(tmp_path)) == before.keys() | written
    np.testing.assert_array_equal(load_file("data/logits/half-onnx.safetensors")["test"], RIGHT)


@pytest.mark.parametrize(("wrong", "accuracy"), [(0, 1.0), (1, 0.75), (3, 0.25)])
def test_the_accuracy_is_that_of_arg_max_on_validation(data: Corpus, wrong: int, accuracy: float) -> None:
    answers = RIGHT.copy()
    answers[:wrong] = [0, 0, 9]
    made = Made({"validation": answers, "test": np.zeros_like(RIGHT)}, {"share": 1 / 3, "nodes": {"a": 2 / 3}})
    folder.publish("half", data, writing(made))
    assert json.loads(Path("reports/models/half.json").read_text()) == {
        "half": {"validation": {"accuracy": accuracy}, "share": 0.333333, "nodes": {"a": 0.666667}}
    }


@pytest.mark.parametrize("first", [True, False], ids=["for the first time", "again"])
def test_if_making_fails_nothing_is_written(data: Corpus, tmp_path: Path, first: bool) -> None:
    if not first:
        folder.publish("half", data, writing(Made(ANSWERS)))
    before = contents(tmp_path)

    def make(target: Path) -> Made:
        (target / "model.onnx").write_text("half a model")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.publish("half", data, make)
    assert contents(tmp_path) == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == ([] if first else ["half"])


def test_a_model_made_anew_leaves_no_file_of_the_old_one(data: Corpus) -> None:
    for name in ("old.onnx", "new.onnx"):
        folder.publish("half", data, writing(Made(ANSWERS), name))
    assert set(contents(Path("models/half"))) == {"new.onnx"}


def test_a_trained_model_is_an_ordinary_folder_that_gives_the_logits(
    data: Corpus, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder.publish("half", data, folder.trained(model, tokenizer, data))
    logits = load_file("data/logits/half.safetensors")
    assert set(logits) == {"validation", "test"}
    read, words = (kind.from_pretrained("models/half") for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    for row, expected in zip(ROWS, logits["test"], strict=True):
        with torch.inference_mode():
            found = read(**words(row.text, return_tensors="pt")).logits[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_answers_is_what_was_saved(
    data: Corpus, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is damaged as it is saved gives the answers of the damaged one."""
    save = model.save_pretrained

    def damaged(target: Path) -> None:
        kept = model.classifier.weight.detach().clone(), model.classifier.bias.detach().clone()
        torch.nn.init.zeros_(model.classifier.weight)
        torch.nn.init.constant_(model.classifier.bias, 7.0)
        save(target)
        with torch.no_grad():
            model.classifier.weight.copy_(kept[0])
            model.classifier.bias.copy_(kept[1])

    monkeypatch.setattr(model, "save_pretrained", damaged)
    folder.publish("half", data, folder.trained(model, tokenizer, data))
    assert set(load_file("data/logits/half.safetensors")["validation"].ravel()) == {7.0}


def test_splits_and_facts_are_those_asked_for(
    data: Corpus, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    def facts(target: Path) -> dict[str, int]:
        return {"files": len(contents(target))}

    make = folder.trained(model, tokenizer, data, splits=corpus.SPLITS, facts=facts)
    folder.publish("teacher", data, make)
    assert set(load_file("data/logits/teacher.safetensors")) == set(corpus.SPLITS)
    found = json.loads(Path("reports/models/teacher.json").read_text())["teacher"]
    assert found["files"] == len(contents(Path("models/teacher"))) > 2


def test_a_tokenizer_is_saved_without_the_padding_of_earlier_calls_and_with_its_truncation(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer(["a", "a longer query"], padding=True, truncation=False)
    for step in ("saved", "copied"):
        if step == "saved":
            folder.save_tokenizer(tmp_path / step, tokenizer)
        else:
            folder.copy_tokenizer(tmp_path / "saved", tmp_path / step)
        content = json.loads((tmp_path / step / "tokenizer.json").read_text())
        assert content["padding"] is None
        assert content["truncation"]["max_length"] == 16
    assert contents(tmp_path / "saved") == contents(tmp_path / "copied")
