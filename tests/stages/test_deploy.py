"""deploy: one variant in a folder that serves by itself and answers as it was judged."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import part
import pytest
from conftest import ROOT, compose, contents, program, run
from core.mistakes import setting
from made import LABELS, logits_of, read, texts
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer

from intents.core.errors import PipelineError
from intents.onnx.plain import NoPlainFormError
from intents.onnx.plain import plain as plain_form
from intents.serving.classifier import Classifier, OnnxModel
from intents.serving.rule import Rule
from stages import deploy

NAMES = ("half-onnx", "half-ort-static", "teacher-ort-dynamic")
REPORTS = ("benchmark.json", "manifest.json")
SERVED = {"model.onnx", "tokenizer.json", "classifier.json"}
BESIDE = {"onnx/model.onnx", "config.json", "tokenizer_config.json", "README.md", "LICENSE", "NOTICE"}


@pytest.fixture
def choosing(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a few variants, and the reports that choose among them; nothing is deployed yet."""
    folder = part.copy(built_once, tmp_path / "project", *NAMES, "half", "teacher")
    for name in REPORTS:
        shutil.copy(built_once / "reports" / name, folder / "reports")
    monkeypatch.chdir(folder)
    return folder


def choose(name: str) -> None:
    path = Path("reports/benchmark.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": None, "deployed": name}))


def row(name: str) -> dict[str, float]:
    return read("reports/benchmark.json")["variants"][name]


