"""dataset: every format is read as it means, missing splits are made, and what is wrong is told by line."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import yaml
from conftest import ROOT, compose, contents, run, run_tool

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.data.corpus import Corpus, normalized
from stages import fetch_clinc
from tools.dataset import __main__ as tool

FIXTURES = Path(__file__).parent / "fixtures"
Read = dict[str, list[list[str]]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root, but for the stages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/dataset").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the tool on fixtures or files: the data set that it wrote, and what it printed."""

    def call(*words: str, name: str = "own") -> tuple[Read, str]:
        found = [str(FIXTURES / word) if word and (FIXTURES / word).exists() else word for word in words]
        run_tool(tool, monkeypatch, *found, "--name", name)
        return json.loads(Path(f"data/own/{name}/data.json").read_text()), capsys.readouterr().out

    return call


def rows(read: Read) -> Counter[tuple[str, str]]:
    return Counter((text, intent) for split in read.values() for text, intent in split)


def intents(read: Read) -> dict[str, int]:
    return dict(Counter(intent for _, intent in rows(read)))


def domains(name: str = "own") -> dict[str, list[str]]:
    return json.loads(Path(f"data/own/{name}/domains.json").read_text())


def at(file: str, line: int) -> str:
    return f"{FIXTURES / file}:{line}"


# Formats.


def test_rasa_yaml(dataset: Any) -> None:
    read, said = dataset("nlu.yml")
    assert intents(read) == {
        **{"greet": 5, "book_table": 5, "faq/hours": 3, "faq/address": 3, "greet+book_table": 3, "oos": 3, "lonely": 1},
    }
    texts = {text for text, _ in rows(read)}
    assert texts >= {"a table for two in paris", "a table in lyon", "the quiet corner please", "when do you close late"}
    assert texts >= {"where are you", "which street is it", "what is your address", "hello, a table for three"}
    assert domains()["faq"] == ["faq/address", "faq/hours"]
    assert "blocks passed over, they hold no queries: 1 synonym, 1 regex, 1 lookup" in said
    assert "'nlu_fallback': 3 rows" in said
    assert f"'greet+book_table': 3 rows, {at('nlu.yml', 35)}" in said
    assert f"'lonely': 1, {at('nlu.yml', 45)}" in said
    assert "faq/...: 2 intents" in said
    contradiction = f"{at('nlu.yml', 7)} (greet), {at('nlu.yml', 8)} (greet), {at('nlu.yml', 20)} (book_table)"
    assert f"contradictions: one text, several intents: 1\n  'good morning': {contradiction}" in said


def test_retrieval_intents_can_be_merged_into_their_group(dataset: Any) -> None:
    read, _ = dataset("nlu.yml", "--retrieval", "base")
    assert intents(read)["faq"] == 6


def test_rasa_markdown(dataset: Any) -> None:
    read, said = dataset("nlu.md")
    assert intents(read) == {"greet": 3, "faq/price": 3, "bye": 3}
    assert {"hello bot", "how much is a large one"} <= {text for text, _ in rows(read)}
    assert "blocks passed over, they hold no queries: 1 synonym, 1 regex, 1 lookup" in said
    assert f"duplicates: 1\n  'hello bot': {at('nlu.md', 8)}, {at('nlu.md', 10)}" in said


def test_rasas_older_json(dataset: Any) -> None:
    read, said = dataset("rasa.json", "--validation", "0.2")
    assert intents(read) == {"greet": 3, "airfare": 3, "flight+airfare": 1, "airfare+flight": 1}
    alike = f"'flight+airfare' ({at('rasa.json', 5)}) and 'airfare+flight' ({at('rasa.json', 7)})"
    assert f"intents whose names are nearly the same: 1\n  {alike}" in said
    assert "regex_features passed over" in said


def test_a_dialogflow_export_in_one_of_its_languages(dataset: Any) -> None:
    with pytest.raises(PipelineError, match="has phrases in en, es; say which with --language"):
        dataset("dialogflow")
    read, said = dataset("dialogflow", "--language", "en")
    assert set(rows(read)) == {
        *(
            ("a pizza with olives", "order pizza"),
            ("pizza please", "order pizza"),
            ("I want two pizzas", "order pizza"),
        ),
        *(("never mind", "cancel"), ("stop the order", "cancel"), ("cancel it", "cancel")),
    }
    assert "1 templates passed over" in said


