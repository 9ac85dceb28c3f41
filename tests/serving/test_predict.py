"""predict: what a text assistant would call, without torch or transformers."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run
from safetensors.numpy import load_file

from intents.core.errors import PipelineError
from intents.data import corpus
from stages import predict

VARIANT = "student-ort-dynamic"


@pytest.fixture
def named(built: Path) -> Path:
    """The tiny project with a best variant named, whatever its accuracy came out as."""
    path = built / "reports/benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": VARIANT}))
    return built


def answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    run(predict, *arguments)
    return capsys.readouterr().out.splitlines()


def test_it_prints_intent_score_and_scope_as_the_evaluated_model_decided(
    named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = corpus.load(named / "data/clinc", "test")
    logits = load_file(named / f"data/logits/{VARIANT}.safetensors")["test"]
    rule = json.loads((named / "data/ort/dynamic/student/classifier.json").read_text())
    expected = []
    for found in logits.astype(float):
        odds = np.exp(found) / np.exp(found).sum()
        best = found[:3].argmax()
        outside = found.argmax() == 3 or np.log(np.exp(found[:3]).sum()) < rule["threshold"]
        expected.append(f"{rule['intents'][best]}  {odds[best]:.3f}  {'out of scope' if outside else 'in scope'}")
    assert answers(monkeypatch, capsys, *(row.text for row in rows)) == expected
    assert len({line.split("  ")[2] for line in expected}) == 2  # both kinds occur


def test_json_holds_the_same(named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    queries = ["play the song", "volcano tax"]
    plain = [line.split("  ") for line in answers(monkeypatch, capsys, *queries)]
    for line, (intent, score, scope) in zip(answers(monkeypatch, capsys, "--json", *queries), plain, strict=True):
        answer = json.loads(line)
        assert set(answer) == {"intent", "score", "out_of_scope"}
        assert (answer["intent"], f"{answer['score']:.3f}") == (intent, score)
        assert answer["out_of_scope"] is (scope == "out of scope")
    assert named.is_dir()


@pytest.mark.usefixtures("named")
def test_without_a_query_it_reads_them_from_standard_input_one_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ["play the song", "wake me", "ünïcode"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("play the song\nwake me\r\nünïcode"))
    assert answers(monkeypatch, capsys) == answers(monkeypatch, capsys, *queries)


@pytest.mark.usefixtures("named")
def test_another_variant_is_asked_when_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    default = answers(monkeypatch, capsys, "--json", "play the song")
    assert answers(monkeypatch, capsys, "--json", "--variant", VARIANT, "play the song") == default
    assert answers(monkeypatch, capsys, "--json", "--variant", "teacher-onnx", "play the song") != default


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("variant", ["nobody-onnx", "student", "student-torch-dynamic"])
def test_a_variant_that_cannot_be_deployed_is_refused(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    with pytest.raises(PipelineError, match=f"'{variant}' is no deployable variant; those of .* are: .*student-onnx"):
        run(predict, "--variant", variant, "hello")


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "classifier.json"])
def test_without_the_model_it_says_what_to_run(named: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    (named / "data/ort/dynamic/student" / file).unlink()
    with pytest.raises(
        PipelineError, match=f"data/ort/dynamic/student/{file} not found; run `dvc pull` or `make repro`"
    ):
        run(predict, "hello")


def test_without_a_benchmark_it_says_what_to_run(named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (named / "reports/benchmark.json").unlink()
    with pytest.raises(PipelineError, match=r"reports/benchmark.json not found; run `dvc repro`"):
        run(predict, "hello")


def test_without_a_best_variant_it_asks_for_one(named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = named / "reports/benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": None}))
    with pytest.raises(
        PipelineError, match=r"no deployable variant is within `benchmark.max_accuracy_drop`.*--variant"
    ):
        run(predict, "hello")


def test_a_models_folder_is_enough_wherever_it_is(
    named: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = answers(monkeypatch, capsys, "play the song")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    model = shutil.copytree(named / "data/ort/dynamic/student", elsewhere / "model")
    monkeypatch.chdir(elsewhere)
    assert answers(monkeypatch, capsys, "--model", str(model), "play the song") == expected
    (model / "classifier.json").unlink()
    with pytest.raises(PipelineError, match=r"model/classifier.json not found; run `dvc get URL data/ort"):
        run(predict, "--model", "model", "hello")


@pytest.mark.usefixtures("named")
def test_fewer_than_one_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="--threads is 0; allowed: 1 or more"):
        run(predict, "--threads", "0", "hello")


def test_answering_loads_neither_torch_nor_transformers(named: Path) -> None:
    code = (
        "import sys; from stages import predict; sys.argv = ['predict', '--json', 'play the song']; predict.main  ;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'transformers', 'datasets', 'onnx'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=named,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, loaded = done.stdout.splitlines()
    assert json.loads(answer)["intent"]
    assert loaded == "[]"
