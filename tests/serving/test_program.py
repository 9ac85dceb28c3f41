"""`python -m intents.serving`: what a text assistant would call."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run_tool
from made import logits_of, read, texts

from intents.core.errors import PipelineError
from intents.serving import __main__ as serving

QUERIES = ["play the song", "volcano tax"]


@pytest.fixture
def reading(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with every stage run, as the current folder; not to be changed."""
    monkeypatch.chdir(built_once)
    return built_once


@pytest.fixture
def release(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the deployed model alone, as the current one."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(built_once / "release", tmp_path / "release"))


def answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    run_tool(serving, monkeypatch, *arguments)
    return capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("reading")
def test_it_prints_intent_probability_and_scope_as_the_evaluated_model_decided(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed = read("reports/benchmark.json")["deployed"]
    rule = read("release/classifier.json")
    expected = []
    for found in logits_of(deployed)["test"].astype(float):
        odds = np.exp(found) / np.exp(found).sum()
        best = found[:3].argmax()
        outside = found.argmax() == 3 or np.log(np.exp(found[:3]).sum()) < rule["threshold"]
        expected.append(f"{rule['intents'][best]}  {odds[best]:.3f}  {'out of scope' if outside else 'in scope'}")
    assert answers(monkeypatch, capsys, *texts("test")) == expected
    assert len({line.split("  ")[2] for line in expected}) == 2  # both kinds occur


@pytest.mark.usefixtures("release")
def test_json_holds_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [line.split("  ") for line in answers(monkeypatch, capsys, *QUERIES)]
    lines = answers(monkeypatch, capsys, "--json", *QUERIES)
    for line, (intent, probability, scope) in zip(lines, plain, strict=True):
        answer = json.loads(line)
        assert set(answer) == {"intent", "probability", "out_of_scope"}
        assert (answer["intent"], f"{answer['probability']:.3f}") == (intent, probability)
        assert answer["out_of_scope"] is (scope == "out of scope")


@pytest.mark.usefixtures("release")
def test_without_a_query_it_reads_them_from_standard_input_one_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ["play the song", "wake me", "ünïcode"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("play the song\nwake me\r\nünïcode"))
    assert answers(monkeypatch, capsys) == answers(monkeypatch, capsys, *queries)


@pytest.mark.usefixtures("release")
def test_a_graph_answers_the_same_with_two_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answers(monkeypatch, capsys, "--threads", "2", *QUERIES) == answers(monkeypatch, capsys, *QUERIES)


@pytest.mark.usefixtures("release")
def test_fewer_than_one_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="--threads is 0; allowed: 1 or more"):
        run_tool(serving, monkeypatch, "--threads", "0", "hello")


def test_another_folder_is_asked_when_named_wherever_it_is(
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = answers(monkeypatch, capsys, "--json", *QUERIES)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    release.rename(elsewhere / "model")
    monkeypatch.chdir(elsewhere)
    assert answers(monkeypatch, capsys, "--json", "--model", "model", *QUERIES) == expected
    rule = read("model/classifier.json") | {"threshold": 1000.0}
    (elsewhere / "model/classifier.json").write_text(json.dumps(rule))
    found = answers(monkeypatch, capsys, "--json", "--model", str(elsewhere / "model"), *QUERIES)
    assert [json.loads(line)["out_of_scope"] for line in found] == [True, True]


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "classifier.json"])
def test_without_the_model_it_says_what_to_run(release: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    (release / file).unlink()
    with pytest.raises(PipelineError, match=f"^release/{file} not found; run `dvc pull release` or `make repro`$"):
        run_tool(serving, monkeypatch, "hello")


@pytest.mark.usefixtures("release")
def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match=r"nowhere/model\.onnx not found; run"):
        run_tool(serving, monkeypatch, "--model", "nowhere", "hello")


@pytest.mark.usefixtures("release")
def test_a_rule_that_is_damaged_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("release/classifier.json").write_text('{"intents": ["alarm"]}')
    with pytest.raises(PipelineError, match=r"release/classifier.json is no rule; it needs the keys"):
        run_tool(serving, monkeypatch, "hello")