def test_folders_of_sequences_and_labels(dataset: Any) -> None:
    read, _ = dataset("sequences")
    assert [len(read[split]) for split in ("train", "val", "test")] == [4, 2, 2]
    assert read["test"] == [["play the blues", "music"], ["snow today", "weather"]]


def test_clincs_schema_with_splits_and_rows_of_both_kinds(dataset: Any) -> None:
    read, said = dataset("clinc.json")
    assert [len(read[key]) for key in ("train", "oos_train", "val", "oos_val", "test")] == [4, 1, 2, 0, 2]
    assert ["set an alarm", "alarm"] in read["train"]
    assert f"leaks: one text in several splits: 1\n  'play jazz': {at('clinc.json', 5)}, {at('clinc.json', 9)}" in said
    assert "'about' passed over, it is no split" in said
    assert "validation has no out-of-scope rows: a threshold is then a quantile" in said


def test_a_table_with_a_byte_order_mark_semicolons_and_line_breaks_in_quotes(dataset: Any) -> None:
    read, said = dataset("bank.csv", "--domain", "scenario")
    assert intents(read) == {"lost?": 2, "Block": 3, "balance": 3}
    assert rows(read)[("card; lost", "lost?")] == rows(read)[('say "block"', "Block")] == 1
    assert domains() == {"Account": ["balance"], "Card": ["Block", "lost?"]}
    assert f"rows left out: 1\n  {at('bank.csv', 6)}: a text that is empty" in said
    assert f"duplicates: 1\n  'My card is gone': {at('bank.csv', 3)}, {at('bank.csv', 4)}" in said
    assert f"texts with marks of entities (--entity-marks removes them): 1\n  {at('bank.csv', 12)}" in said
    read, _ = dataset("bank.csv", "--entity-marks", "--intent", "scenario,category")
    assert rows(read)[("show the account", "Account_balance")] == 1


def test_json_lines_with_a_column_of_splits(dataset: Any) -> None:
    read, said = dataset("rows.jsonl")
    assert [len(read[split]) for split in ("train", "val", "test")] == [4, 2, 2]
    assert (
        f"rows left out: 2\n  {at('rows.jsonl', 8)}: a text that is empty\n  {at('rows.jsonl', 9)}: a text with" in said
    )


@pytest.mark.parametrize("number", [False, True])
def test_parquet(dataset: Any, number: bool) -> None:
    labels = ["a", "b"] * 4
    frame = pd.DataFrame({"id": range(8), "Text": [f"query {i}" for i in range(8)], "Label": labels})
    if number:
        frame["Label"] = [0, 1] * 4
    frame.to_parquet("own.parquet")
    read, _ = dataset("own.parquet")
    assert intents(read) == ({"0": 4, "1": 4} if number else {"a": 4, "b": 4})


def test_a_cell_of_parquet_that_is_missing_is_a_row_left_out(dataset: Any) -> None:
    frame = pd.DataFrame({"text": [f"query {i}" for i in range(8)], "intent": ["a", "b"] * 4}, dtype="string")
    frame.loc[3, "text"] = frame.loc[4, "intent"] = pd.NA
    frame.to_parquet("own.parquet")
    read, said = dataset("own.parquet")
    assert intents(read) == {"a": 3, "b": 3}
    assert "rows left out: 2\n" in said


def test_a_list_in_a_cell_of_parquet_is_told(dataset: Any) -> None:
    pd.DataFrame({"text": ["one", "two"], "intent": [["a", "b"], ["a"]]}).to_parquet("own.parquet")
    with pytest.raises(PipelineError, match=r"own\.parquet:row 1 has .* as its intent; allowed: a text"):
        dataset("own.parquet")


def test_the_domain_of_an_intent_is_the_first_that_a_row_says(dataset: Any) -> None:
    lines = ["text,intent,domain", *(f"query {i},greet,{'' if i % 2 else 'talk'}" for i in range(8))]
    lines += [f"order {i},buy," for i in range(8)]
    Path("own.csv").write_text("\n".join(lines) + "\n")
    dataset("own.csv", "--domain", "domain")
    assert domains() == {"own": ["buy"], "talk": ["greet"]}


