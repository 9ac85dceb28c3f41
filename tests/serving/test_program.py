"""`python -m intents.serving`: what a text assistant would call."""

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

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
        odds = np.exp(found / rule["temperature"]) / np.exp(found / rule["temperature"]).sum()
        best = found[:3].argmax()
        score = np.log(np.exp(found[:3]).sum())
        scope = "out of scope" if found.argmax() == 3 or score < rule["threshold"] else "in scope"
        numbers = f"probability {odds[best]:.3f}  score {score:.2f} (threshold {rule['threshold']:.2f})"
        expected.append(f"{rule['intents'][best]}  {numbers}  {scope}")
    assert answers(monkeypatch, capsys, *texts("test")) == expected
    assert len({line.split("  ")[3] for line in expected}) == 2  # both kinds occur


@pytest.mark.usefixtures("release")
def test_json_holds_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plain = answers(monkeypatch, capsys, *QUERIES)
    lines = answers(monkeypatch, capsys, "--json", *QUERIES)
    for line, shown in zip(lines, plain, strict=True):
        answer = json.loads(line)
        assert list(answer) == ["intent", "probability", "score", "threshold", "out_of_scope"]
        numbers = "probability {probability:.3f}  score {score:.2f} (threshold {threshold:.2f})".format(**answer)
        assert shown == f"{answer['intent']}  {numbers}  {'out of' if answer['out_of_scope'] else 'in'} scope"


@pytest.mark.usefixtures("release")
def test_the_likeliest_intents_are_named_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = answers(monkeypatch, capsys, "--json", "--top", "2", "play the song")
    answer = json.loads(line)
    assert len(answer["top"]) == 2
    assert answer["top"][0] == {"intent": answer["intent"], "probability": answer["probability"]}
    assert answer["top"][0]["probability"] >= answer["top"][1]["probability"]
    first, *others = answers(monkeypatch, capsys, "--top", "2", "play the song")
    assert first.startswith(f"{answer['intent']}  ")
    assert others == [f"    {one['probability']:.3f}  {one['intent']}" for one in answer["top"]]


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


@pytest.mark.usefixtures("release")
def test_without_a_query_it_reads_them_from_standard_input_one_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ["play the song", "", "wake me", "ünïcode"]
    given(monkeypatch, "play the song\n\nwake me\r\nünïcode".encode())
    assert answers(monkeypatch, capsys) == answers(monkeypatch, capsys, *queries)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("name", ["queries.txt", "queries.jsonl"])
def test_a_file_is_answered_in_its_order_as_its_queries_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """With a graph in static int8, whose answers no batch changes; more queries than a batch holds."""
    model = Path(shutil.copytree("models/half-ort-static", tmp_path / "model"))
    shutil.copy("release/classifier.json", model)
    queries = texts("test") * 3
    lines = [json.dumps({"id": 1, "text": query}) for query in queries] if name.endswith("jsonl") else queries
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    options = ("--model", str(model), "--json")
    found = answers(monkeypatch, capsys, *options, "--file", str(tmp_path / name))
    for ours, theirs in zip(found, answers(monkeypatch, capsys, *options, *queries), strict=True):
        one, other = json.loads(ours), json.loads(theirs)
        assert one == pytest.approx(other, abs=1e-5)


class Slowly:
    """A pipe that gives what was written into it piece by piece, and notes what was printed before each read."""

    def __init__(self, pieces: list[bytes], printed: list[str]) -> None:
        self.pieces, self.printed, self.seen = pieces, printed, []

    def read1(self, _: int) -> bytes:
        self.seen.append(sum(piece.count("\n") for piece in self.printed))
        return self.pieces.pop(0) if self.pieces else b""


@pytest.mark.usefixtures("release")
def test_a_line_is_answered_before_the_next_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    stream = Slowly([b"play the ", b"song\n", b"wake\nme\nvol", b"cano\n"], printed)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=printed.append, flush=lambda: None))
    run_tool(serving, monkeypatch)
    assert stream.seen == [0, 0, 1, 3, 4]


@pytest.mark.usefixtures("release")
def test_a_graph_answers_the_same_with_two_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answers(monkeypatch, capsys, "--threads", "2", *QUERIES) == answers(monkeypatch, capsys, *QUERIES)


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
    with pytest.raises(PipelineError, match=f"^release/{file} not found; run `git checkout release` or `make repro`$"):
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
