"""The model as a product runs it, on graphs made by hand: what they are given, and what becomes of their logits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import lookup
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from intents.core.errors import PipelineError
from intents.serving.classifier import Answer, Classifier, OnnxModel
from intents.serving.rule import Rule

INTENTS = ["alarm", "music", "oos"]
WORDS = ["[PAD]", "wake", "song", "volcano", "please"]
# The logits that each word adds; those of padding would be seen.
TABLE = np.array([[9, 9, 9], [3, 0, 0], [0, 2, 0], [0, 0, 4], [0.25, 0.5, 0]], np.float32)
TEXTS = ["wake", "please song please", "volcano", "please wake please please", "song"]
LOGITS = [[3, 0, 0], [0.5, 3, 0], [0, 0, 4], [3.75, 1.5, 0], [0, 2, 0]]
KINDS = {"int32": onnx.TensorProto.INT32, "int64": onnx.TensorProto.INT64}


def folder(path: Path, kind: str = "int64", masked: bool = True) -> Path:
    lookup(path / "model.onnx", TABLE, masked=masked, kind=KINDS[kind])
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_graph_is_given_the_integers_it_takes_and_a_mask_if_it_has_one(
    tmp_path: Path, kind: str, masked: bool
) -> None:
    model = OnnxModel(folder(tmp_path, kind, masked))
    given = model.inputs("please song")
    assert list(given) == ["input_ids", "attention_mask"][: 1 + masked]
    assert {array.dtype.name for array in given.values()} == {kind}
    assert given["input_ids"].tolist() == [[4, 2]]
    assert [model.logits(text).tolist() for text in TEXTS] == LOGITS


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_padded_batch_gives_each_query_its_own_logits_in_its_place(tmp_path: Path, kind: str, masked: bool) -> None:
    model = OnnxModel(folder(tmp_path, kind, masked))
    np.testing.assert_array_equal(model.logits_padded(TEXTS), LOGITS)
    np.testing.assert_array_equal(model.logits_padded(TEXTS[:1]), LOGITS[:1])


def test_what_becomes_of_the_folder_does_not_matter_once_it_is_loaded(tmp_path: Path) -> None:
    model = OnnxModel(folder(tmp_path))
    (tmp_path / "model.onnx").unlink()
    np.testing.assert_array_equal(model.logits_by_length(TEXTS), LOGITS)


def classifier(path: Path, threshold: float) -> Classifier:
    return Classifier(OnnxModel(folder(path)), Rule(INTENTS, threshold, 0.2))


def test_an_answer_is_the_likeliest_intent_its_probability_the_scope_and_the_score(tmp_path: Path) -> None:
    answer = classifier(tmp_path, -10)
    odds = np.exp([3.0, 0.0, 0.0])
    score = pytest.approx(np.log(odds[:2].sum()))
    assert answer("wake") == Answer("alarm", pytest.approx(odds[0] / odds.sum()), False, score)
    odds = np.exp([0.5, 3.0, 0.0])
    score = pytest.approx(np.log(odds[:2].sum()))
    assert answer("please song please") == Answer("music", pytest.approx(odds[1] / odds.sum()), False, score)


def test_the_temperature_changes_the_probability_alone(tmp_path: Path) -> None:
    model = OnnxModel(folder(tmp_path))
    cool, warm = (Classifier(model, Rule(INTENTS, 2.1, 0.2, value))("please song") for value in (1.0, 3.0))
    odds = np.exp(np.array([0.25, 2.5, 0.0]) / 3)
    assert warm.probability == pytest.approx(odds[1] / odds.sum())
    assert warm.probability < cool.probability
    assert (warm.intent, warm.out_of_scope, warm.score) == (cool.intent, cool.out_of_scope, cool.score)


@pytest.mark.parametrize("top", [1, 2, 9])
def test_the_likeliest_intents_are_named_in_their_order_and_out_of_scope_is_none(tmp_path: Path, top: int) -> None:
    found = classifier(tmp_path, -10)("volcano please song", top)
    odds = np.exp([0.25, 2.5, 4.0])
    expected = [("music", pytest.approx(odds[1] / odds.sum())), ("alarm", pytest.approx(odds[0] / odds.sum()))]
    assert list(found.alternatives) == expected[:top]


@pytest.mark.parametrize("masked", [True, False])
def test_a_batch_of_many_lengths_gives_each_query_the_answer_that_it_has_alone(tmp_path: Path, masked: bool) -> None:
    one = Classifier(OnnxModel(folder(tmp_path, masked=masked)), Rule(INTENTS, 2.2, 0.2))
    texts = [f"{text} {'please ' * (place % 5)}" for place, text in enumerate(TEXTS * 40)]
    assert one.batch(texts, 2) == [one(text, 2) for text in texts]
    assert one.batch([]) == []


def test_no_call_of_the_graph_holds_more_than_a_batch_or_queries_of_two_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OnnxModel(folder(tmp_path))
    run, shapes = model._run, []
    monkeypatch.setattr(model, "_run", lambda inputs: shapes.append(inputs["input_ids"].shape) or run(inputs))
    model.logits_by_length(["song"] * 70 + ["wake please"] * 3 + ["song"])
    assert shapes == [(32, 1), (32, 1), (7, 1), (3, 2)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_no_answer(tmp_path: Path, value: float) -> None:
    damaged = classifier(tmp_path, -10)
    with pytest.raises(PipelineError, match="not finite"):
        damaged._answer(np.array([0.0, 1.0, value]), 0)


def test_a_graph_of_other_inputs_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    graph = onnx.load(tmp_path / "model.onnx")
    text = graph.SerializeToString().replace(b"input_ids", b"token_ids")
    (tmp_path / "model.onnx").write_bytes(text)
    with pytest.raises(PipelineError, match=r"reads token_ids.* allowed: a graph that reads input_ids"):
        OnnxModel(tmp_path)


def test_out_of_scope_the_likeliest_intent_is_told_all_the_same(tmp_path: Path) -> None:
    """volcano by arg-max; a song by its score, log(e² + 1) = 2.13."""
    odds = np.exp([0.0, 0.0, 4.0])
    assert classifier(tmp_path, -10)("volcano")[:3] == ("alarm", pytest.approx(1 / odds.sum()), True)
    assert classifier(tmp_path, 2.1)("song")[:3:2] == ("music", False)
    assert classifier(tmp_path, 2.2)("song")[:3:2] == ("music", True)


def test_a_folder_that_deploy_wrote_is_loaded_with_its_rule(tmp_path: Path) -> None:
    Rule(INTENTS, 2.2, 0.2).save(folder(tmp_path))
    loaded = Classifier.load(tmp_path)
    assert loaded.rule.threshold == 2.2
    assert [loaded(text).out_of_scope for text in TEXTS] == [False, False, True, False, True]


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_do_not_depend_on_the_number_of_threads(tmp_path: Path, threads: int) -> None:
    model = OnnxModel(folder(tmp_path), threads)
    assert model._session.get_session_options().intra_op_num_threads == threads
    assert model.logits("please song please").tolist() == LOGITS[1]


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_without_one_of_its_files_a_model_says_what_to_run(tmp_path: Path, file: str) -> None:
    (folder(tmp_path) / file).unlink()
    with pytest.raises(PipelineError, match=f"{file} not found; run `make the model`"):
        OnnxModel(tmp_path, made_by="make the model")
