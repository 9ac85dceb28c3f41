"""deploy: one variant in a folder that serves by itself and answers as it was judged."""

import json
import shutil
from pathlib import Path

import numpy as np
import part
import pytest
from conftest import compose, contents, program, run
from made import LABELS, logits_of, read, texts

from intents.core.errors import PipelineError
from intents.serving.classifier import Classifier
from stages import deploy

NAMES = ("half-onnx", "half-ort-static", "teacher-ort-dynamic")
REPORTS = ("benchmark.json", "evaluation.json")


@pytest.fixture
def choosing(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a few variants, and the reports that choose among them; nothing is deployed yet."""
    folder = part.copy(built_once, tmp_path / "project", *NAMES)
    for name in REPORTS:
        shutil.copy(built_once / "reports" / name, folder / "reports")
    monkeypatch.chdir(folder)
    return folder


def choose(name: str) -> None:
    path = Path("reports/benchmark.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": None, "deployed": name}))


def row(name: str) -> dict[str, float]:
    return read("reports/evaluation.json")["variants"][name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("choosing")
def test_the_folder_holds_the_graph_the_tokenizer_and_the_rule_of_the_variant(name: str) -> None:
    choose(name)
    run(deploy)
    assert set(contents(Path("release"))) == {"model.onnx", "tokenizer.json", "classifier.json"}
    for part_of_it in ("model.onnx", "tokenizer.json"):
        assert (Path("release") / part_of_it).read_bytes() == (Path("models") / name / part_of_it).read_bytes()
    assert read("release/classifier.json") == {
        "intents": ["alarm", "music", "weather", "oos"],
        "threshold": row(name)["threshold"],
        "rate": 0.2,
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("choosing")
def test_it_answers_every_test_query_as_it_was_judged(name: str) -> None:
    """By arg-max and by the rule, and so with the accuracies of the report."""
    choose(name)
    run(deploy)
    classifier = Classifier.load(Path("release"))
    intents = read("release/classifier.json")["intents"]
    answers = [classifier(text) for text in texts("test")]
    logits = logits_of(name)["test"]
    assert [intents.index(answer.intent) for answer in answers] == logits[:, :3].argmax(axis=1).tolist()
    ruled = [3 if answer.out_of_scope else intents.index(answer.intent) for answer in answers]
    assert (np.array(ruled) == LABELS).mean() == pytest.approx(row(name)["accuracy_with_rule"], abs=1e-6)
    scores = np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))
    assert ruled == np.where(scores < row(name)["threshold"], 3, logits.argmax(axis=1)).tolist()
    plain = np.array([classifier.model.logits(text).argmax() for text in texts("test")])
    assert (plain == LABELS).mean() == pytest.approx(row(name)["accuracy"], abs=1e-6)
    assert 3 in ruled
    assert set(ruled) != {3}


@pytest.mark.usefixtures("choosing")
def test_it_answers_with_the_threshold_of_the_evaluation_and_no_other() -> None:
    """One between the scores of the test queries: half of them are out of scope, whatever their arg-max."""
    name = "half-ort-static"
    logits = logits_of(name)["test"]
    scores = np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))
    evaluated = read("reports/evaluation.json")
    evaluated["variants"][name]["threshold"] = float(np.sort(scores)[19:21].mean())
    Path("reports/evaluation.json").write_text(json.dumps(evaluated))
    choose(name)
    run(deploy)
    classifier = Classifier.load(Path("release"))
    outside = [classifier(text).out_of_scope for text in texts("test")]
    lowest = np.argsort(np.argsort(scores)) < 20
    assert outside == (lowest | (logits.argmax(axis=1) == 3)).tolist()
    assert outside != (logits.argmax(axis=1) == 3).tolist()


def test_in_the_tiny_project_the_variant_that_select_named_is_deployed(reading: Path) -> None:
    deployed = read("reports/benchmark.json")["deployed"]
    assert contents(reading / "release")["model.onnx"] == contents(reading / "models" / deployed)["model.onnx"]
    assert read("release/classifier.json")["threshold"] == row(deployed)["threshold"]


def test_what_is_deployed_answers_from_a_command_line(choosing: Path) -> None:
    choose("half-ort-static")
    run(deploy)
    shutil.rmtree("models")
    done = program(choosing, "intents.serving", "--json", *texts("test"))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    classifier = Classifier.load(Path("release"))
    assert found == [json.loads(json.dumps(classifier(text)._asdict())) for text in texts("test")]


@pytest.mark.usefixtures("choosing")
def test_another_choice_takes_the_place_of_the_first_and_the_same_is_the_same_bytes() -> None:
    choose("half-ort-static")
    run(deploy)
    first = contents(Path("release"))
    Path("release/left.txt").write_text("left over")
    choose("half-onnx")
    run(deploy)
    assert set(contents(Path("release"))) == set(first)
    assert contents(Path("release"))["model.onnx"] != first["model.onnx"]
    choose("half-ort-static")
    run(deploy)
    assert contents(Path("release")) == first


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("models/half-ort-static/model.onnx", "model.onnx not found; run `dvc repro ort-quantize@half-static`"),
        ("models/half-ort-static/tokenizer.json", "tokenizer.json not found; run `dvc repro ort-quantize@half-static`"),
        ("data/clinc/intents.json", "data/clinc/intents.json not found; run `dvc repro fetch-clinc`"),
        ("reports/benchmark.json", "reports/benchmark.json not found; run `dvc repro select`"),
        ("reports/evaluation.json", "reports/evaluation.json not found; run `dvc repro evaluate`"),
    ],
)
def test_without_what_it_needs_the_earlier_release_stays_whole(choosing: Path, gone: str, message: str) -> None:
    """Also where it fails halfway: the graph is copied before the tokenizer, and the intents are read last."""
    choose("half-onnx")
    run(deploy)
    choose("half-ort-static")
    (choosing / gone).unlink()
    before = contents(choosing)
    with pytest.raises(PipelineError, match=message):
        run(deploy)
    assert contents(choosing) == before


@pytest.mark.usefixtures("choosing")
def test_the_rate_that_the_threshold_is_for_is_told(overrides: list[str]) -> None:
    choose("half-onnx")
    compose(*overrides, "out_of_scope.rate=0.3")
    run(deploy)
    assert read("release/classifier.json")["rate"] == 0.3
