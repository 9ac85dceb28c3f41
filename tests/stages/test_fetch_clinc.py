"""fetch-clinc: one canonical copy of the data set, whatever its source, or an error and nothing changed."""

import json
import math
from pathlib import Path

import pytest
from conftest import ROOT, WORDS, compose, contents, micro_data_set, run, write_data_set
from transformers import AutoTokenizer

from intents.core import files
from intents.core.errors import PipelineError
from intents.data import corpus
from intents.data.corpus import Corpus
from stages import fetch_clinc

MIRROR = ROOT.parent / "shared" / "clinc150"
UPSTREAM = {"train": "train", "validation": "val", "test": "test"}


def fetch(overrides: list[str], *more: str) -> None:
    compose(*overrides, *more)
    run(fetch_clinc)


def setting(overrides: list[str], name: str) -> str:
    return next(value for key, _, value in (line.partition("=") for line in overrides) if key == f"dataset.{name}")


def read_rows(split: str) -> list[tuple[str, str]]:
    lines = Path(f"data/clinc/{split}.jsonl").read_text(encoding="utf-8").split("\n")
    return [tuple(json.loads(line).values()) for line in lines if line]


@pytest.mark.usefixtures("project")
def test_splits_are_written_in_canonical_order() -> None:
    run(fetch_clinc)
    published = micro_data_set()
    for ours, theirs in UPSTREAM.items():
        rows = [tuple(row) for row in published[theirs] + published[f"oos_{theirs}"]]
        assert read_rows(ours) == sorted(rows, key=lambda row: (row[1], row[0]))


def test_intents_are_in_alphabetical_order_with_out_of_scope_last(
    project: Path,
) -> None:
    run(fetch_clinc)
    intents = json.loads((project / "data/clinc/intents.json").read_text())
    assert intents == {
        "names": ["alarm", "music", "weather", "oos"],
        "domains": {"alarm": "daily", "music": "daily", "weather": "daily"},
    }


def test_nothing_else_is_written(project: Path) -> None:
    run(fetch_clinc)
    assert set(contents(project)) == {
        "params.yaml",
        "reports/data.json",
        *(f"data/clinc/{name}" for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "intents.json")),
    }


def test_report_counts_rows_and_token_lengths(project: Path, tiny_checkpoint: Path) -> None:
    run(fetch_clinc)
    report = json.loads((project / "reports/data.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    for split, (in_scope, out_of_scope) in {"train": (60, 20), "validation": (30, 10), "test": (30, 10)}.items():
        assert (report[split]["in_scope"], report[split]["out_of_scope"]) == (in_scope, out_of_scope)
        lengths = sorted(len(tokenizer(text)["input_ids"]) for text, _ in read_rows(split))
        for share in (50, 90, 95, 99, 100):
            assert report[split]["tokens"][f"p{share}"] == lengths[math.ceil(share / 100 * (len(lengths) - 1))]
    assert set(report["overlaps"].values()) == {0}


def test_report_counts_duplicates_leaks_and_conflicts(project: Path, overrides: list[str], tmp_path: Path) -> None:
    published = micro_data_set()
    published["train"] += [["Wake ME", "alarm"], ["wake  me", "alarm"]]  # one duplicate, spelt otherwise
    published["val"] += [["wake me", "music"]]  # a leak from train, with another intent
    published["test"] += [["WAKE me", "alarm"], published["val"][0]]  # a leak from both, and one from validation
    fetch(overrides, *write_data_set(tmp_path / "own", published))
    assert json.loads((project / "reports/data.json").read_text())["overlaps"] == {
        "duplicates_in_train": 1,
        "duplicates_in_validation": 0,
        "duplicates_in_test": 0,
        "validation_in_train": 1,
        "test_in_train": 1,
        "test_in_validation": 2,
        "conflicting_intents": 1,
    }


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\x0b", "\x1e", "\r", "\n", "é", '"', "\\"])
def test_a_query_keeps_every_character(project: Path, overrides: list[str], tmp_path: Path, character: str) -> None:
    published = micro_data_set()
    published["train"].append([f"wake{character}me", "alarm"])
    fetch(overrides, *write_data_set(tmp_path / "own", published))
    assert corpus.Row(f"wake{character}me", "alarm") in Corpus().rows("train")


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        (["alarm"], "is not of the form"),
        ({"daily": None}, "is not of the form"),
        ({"daily": "alarm"}, "is not of the form"),
        ({"daily": ["alarm", 3]}, "is not of the form"),
        ({"daily": ["alarm", "music"], "other": ["weather", "alarm"]}, "names intent 'alarm' more than once"),
        ({"daily": ["alarm", "music", "weather", "oos"]}, "names 'oos', which is in no domain"),
    ],
)
def test_domains_that_are_none_are_refused(project: Path, overrides: list[str], domains: object, message: str) -> None:
    (project / "own.json").write_text(json.dumps(domains))
    before = contents(project / "data")
    with pytest.raises(PipelineError, match=rf"own.json \(dataset.domains\) {message}"):
        fetch(overrides, f"dataset.domains={project / 'own.json'}")
    assert contents(project / "data") == before


