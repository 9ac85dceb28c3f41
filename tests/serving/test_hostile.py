"""Hostile queries, lines, arguments and folders: an answer or an error of one line each, and the right exit status."""

import io
import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run_tool
from serving.hostile import ARGUMENTS, FOLDERS, LINES, SURROGATE, TEXTS
from tokenizers import Tokenizer

from intents.core.errors import PipelineError, run_program, short
from intents.serving import __main__ as serving
from intents.serving import classifier as served
from intents.serving.classifier import Classifier, OnnxModel


@pytest.fixture(scope="module")
def classifier(built_once: Path) -> Classifier:
    return Classifier.load(built_once / "release")


@pytest.fixture
def reading(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(built_once)
    return built_once


def given(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_they_are_many() -> None:
    assert len(TEXTS) + len(LINES) + len(ARGUMENTS) + len(FOLDERS) >= 150


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_text_has_an_answer(classifier: Classifier, text: str) -> None:
    answer = classifier(text)
    assert answer.intent in classifier.rule.intents[:-1]
    assert 0 <= answer.probability <= 1
    assert np.isfinite(answer.score)


@pytest.mark.parametrize("name", ["half-onnx", "half-ort-static", "narrow-ort-static", "half-ort-dynamic"])
def test_together_they_have_the_answers_that_they_have_alone(
    classifier: Classifier, built_once: Path, name: str
) -> None:
    one = Classifier(OnnxModel(built_once / "models" / name), classifier.rule)
    texts = list(TEXTS.values())
    for ours, theirs in zip(one.batch(texts, 2), [one(text, 2) for text in texts], strict=True):
        assert (ours.intent, ours.out_of_scope) == (theirs.intent, theirs.out_of_scope)
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
        assert ours.alternatives[0] == (ours.intent, ours.probability)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(("content", "json_lines", "expected"), LINES.values(), ids=LINES.keys())
def test_every_line_has_an_answer_or_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    json_lines: bool,
    expected: int | str,
) -> None:
    given(content, monkeypatch)
    options = ["--jsonl"] if json_lines else []
    if isinstance(expected, str):
        with pytest.raises(PipelineError, match=f"^{expected}") as error:
            run_tool(serving, monkeypatch, *options)
        assert len(str(error.value)) < 400
        assert "\n" not in str(error.value)
    else:
        run_tool(serving, monkeypatch, *options)
        assert len(capsys.readouterr().out.splitlines()) == expected


@pytest.mark.usefixtures("reading")
def test_what_stands_before_a_bad_line_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(b'{"text": "play"}\n{"text": "wake"}\n{\n{"text": "song"}\n', monkeypatch)
    with pytest.raises(PipelineError, match="line 3 of standard input"):
        run_tool(serving, monkeypatch, "--jsonl")
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.usefixtures("reading")
def test_what_is_not_utf_8_is_noted_once_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(b"hello\nr\xe9server\nr\xe9server\n", monkeypatch)
    run_tool(serving, monkeypatch)
    noted = capsys.readouterr().err.splitlines()
    assert noted == ["note: line 2 of standard input is not UTF-8; it is read with \\ufffd for what is not"]


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_wrong_argument_ends_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tool(serving, monkeypatch, *arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 400


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("text", [SURROGATE, "r\udce9server", "", "\0"])
def test_an_argument_of_any_characters_has_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    run_tool(serving, monkeypatch, "--json", text)
    assert json.loads(capsys.readouterr().out)["intent"]


@pytest.mark.parametrize(("change", "message"), FOLDERS.values(), ids=FOLDERS.keys())
def test_a_damaged_folder_is_refused_in_one_line(
    built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.onnx", "tokenizer.json", "classifier.json"):
        shutil.copy(built_once / "release" / name, folder)
    change(folder)
    with pytest.raises(PipelineError, match=message) as error:
        run_tool(serving, monkeypatch, "--model", str(folder), "song " * 3000)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--file", "nowhere.txt"], "--file nowhere.txt cannot be read: No such file"),
        (["--file", "reports"], "--file reports cannot be read: Is a directory"),
        (["--file", "a\0b"], "--file a b cannot be read|embedded null"),
        (["--file", "x" * 5000], "--file x+"),
        (["--model", "x" * 5000, "a"], "x+"),
        (["--model", "a\nb", "a"], "a b/model.onnx not found"),
        (["--model", "params.yaml", "a"], "params.yaml/model.onnx not found"),
    ],
)
def test_a_path_that_is_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    with pytest.raises(PipelineError) as error:
        run_tool(serving, monkeypatch, *options)
    line = short(str(error.value))  # as run_program prints it
    assert re.search(message, line)
    assert len(line) < 400
    assert "\n" not in line


@pytest.mark.usefixtures("reading")
def test_a_bad_input_ends_with_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["serving", "--file", "nowhere.txt"])
    with pytest.raises(SystemExit) as ended:
        run_program(serving.main)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: --file nowhere.txt cannot be read")


@pytest.mark.usefixtures("reading")
def test_without_any_input_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as ended:
        run_tool(serving, monkeypatch)
    assert ended.value.code == 2
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    "reader", ["closed", pytest.param("full", marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux"))]
)
def test_a_closed_pipe_ends_it_quietly_and_a_full_disk_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reader: str
) -> None:
    if reader == "closed":
        ours, theirs = os.pipe()
        os.close(ours)
        out = os.fdopen(theirs, "w")
    else:
        out = Path("/dev/full").open("w")  # noqa: SIM115 (closed below)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["serving", *["song"] * 10])
    with pytest.raises(SystemExit) as ended:
        run_program(serving.main)
    out.close()  # what is left in it goes nowhere, and raises nothing
    said = capsys.readouterr().err
    if reader == "closed":
        assert (ended.value.code, said) == (0, "")
    else:
        assert (ended.value.code, said) == (1, "error: the answers cannot be written: No space left on device\n")


# Cut before tokenizing.

WORDS = ["song", "wake", "unbelievable", "歌", "é", "don't", "🙂", "x" * 30, "\u200b", "12,5", "שלום", "##a"]


def uncut(path: Path, text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    return list(tokenizer.encode(text).ids)


@pytest.mark.parametrize("seed", range(20))
def test_the_tokens_of_a_long_text_are_those_of_its_whole(built_once: Path, classifier: Classifier, seed: int) -> None:
    draw = random.Random(seed)
    between = draw.choice([" ", "  ", "\n", "", " - "])
    text = between.join(draw.choices(WORDS, k=20_000))
    assert len(text) > served.LONGEST
    expected = uncut(built_once / "release", text)
    assert classifier.model.inputs(text)["input_ids"][0].tolist() == expected
    assert len(expected) == 64


def test_the_tokens_of_one_long_word_are_those_of_its_whole(built_once: Path, classifier: Classifier) -> None:
    for text in ("a" * 100_000, f"song {'a' * 100_000}"):
        assert classifier.model.inputs(text)["input_ids"][0].tolist() == uncut(built_once / "release", text)


def test_no_more_than_the_limit_is_tokenized(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Counting:
        def encode(self, text: str) -> object:
            seen.append(len(text))
            return tokenizer.encode(text)

    tokenizer = classifier.model._tokenizer
    monkeypatch.setattr(classifier.model, "_tokenizer", Counting())
    classifier("song " * 4_000_000)
    assert seen == [served.LONGEST]
