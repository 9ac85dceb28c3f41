"""Data of one's own, without validation, test or out-of-scope queries, goes through all stages and is watched."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, WORDS, micro_data_set
from dvc.repo import Repo
from pipeline.conftest import TINY, command, environment, lay_out

from tools import params

# As the tiny project, with fewer variants.
OWN = {key: TINY[key] for key in ("distill", "sensitivity", "evaluate", "benchmark", "plot")} | {
    "defaults": [
        "config",
        {"override dataset": "own"},
        {"override second_teacher": "none"},
        {"override student": ["half"]},
        {"override prune": ["structured"]},
        {"override qat": "none"},
        {"override quantize": ["static"]},
        {"override ort_quantize": ["static"]},
        "_self_",
    ],
    "student": {"half": TINY["student"]["half"]},
    "prune": {"structured": TINY["prune"]["structured"]},
    "quantize": TINY["quantize"],
    "ort_quantize": TINY["ort_quantize"],
}


def write_rasa(path: Path) -> None:
    """The micro data set's training queries in scope as Rasa's YAML, with an intent of one example."""
    lines = ["nlu:"]
    for intent in (name for name in WORDS if name != "oos"):
        queries = [text for text, name in micro_data_set()["train"] if name == intent]
        lines += [f"- intent: {intent}", "  examples: |", *(f"    - {text}" for text in queries)]
    path.write_text("\n".join([*lines, "- intent: faq/lonely", "  examples: |", "    - the only one", ""]))


@pytest.fixture
def fresh(tiny_checkpoint: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project before any stage ran, as the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    lay_out(folder, tiny_checkpoint)
    environment(monkeypatch, warm)
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "--quiet"], check=True)
    own = OWN | {"teacher": TINY["teacher"] | {"checkpoint": str(tiny_checkpoint)}}
    (folder / "conf/own.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    write_rasa(folder / "nlu.yml")
    return folder


def test_own_data_goes_through_all_stages_and_an_edit_is_seen(fresh: Path) -> None:
    assert "4 intents" in command(fresh, "tools.dataset", "nlu.yml", "--name", "own")
    params.compose(fresh / "params.yaml", "own")
    command(fresh, "dvc", "repro")

    rows = json.loads((fresh / "reports/benchmark.json").read_text())["variants"]
    assert len(rows) == 10
    assert {row["oos_recall_with_rule"] for row in rows.values()} == {None}
    assert {row["quantile"] for row in rows.values()} == {0.02}
    report = (fresh / "reports/report.md").read_text()
    assert "out of scope recalled" not in report
    assert "None" not in report
    assert "Trained on the user's own data set." in (fresh / "release/README.md").read_text()
    (fresh / "README.md").write_text((ROOT / "README.md").read_text())
    command(fresh, "tools.readme")
    assert "so a threshold is a quantile of its scores: 2.0 %" in (fresh / "README.md").read_text()
    assert "faq/lonely" in json.loads((fresh / "release/classifier.json").read_text())["intents"]

    with Repo() as repo:
        assert repo.status() == {}
    data = fresh / "data/own/own/data.json"
    data.write_text(data.read_text().replace("the only one", "the one and only"))
    with Repo() as repo:
        assert set(repo.status()) == {"fetch-clinc"}
