"""sources: the first that answers gives the rows, the same from each, and wrong content is never passed over."""

import json
from pathlib import Path

import datasets
import pytest
from conftest import compose, contents, run

from intents.core import files
from intents.core.errors import PipelineError
from intents.data import sources
from intents.data.corpus import Corpus, Row
from stages import fetch_clinc

PUBLISHED = {
    "train": [["wake me", "alarm"]],
    "val": [["ring", "alarm"]],
    "test": [["snooze", "alarm"]],
    "oos_train": [["volcano", "oos"]],
    "oos_val": [["tax", "oos"]],
    "oos_test": [["quark", "oos"]],
}


def fetch(overrides: list[str], *more: str) -> None:
    compose(*overrides, *more)
    run(fetch_clinc)


def setting(overrides: list[str], name: str) -> str:
    return next(value for key, _, value in (line.partition("=") for line in overrides) if key == f"dataset.{name}")


def test_the_mirror_is_the_first_source_and_gives_the_same_rows(
    project: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    run(fetch_clinc)
    from_file = contents(project / "data")
    monkeypatch.setenv("CLINC150_MIRROR", str(Path(setting(overrides, "file")).parent))
    with caplog.at_level("INFO"):
        fetch(overrides, "dataset.config=plus", "dataset.file=micro.json")
    assert contents(project / "data") == from_file
    assert "plus from mirror: {'train': 80, 'validation': 40, 'test': 40}" in caplog.messages


def test_the_hub_at_its_pinned_revision_gives_the_same_rows(
    project: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As `datasets` gives them: intents are numbers of a class label, in another order than ours."""
    run(fetch_clinc)
    expected = contents(project / "data")
    rows = sources.parse(Path(setting(overrides, "file")).read_bytes(), "micro")
    names = ["oos", *sorted({row.intent for row in rows["train"]} - {"oos"}, reverse=True)]
    features = datasets.Features({"text": datasets.Value("string"), "intent": datasets.ClassLabel(names=names)})
    published = datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"text": [row.text for row in of], "intent": [names.index(row.intent) for row in of]}, features
            )
            for split, of in rows.items()
        }
    )
    asked = []

    def load_dataset(*words: str, **options: str) -> datasets.DatasetDict:
        asked.append((words, options))
        return published

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setenv("CLINC150_MIRROR", str(project / "nowhere"))
    with caplog.at_level("INFO"):
        fetch(
            overrides,
            *("dataset.config=plus", "dataset.hub_dataset=clinc/clinc_oos", "dataset.hub_revision=abc123"),
        )
    assert asked == [(("clinc/clinc_oos", "plus"), {"revision": "abc123"})]  # and no remote code is trusted
    assert any(message.startswith("plus from hub") for message in caplog.messages)
    assert contents(project / "data") == expected


def test_upstream_answers_when_mirror_and_hub_do_not(
    project: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CLINC150_MIRROR", str(project / "nowhere"))
    source = ["dataset.config=plus", "dataset.hub_dataset=nobody/nothing", "dataset.hub_revision=main"]
    with caplog.at_level("INFO"):
        fetch(overrides, *source, f"dataset.upstream_url={Path(setting(overrides, 'file')).as_uri()}")
    assert [message.split(":")[0] for message in caplog.messages[:2]] == ["mirror", "hub"]
    assert any(message.startswith("plus from upstream") for message in caplog.messages)
    assert len(Corpus().rows("train")) == 80


def test_a_file_is_read_into_three_splits_with_both_kinds_of_queries() -> None:
    assert sources.parse(json.dumps(PUBLISHED).encode(), "file") == {
        "train": [Row("wake me", "alarm"), Row("volcano", "oos")],
        "validation": [Row("ring", "alarm"), Row("tax", "oos")],
        "test": [Row("snooze", "alarm"), Row("quark", "oos")],
    }


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"3", b"[" * 100_000, json.dumps(PUBLISHED | {"oos_val": None}).encode()),
        json.dumps({name: rows for name, rows in PUBLISHED.items() if name != "test"}).encode(),
    ],
)
def test_a_file_of_another_schema_is_refused(content: bytes) -> None:
    with pytest.raises(PipelineError, match=r"^own.json is not a data set in CLINC150's schema, \{\"train\": "):
        sources.parse(content, "own.json")


def test_the_digest_of_a_file_is_checked() -> None:
    assert sources.checked(b"rows", files.sha256(b"rows"), "own.json") == b"rows"
    with pytest.raises(PipelineError, match=rf"own.json has sha256 {files.sha256(b'rows')}, expected abc"):
        sources.checked(b"rows", "abc", "own.json")


def test_a_mirror_above_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared/clinc150").mkdir(parents=True)
    (tmp_path / "project/.dvc/tmp").mkdir(parents=True)
    monkeypatch.delenv("CLINC150_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path / "project/.dvc/tmp")
    assert sources.mirror_folder() == tmp_path / "shared/clinc150"
    (tmp_path / "shared/clinc150").rmdir()
    with pytest.raises(sources.UnavailableError, match=r"no folder above .*/project/.dvc/tmp has shared/clinc150$"):
        sources.mirror_folder()


def test_a_source_with_wrong_content_is_not_passed_over_for_the_next() -> None:
    def wrong() -> dict[str, list[Row]]:
        raise PipelineError("another file")

    def unavailable() -> dict[str, list[Row]]:
        raise sources.UnavailableError("no answer")

    def rows() -> dict[str, list[Row]]:
        return {"train": []}

    assert sources.first_that_answers({"one": unavailable, "two": rows}) == ("two", {"train": []})
    with pytest.raises(PipelineError, match=r"^another file$"):
        sources.first_that_answers({"one": wrong, "two": rows})
    with pytest.raises(PipelineError, match=r"no source of the data set answered: one \(no answer\)\. Point "):
        sources.first_that_answers({"one": unavailable})


def with_row(row: str) -> bytes:
    """The data set with a second training row, given as JSON."""
    return json.dumps(PUBLISHED).replace('[["wake me", "alarm"]]', f'[["wake me", "alarm"], {row}]').encode()


def test_a_row_may_be_an_object() -> None:
    rows = sources.parse(with_row('{"intent": "alarm", "text": "get up", "id": 3}'), "own.json")
    assert rows["train"][1] == Row("get up", "alarm")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('[null, "block_card"]', "has None as its query"),
        ('[NaN, "block_card"]', "has nan as its query"),
        ('[3, "block_card"]', "has 3 as its query"),
        ('[["a", "list"], "block_card"]', "has \\['a', 'list'\\] as its query"),
        ('["a query", null]', "has None as its intent"),
        ('["a query", 3]', "has 3 as its intent"),
        ('["a query"]', "is \\['a query'\\]; allowed: "),
        ('["a query", "alarm", 3]', "is \\['a query', 'alarm', 3\\]; allowed: "),
        ('"ab"', "is 'ab'; allowed: "),
        ('{"text": null, "intent": "alarm"}', "has None as its query"),
        ('{"query": "a", "intent": "alarm"}', "is {'query': 'a', 'intent': 'alarm'}; allowed: "),
        ('[" \\t", "alarm"]', "has as its query a text that is empty"),
        ('["a query", ""]', "has as its intent a text that is empty"),
        ('["half \\ud83d", "alarm"]', "has as its query a text with half a surrogate pair, U\\+D83D"),
        (json.dumps(["x" * 100_000]), "is "),
    ],
)
def test_a_row_without_a_text_or_an_intent_is_refused_with_its_place(row: str, reason: str) -> None:
    with pytest.raises(PipelineError, match=f"^row 2 of 'train' in own.json {reason}") as error:
        sources.parse(with_row(row), "own.json")
    assert len(str(error.value)) < 400


def test_a_file_in_another_encoding_is_refused_with_its_line_and_shortly() -> None:
    content = json.dumps(PUBLISHED, indent=1, ensure_ascii=False).replace("ring", "réserver").encode("latin-1")
    with pytest.raises(PipelineError, match=r"^own.json, line \d+, is not utf-8: byte 0xe9; save the file") as error:
        sources.parse(content * 1000, "own.json")
    assert len(str(error.value)) < 100


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_says_its_encoding_by_its_first_bytes(encoding: str) -> None:
    content = json.dumps(PUBLISHED).encode(encoding)
    assert sources.parse(content, "own.json") == sources.parse(json.dumps(PUBLISHED).encode(), "own.json")