def edit(name: str, **changes: object) -> None:
    """Other figures of a variant in reports/benchmark.json; None takes one out."""
    content = read("reports/benchmark.json")
    changed = content["variants"][name] | changes
    content["variants"][name] = {key: value for key, value in changed.items() if value is not None}
    Path("reports/benchmark.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("choosing")
def test_the_folder_holds_the_graph_the_tokenizer_and_the_rule_of_the_variant(name: str) -> None:
    choose(name)
    run(deploy)
    assert set(contents(Path("release"))) == SERVED | BESIDE
    for part_of_it in ("model.onnx", "tokenizer.json"):
        assert (Path("release") / part_of_it).read_bytes() == (Path("models") / name / part_of_it).read_bytes()
    assert read("release/classifier.json") == {
        "intents": ["alarm", "music", "weather", "oos"],
        "threshold": row(name)["threshold"],
        "rate": 0.2,
        "temperature": row(name)["temperature"],
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


def beside(folder: Path) -> OnnxModel:
    """The release's plain graph with its tokenizer."""
    folder.mkdir()
    shutil.copy("release/tokenizer.json", folder)
    shutil.copy("release/onnx/model.onnx", folder)
    return OnnxModel(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("choosing")
def test_the_plain_graph_answers_every_test_query_as_the_deployed_one(name: str, tmp_path: Path) -> None:
    """Also in padded batches, but for dynamic int8, where a range is that of the batch."""
    choose(name)
    run(deploy)
    graph = onnx.load("release/onnx/model.onnx").graph
    assert {node.domain for node in graph.node} == {""}
    assert {one.name: one.type.tensor_type.elem_type for one in graph.input} == {
        "input_ids": onnx.TensorProto.INT64,
        "attention_mask": onnx.TensorProto.INT64,
    }
    served, plain = OnnxModel(Path("release")), beside(tmp_path / "plain")
    expected = np.stack([served.logits(text) for text in texts("test")])
    step = 0.05 if "-ort-" in name else 1e-4  # in int8 a number may be rounded to its neighbour
    np.testing.assert_allclose(np.stack([plain.logits(text) for text in texts("test")]), expected, atol=step)
    if "dynamic" not in name:
        np.testing.assert_allclose(plain.logits_padded(texts("test")), expected, atol=step)


@pytest.mark.usefixtures("choosing")
def test_a_graph_that_has_no_plain_form_is_deployed_without_and_the_card_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(model: onnx.ModelProto) -> onnx.ModelProto:
        raise NoPlainFormError(f"the graph has {model.graph.node[0].op_type}")

    choose("half-ort-static")
    run(deploy)
    assert "onnx/model.onnx is the same model" in Path("release/README.md").read_text()
    monkeypatch.setattr(deploy, "plain", none)
    run(deploy)
    assert set(contents(Path("release"))) == SERVED | BESIDE - {"onnx/model.onnx"}
    card = Path("release/README.md").read_text()
    assert "could not be written in standard ones" in card
    assert "onnx/model.onnx" not in card


@pytest.mark.usefixtures("choosing")
def test_a_plain_graph_that_answers_otherwise_is_not_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    def negated(model: onnx.ModelProto) -> onnx.ModelProto:
        found = plain_form(model)
        last = next(node for node in found.graph.node if node.output[0] == "logits")
        last.output[0] = "right"
        found.graph.node.append(onnx.helper.make_node("Neg", ["right"], ["logits"]))
        return found

    choose("teacher-ort-dynamic")
    run(deploy)
    before = contents(Path("release"))
    monkeypatch.setattr(deploy, "plain", negated)
    message = r"^the plain graph of models/.*/model.onnx answers \d+ of 40 validation queries otherwise than .*: 0.5%$"
    with pytest.raises(PipelineError, match=message):
        run(deploy)
    assert contents(Path("release")) == before


@pytest.mark.usefixtures("choosing")
def test_it_answers_with_the_threshold_of_the_benchmark_and_no_other() -> None:
    """One between the scores of the test queries: half of them are out of scope, whatever their arg-max."""
    name = "half-ort-static"
    logits = logits_of(name)["test"]
    scores = np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))
    edit(name, threshold=float(np.sort(scores)[19:21].mean()))
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
    for line, text in zip(found, texts("test"), strict=True):
        answer = classifier(text)
        assert (line["intent"], line["probability"]) == (answer.intent, answer.probability)
        assert (line["score"], line["out_of_scope"]) == (answer.score, answer.out_of_scope)


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
        ("reports/manifest.json", "reports/manifest.json not found; run `dvc repro evaluate`"),
        ("models/half/config.json", "models/half/config.json not found; run `dvc repro distill@half`"),
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


@pytest.mark.usefixtures("choosing")
def test_the_config_names_the_intents_as_hugging_face_reads_them() -> None:
    choose("half-ort-static")
    run(deploy)
    config = AutoConfig.from_pretrained("release")
    intents = read("release/classifier.json")["intents"]
    assert config.id2label == dict(enumerate(intents))
    assert config.label2id == {name: label for label, name in enumerate(intents)}
    assert AutoTokenizer.from_pretrained("release")("play the song").input_ids == [
        *Tokenizer.from_file("release/tokenizer.json").encode("play the song").ids
    ]


@pytest.mark.parametrize(("name", "kind"), [("half-onnx", "bert"), ("teacher-ort-dynamic", "bert")])
@pytest.mark.usefixtures("choosing")
def test_the_config_is_one_that_loaders_know_without_this_project(name: str, kind: str) -> None:
    """Half and the teacher are `pooled`, which only this project knows; their tokenizer and inputs are BERT's."""
    choose(name)
    run(deploy)
    found, model = read("release/config.json"), read(f"models/{name.split('-')[0]}/config.json")
    assert (model["model_type"], found["model_type"]) == ("pooled", kind)
    assert found["architectures"] == ["BertForSequenceClassification"]
    assert found["hidden_size"] == model["encoder_config"]["hidden_size"]
    assert found["transformers.js_config"] == {"dtype": "fp32"}
    assert list(found["id2label"].values()) == read("release/classifier.json")["intents"]
    assert "encoder_config" not in found


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, ["BertForSequenceClassification"]),
        ({"encoder_config": {"architectures": ["MPNetForMaskedLM"]}}, ["MPNetForSequenceClassification"]),
        ({"encoder_config": {"architectures": ["DistilBertModel"]}}, ["DistilBertForSequenceClassification"]),
        ({"encoder_config": {"architectures": None}}, []),
        ({"encoder_config": {}}, []),
    ],
)
def test_the_architecture_is_that_of_the_family(model: dict[str, object], expected: list[str]) -> None:
    assert deploy.for_loaders(model)["architectures"] == expected


@pytest.mark.usefixtures("choosing")
def test_the_licence_is_that_of_the_project() -> None:
    choose("half-onnx")
    run(deploy)
    assert Path("release/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("key", ["threshold", "temperature", "p50_ms", "ece"])
@pytest.mark.usefixtures("choosing")
def test_a_figure_that_the_benchmark_has_not_is_named(key: str) -> None:
    choose("half-onnx")
    edit("half-onnx", **{key: None})
    with pytest.raises(PipelineError, match=f"^reports/benchmark.json has no '{key}'.*; run `dvc repro select`$"):
        run(deploy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "has no `deployed`"),
        ("[]", "holds no object; run `dvc repro select`"),
        ('{"deployed": "gone-onnx", "variants": {}}', "has no `gone-onnx`"),
        ("{", "is not valid JSON"),
    ],
)
@pytest.mark.usefixtures("choosing")
def test_a_benchmark_that_is_none_is_refused_in_one_line(content: str, message: str) -> None:
    Path("reports/benchmark.json").write_text(content)
    with pytest.raises(PipelineError, match=f"^reports/benchmark.json {message}") as error:
        run(deploy)
    assert len(str(error.value)) < 400
    assert not Path("release").exists()