def test_a_data_set_on_the_hub(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pay", "lost"])})
    texts = {
        "train": ["pay it", "pay up", "lost it", "it is lost", "gone", "pay now"],
        "test": ["pay me", "all is lost"],
    }
    answer = {"train": [0, 0, 1, 1, 1, 0], "test": [0, 1]}
    published = datasets.DatasetDict(
        {split: datasets.Dataset.from_dict({"text": texts[split], "label": answer[split]}, kinds) for split in texts}
    )
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *words, **more: asked.append((words, more)) or published)
    read, _ = dataset("someone/bank", "--config", "en", "--revision", "abc")
    assert asked == [(("someone/bank", "en"), {"revision": "abc"})]
    assert read["test"] == [["all is lost", "lost"], ["pay me", "pay"]]
    assert [len(read[split]) for split in ("train", "val")] == [4, 2]


# Splits.


def many(intents: int, texts: int) -> Path:
    lines = [f"query {text} of {intent},intent {intent}" for intent in range(intents) for text in range(texts)]
    Path("many.csv").write_text("\n".join(["text,intent", *lines]) + "\n")
    return Path("many.csv")


def test_made_splits_are_stratified_seeded_and_share_no_text(dataset: Any) -> None:
    """77 intents without validation, test or out-of-scope rows, as public files often are."""
    many(77, 20)
    read, said = dataset("many.csv")
    for split, count in (("train", 14), ("val", 3), ("test", 3)):
        assert set(Counter(intent for _, intent in read[split]).values()) == {count}
    texts = [normalized(text) for split in read.values() for text, _ in split]
    assert len(texts) == len(set(texts)) == 77 * 20
    assert dataset("many.csv") == (read, said)
    other, _ = dataset("many.csv", "--seed", "1")
    assert rows(other) == rows(read)
    assert other != read
    more, _ = dataset("many.csv", "--validation", "0.3", "--test", "0.1")
    assert [len(more[split]) for split in ("train", "val", "test")] == [77 * 12, 77 * 6, 77 * 2]


@pytest.mark.parametrize("given", ["test", "validation"])
def test_a_split_that_is_given_stays_and_what_it_shares_stays_in_training(dataset: Any, given: str) -> None:
    many(5, 20)
    Path("held.csv").write_text(
        "text,intent\n" + "".join(f"Query 1 of {i},intent {i}\nnew {i},intent {i}\n" for i in range(5))
    )
    read, said = dataset("many.csv", f"{given}=held.csv")
    held, made = ("test", "val") if given == "test" else ("val", "test")
    assert len(read[held]) == 10
    assert len(read[made]) == 15
    assert {text for text, _ in read["train"]} >= {f"query 1 of {i}" for i in range(5)}
    assert "leaks: one text in several splits: 5" in said


def test_two_thousand_intents_and_two_of_one_text_each(dataset: Any) -> None:
    many(2000, 3)
    read, _ = dataset("many.csv")
    assert [len(read[split]) for split in ("train", "val", "test")] == [2000, 2000, 2000]
    many(2, 1)
    with pytest.raises(PipelineError, match="2 rows of 2 intents are too few to take validation from"):
        dataset("many.csv")


def test_contradictory_texts_are_only_trained_on(dataset: Any) -> None:
    read, _ = dataset("nlu.yml")
    assert {intent for text, intent in read["train"] if text == "good morning"} == {"greet", "book_table"}


# What comes out.


def test_the_pipeline_reads_what_was_written_and_sees_an_edit(dataset: Any, here: Path, overrides: list[str]) -> None:
    dataset("nlu.yml")
    option = yaml.safe_load(Path("conf/dataset/own.yaml").read_text())
    assert option.keys() == yaml.safe_load((ROOT / "conf/dataset/sample.yaml").read_text()).keys()
    chosen = [f"dataset.{key}={'null' if value is None else value}" for key, value in option.items()]
    compose(*overrides, *chosen)
    run(fetch_clinc)
    assert Corpus().intents.names == [*sorted(set(Corpus().intents.names) - {"oos"}), "oos"]
    assert len(Corpus().rows("train")) == 11
    data = here / "data/own/own/data.json"
    data.write_text(data.read_text().replace("hey there", "hey you"))
    with pytest.raises(PipelineError, match=r"expected .* \(dataset.file_sha256\)"):
        run(fetch_clinc)
    dataset("data/own/own/data.json")  # an edit is taken over by reading the file again
    assert yaml.safe_load(Path("conf/dataset/own.yaml").read_text())["file_sha256"] != option["file_sha256"]
    assert domains()["faq"] == ["faq/address", "faq/hours"]