def test_the_sample_in_the_repository_is_the_one_that_conf_names(
    project: Path,
) -> None:
    folder = ROOT / "data/sample"
    paths = {"file": folder / "sample.json", "domains": folder / "domains.json", "watched": folder}
    compose("dataset=sample", *(f"dataset.{key}={path}" for key, path in paths.items()))
    run(fetch_clinc)
    report = json.loads((project / "reports/data.json").read_text())
    assert {split: (report[split]["in_scope"], report[split]["out_of_scope"]) for split in UPSTREAM} == {
        "train": (800, 60),
        "validation": (200, 40),
        "test": (300, 100),
    }
    assert set(report["overlaps"].values()) == {0}


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no CLINC150 mirror beside the checkout")
@pytest.mark.parametrize(
    ("config", "train"),
    [("plus", (15000, 250)), ("small", (7500, 100)), ("imbalanced", (10525, 100)), ("full", (15000, 100))],
)
def test_clinc150_is_the_one_that_conf_names(
    project: Path, monkeypatch: pytest.MonkeyPatch, config: str, train: tuple[int, int]
) -> None:
    monkeypatch.setenv("CLINC150_MIRROR", str(MIRROR))
    domains = ROOT / "data/clinc150-domains.json"
    compose(f"dataset={config}", f"dataset.domains={domains}", f"dataset.watched={domains}")
    run(fetch_clinc)
    report = json.loads((project / "reports/data.json").read_text())
    assert {split: (report[split]["in_scope"], report[split]["out_of_scope"]) for split in UPSTREAM} == {
        "train": train,
        "validation": (3000, 100),
        "test": (4500, 1000),
    }
    assert len(json.loads((project / "data/clinc/intents.json").read_text())["names"]) == 151


def spoilt(kind: str, folder: Path, overrides: list[str]) -> tuple[list[str], list[str]]:
    """Overrides that make fetching fail, and what the message must name."""
    published = micro_data_set()
    if kind == "an intent in no domain":
        own = write_data_set(folder, published)
        (folder / "domains.json").write_text(json.dumps({"daily": ["alarm", "weather"]}))
        return own, ["'music'", "train", "dataset.domains"]
    if kind == "an intent that training lacks":
        published["train"] = [row for row in published["train"] if row[1] != "music"]
        own = write_data_set(folder, published)
        (folder / "domains.json").write_text(json.dumps({"daily": [name for name in WORDS if name != "oos"]}))
        return own, ["'music'", "no training row"]
    if kind == "other rows":
        return ["dataset.rows_sha256=abc"], ["abc", setting(overrides, "rows_sha256"), "dataset.rows_sha256"]
    if kind == "another file":
        return ["dataset.file_sha256=abc"], ["abc", setting(overrides, "file_sha256"), "dataset.file_sha256"]
    if kind == "no file":
        return ["dataset.file=nowhere.json"], ["'nowhere.json'", "dataset.file"]
    if kind == "no domains file":
        return ["dataset.domains=nowhere.json"], ["nowhere.json"]
    if kind == "a domains file that is not JSON":
        own = write_data_set(folder, published)
        (folder / "domains.json").write_text("{")
        return own, [str(folder / "domains.json")]
    assert kind == "a split missing"
    own = write_data_set(folder, published)
    del published["oos_val"]
    content = json.dumps(published)
    (folder / "micro.json").write_text(content)
    return [*own, f"dataset.file_sha256={files.sha256(content.encode())}"], ["micro.json", "oos_val"]


@pytest.mark.parametrize(
    "kind",
    [
        "an intent in no domain",
        "an intent that training lacks",
        "other rows",
        "another file",
        "no file",
        "no domains file",
        "a domains file that is not JSON",
        "a split missing",
    ],
)
def test_after_an_error_data_and_report_are_as_before(
    project: Path, overrides: list[str], tmp_path: Path, kind: str
) -> None:
    run(fetch_clinc)
    before = contents(project / "data"), contents(project / "reports")
    more, named = spoilt(kind, tmp_path / "own", overrides)
    with pytest.raises(PipelineError) as error:
        fetch(overrides, *more)
    for words in named:
        assert words in str(error.value)
    assert (contents(project / "data"), contents(project / "reports")) == before


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_queries_in_scope_is_refused(
    project: Path, overrides: list[str], tmp_path: Path, split: str
) -> None:
    """Better refused here than after the training."""
    with pytest.raises(PipelineError, match=f"^split {split} has 0 queries in scope and 10 out of scope; it needs"):
        fetch(overrides, *write_data_set(tmp_path / "own", micro_data_set() | {UPSTREAM[split]: []}))
    assert contents(project / "data") == contents(project / "reports") == {}


@pytest.mark.parametrize("without", [("oos_train", "oos_val", "oos_test"), ("oos_val",)])
def test_queries_out_of_scope_may_be_absent(
    project: Path, overrides: list[str], tmp_path: Path, without: tuple[str, ...]
) -> None:
    fetch(overrides, *write_data_set(tmp_path / "own", micro_data_set() | {key: [] for key in without}))
    report = json.loads((project / "reports/data.json").read_text())
    assert [report[split]["out_of_scope"] for split in UPSTREAM] == [
        0 if f"oos_{theirs}" in without else count
        for theirs, count in zip(UPSTREAM.values(), (20, 10, 10), strict=True)
    ]
    assert Corpus().intents.names[-1] == "oos"


def test_a_file_that_dvc_would_not_watch_is_refused(project: Path, overrides: list[str], tmp_path: Path) -> None:
    own = write_data_set(tmp_path / "own", micro_data_set())
    with pytest.raises(PipelineError, match=r"^`dataset.watched` is '.*elsewhere', and `dataset.file`, '.*micro.json'"):
        fetch(overrides, *own, f"dataset.watched={tmp_path / 'elsewhere'}")
    assert contents(project / "data") == {}