@pytest.mark.usefixtures("choosing")
def test_a_graph_that_is_not_the_one_that_was_judged_is_not_deployed() -> None:
    choose("half-onnx")
    with Path("models/half-onnx/model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(PipelineError, match=r"models/half-onnx/model.onnx has sha256 .* it is not the one that was"):
        run(deploy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("teacher.licence", [1], "`teacher.licence` is .*; allowed: a text, or null"),
        ("dataset.config", None, "`dataset.config` is null; allowed: a text"),
    ],
)
def test_what_the_card_is_told_is_checked(choosing: Path, key: str, value: object, message: str) -> None:
    choose("half-onnx")
    setting(key, value)(choosing)
    with pytest.raises(PipelineError, match=message):
        run(deploy)


def test_keys_of_a_section_that_the_card_does_not_read_are_left_to_their_stage(choosing: Path) -> None:
    choose("half-onnx")
    setting("teacher.epochs", "many")(choosing)
    run(deploy)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("  licence: apache-2.0\n", ""))
    with pytest.raises(PipelineError, match=r"params\.yaml has no `teacher.licence`"):
        run(deploy)


def must_pass(*queries: tuple[str, str]) -> None:
    """Ask for these (text, intent) in the current folder's params.yaml."""
    setting("must_pass", {"queries": [{"text": text, "intent": intent} for text, intent in queries]})(Path.cwd())


def ruled(name: str) -> list[str]:
    """What a variant answers to the test queries, by the rule."""
    logits = logits_of(name)["test"]
    scores = np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))
    labels = np.where(scores < row(name)["threshold"], 3, logits.argmax(axis=1))
    return [("alarm", "music", "weather", "oos")[label] for label in labels]


@pytest.mark.usefixtures("choosing")
def test_queries_that_must_pass_and_do_hinder_nothing_and_change_no_byte() -> None:
    """Intents and out of scope alike: they are what the rule answers to the test queries."""
    name = "half-ort-static"
    choose(name)
    run(deploy)
    before = contents(Path("release"))
    must_pass(*zip(texts("test"), ruled(name), strict=True))
    run(deploy)
    assert contents(Path("release")) == before


@pytest.mark.usefixtures("choosing")
def test_a_query_that_must_pass_and_does_not_keeps_the_earlier_release() -> None:
    name = "half-ort-static"
    choose("half-onnx")
    run(deploy)
    before = contents(Path("release"))
    choose(name)
    answers = dict(zip(texts("test"), ruled(name), strict=True))
    first = next(text for text, intent in answers.items() if intent != "oos")
    wanted = "music" if answers[first] != "music" else "alarm"
    last = next(text for text, intent in answers.items() if intent == "oos")
    good = [(text, intent) for text, intent in answers.items() if text not in (first, last)]
    must_pass(*good, (first, wanted), (last, "weather"))
    message = (
        f"^{name} answers 2 of 40 queries of `must_pass` wrongly, so it is not deployed; "
        f"'{first}' must be {wanted} and is {answers[first]}$"
    )
    with pytest.raises(PipelineError, match=message):
        run(deploy)
    assert contents(Path("release")) == before


@pytest.mark.usefixtures("choosing")
def test_a_long_query_that_must_pass_is_cut_in_the_error() -> None:
    choose("half-onnx")
    answer = Classifier(OnnxModel(Path("models/half-onnx")), Rule(["alarm", "music", "weather", "oos"], -99.0, 0.2))
    given = answer("rain " * 500).intent
    must_pass(("rain " * 500, "music" if given != "music" else "alarm"))
    with pytest.raises(PipelineError, match=r"answers 1 of 1 queries") as error:
        run(deploy)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (
            [{"text": "wake me", "intent": "alarms"}],
            r"^`must_pass.queries\[0\].intent` is 'alarms'; allowed: one of the 4 intents of the data set, oos among",
        ),
        ([{"text": "wake me"}], r"^params.yaml has no `must_pass.queries\[0\].intent`"),
        (
            [{"text": "wake me", "intent": "alarm", "why": "x"}],
            r"^unknown key `must_pass.*why` in params.yaml",
        ),
        ("wake me", "^`must_pass.queries` is 'wake me'; allowed: "),
    ],
)
@pytest.mark.usefixtures("choosing")
def test_queries_that_are_none_are_refused_by_key(queries: object, message: str) -> None:
    choose("half-onnx")
    setting("must_pass", {"queries": queries})(Path.cwd())
    with pytest.raises(PipelineError, match=message) as error:
        run(deploy)
    assert len(str(error.value)) < 400
    assert not Path("release").exists()