def test_what_is_written_is_the_same_again_and_no_row_is_lost(dataset: Any, here: Path) -> None:
    read, _ = dataset("sequences")
    before = contents(here)
    (here / "data/own/own/mine.txt").write_text("kept")
    again, _ = dataset("data/own/own/data.json")
    assert again == read
    after = contents(here)
    assert {name: after[name] for name in before if name.startswith("data")} == {
        name: digest for name, digest in before.items() if name.startswith("data")
    }
    assert "data/own/own/mine.txt" in after


def test_five_thousand_rows_of_rasas_are_read_and_checked_in_five_seconds(dataset: Any) -> None:
    lines = ["nlu:"]
    for intent in range(100):
        lines += [f"- intent: number_{intent}", "  examples: |"]
        lines += [f"    - query {text} about [thing {intent}](thing), please" for text in range(50)]
    Path("big.yml").write_text("\n".join(lines) + "\n")
    begun = time.perf_counter()
    read, _ = dataset("big.yml")
    assert time.perf_counter() - begun < 5
    assert sum(rows(read).values()) == 5000


# One clear error.

TABLE = "text,intent\nwake me,alarm\nring,alarm\n"
RASA = "nlu:\n- intent: a\n  examples: |\n    - b\n"
REFUSED: dict[str, tuple[str, bytes, tuple[str, ...], str]] = {
    "a wrong column": (
        "a.csv",
        TABLE.encode(),
        ("--text", "query"),
        "a.csv has no column 'query'; it has: text, intent",
    ),
    "unknown columns": (
        "a.csv",
        b"words,kind\na,b\n",
        (),
        "no column with a name that says it is the text; it has: words",
    ),
    "no rows": ("a.csv", b"text,intent\n", (), "none of 0 rows"),
    "nothing": ("a.csv", b"", (), "a.csv is empty"),
    "one intent": ("a.csv", TABLE.encode() + b"up,alarm\n", (), "there is 1 intent in scope, 'alarm'; allowed: two"),
    "a comma too many": ("a.csv", b"text,intent\na,b\nc, d,e\n", (), "a.csv:3 has 3 columns, the first row 2"),
    "an open quote": ("a.csv", b'text,intent\n"a,b\nc,d\n', (), "a.csv, line 2, begins a row that is no CSV"),
    "latin-1": (
        "a.csv",
        "text,intent\na,b\nréserver,b\n".encode("latin-1"),
        (),
        "a.csv, line 3, is not utf-8: byte 0xe9",
    ),
    "no such encoding": ("a.csv", TABLE.encode(), ("--encoding", "klingon"), "'klingon' is no encoding"),
    "a split": ("a.csv", b"text,intent,split\na,b,later\n", (), "a.csv:2 has 'later' as its split; allowed: train"),
    "a name": ("a.csv", TABLE.encode(), ("--name", "a b"), "--name is 'a b'; allowed: a letter"),
    "a name that is taken": ("a.csv", TABLE.encode(), ("--name", "plus"), "is there already and not of your own"),
    "an ending": ("a.xlsx", b"", (), "a.xlsx ends in '.xlsx'; allowed: .csv"),
    "no file": ("a.csv", TABLE.encode(), ("b.csv",), "b.csv is no file and no folder here"),
    "json": ("a.jsonl", b'{"text": "a", "intent": "b"}\n{"text"\n', (), "a.jsonl:2 is not valid JSON"),
    "a list as text": (
        "a.jsonl",
        b'{"text": ["a"], "intent": "b"}\n',
        (),
        r"a.jsonl:1 has \['a'\] as its text; allowed",
    ),
    "a number as text": ("a.jsonl", b'{"text": 3, "intent": "b"}\n', (), "a.jsonl:1 has 3 as its text"),
    "no object": ("a.jsonl", b'"a"\n', (), "a.jsonl:1 is no object"),
    "broken json": ("a.json", b'{"train": [\n["a", "b"],\n["c" "d"]]}', (), "a.json, line 3, is not valid JSON"),
    "other json": ("a.json", b'{"words": ["a"]}', (), "a.json holds no list of rows, and no splits"),
    "deep json": ("a.json", b"[" * 100_000, (), "a.json"),
    "a row of three": ("a.json", b'{"train": [["a", "b"],\n["a", "b", "c"]]}', (), "a.json:2 is no object; allowed"),
    "broken yaml": ("a.yml", b"nlu:\n- intent: a\n  examples: [\n", (), "a.yml, line 4, is not valid YAML"),
    "other yaml": ("a.yml", b"rules: []\n", (), "a.yml has no section `nlu`"),
    "yaml that is no list": ("a.yml", b"nlu: 3\n", (), "`nlu` is no list"),
    "no examples": ("a.yml", b"nlu:\n- intent: a\n", (), "a.yml:2: intent 'a' has no examples"),
    "a line without a hyphen": ("a.yml", RASA.encode() + b"      c\n", (), "a.yml:5 is 'c'; allowed: `- query`"),
    "another block": ("a.yml", b"nlu:\n- entity: a\n", (), "a.yml:2 is no block; allowed: intent, synonym"),
    "other markdown": ("a.md", b"# words\n", (), "a.md has no heading `## intent:NAME`"),
    "markdown with prose": ("a.md", b"## intent:a\n- b\nc\n", (), "a.md:3 is 'c', below an intent"),
    "oos that is none": (
        "a.csv",
        b"text,intent\na,oos\nb,c\n",
        ("--out-of-scope", ""),
        "the intent 'oos' means out of scope",
    ),
    "no such oos": ("a.csv", TABLE.encode(), ("--out-of-scope", "other"), "names 'other', which no row has"),
    "test alone": ("a.csv", b"text,intent,split\na,b,test\n", (), "there are no rows to train on"),
    "parquet": ("a.parquet", b"PAR1", (), "a.parquet cannot be read as Parquet"),
    "unseen": (
        "a.csv",
        b"text,intent,split\na,b,train\nd,e,train\nb,b,dev\nf,g,test\n",
        (),
        "a.csv:5: intent 'g' is in test",
    ),
    "a delimiter": ("a.csv", TABLE.encode(), ("--delimiter", "ab"), "--delimiter is 'ab'; allowed: one character"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_one_line_and_nothing_is_written(dataset: Any, here: Path, kind: str) -> None:
    file, content, more, message = REFUSED[kind]
    (here / file).write_bytes(content)
    (here / "conf/dataset/plus.yaml").write_text("config: plus\n")
    before = contents(here)
    with pytest.raises(PipelineError, match=message) as error:
        run_with(dataset, file, list(more))
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
    assert contents(here) == before


def run_with(dataset: Any, file: str, words: list[str]) -> None:
    """As the fixture does, with the name where the words give one."""
    if words[:1] == ["--name"]:
        dataset(file, name=words[1])
    else:
        dataset(file, *words)


def test_latin_1_is_read_where_it_is_named(dataset: Any) -> None:
    lines = [f"réserver {number},réservation\nannuler {number},annulation" for number in range(4)]
    Path("a.csv").write_bytes("\n".join(["text,intent", *lines]).encode("latin-1"))
    read, _ = dataset("a.csv", "--encoding", "latin-1")
    assert intents(read) == {"réservation": 4, "annulation": 4}


def test_the_digest_is_that_of_the_rows(dataset: Any) -> None:
    dataset("sequences")
    option = yaml.safe_load(Path("conf/dataset/own.yaml").read_text())
    kept = {split: corpus.canonical([corpus.Row(*row) for row in of]) for split, of in _splits().items()}
    assert option["rows_sha256"] == corpus.digest(kept)


def _splits() -> Read:
    read = json.loads(Path("data/own/own/data.json").read_text())
    return {"train": read["train"], "validation": read["val"], "test": read["test"]}
