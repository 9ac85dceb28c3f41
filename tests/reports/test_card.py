"""The model card and the notice: what they say follows from the benchmark and the parameters."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from conftest import ROOT

from intents.core.variants import parse
from intents.reports import card
from intents.reports.card import Data, Origin, Plain

CLINC = Data(config="plus", hub_dataset="clinc/clinc_oos")
MINILM = Origin(checkpoint="sentence-transformers/all-MiniLM-L6-v2", revision="abc123", licence="apache-2.0")
NAME = "narrow-ort-static"
PLAIN = Plain(size_mb=2.63, queries=3100, changed=3, difference=0.0491, batch=32, changed_in_batches=7)


@pytest.fixture
def benchmark() -> dict[str, Any]:
    """Figures that are each told from any other."""
    row = {
        "threshold": 9.4657,
        "temperature": 1.0771,
        "ece": {"before": 0.0301, "after": 0.0175},
        "size_mb": 2.04,
        "p50_ms": 0.2613,
        "p95_ms": 0.3127,
        "accuracy": 0.8538,
        "accuracy_with_rule": 0.9187,
        "in_scope_accuracy_with_rule": 0.9355,
        "oos_recall_with_rule": 0.8432,
        "accuracy_with_rule_change": -0.0207,
        "accuracy_with_rule_change_interval": [-0.0265, -0.0149],
        "size_ratio_vs_teacher": 42.53,
        "speedup_vs_teacher": 41.71,
    }
    return {"machine": {"cpu": "A Processor", "threads": 1}, "variants": {NAME: row}}


def pages(benchmark: dict[str, Any], data: Data = CLINC, origin: Origin = MINILM) -> dict[str, str]:
    return card.pages(benchmark, parse(NAME), 150, 0.2, data, origin, PLAIN)


def front(text: str) -> dict[str, Any]:
    """The front matter, as the Hub reads it."""
    empty, matter, _ = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(matter)


def test_the_front_matter_names_what_the_model_was_made_of(benchmark: dict[str, Any]) -> None:
    matter = front(pages(benchmark)["README.md"])
    assert matter["datasets"] == ["clinc/clinc_oos"]
    assert (matter["base_model"], matter["language"], matter["license"]) == (MINILM.checkpoint, "en", "mit")


def test_every_figure_is_that_of_the_benchmark(benchmark: dict[str, Any]) -> None:
    text = " ".join(pages(benchmark)["README.md"].split())
    for shown in (
        *("| accuracy with the rule | 91.87 % |", "| in scope, with the rule | 93.55 % |"),
        *("| out of scope found, with the rule | 84.32 % |", "| accuracy by arg-max alone | 85.38 % |"),
        *("-2.07 [-2.65, -1.49]", "raw | 3.01 %", "with the temperature | 1.75 %", "median | 0.26 ms"),
        *("percentile | 0.31 ms", "teacher | 42.5 times", "pipeline | 41.7 times", "on 1 thread of A Processor"),
        *("temperature of 1.077,", "threshold of 9.466 ", "2.0 MiB", "recognises 150 intents", "which 20 % is out"),
    ):
        assert shown in text, shown


def test_batches_and_first_answers_are_told_of_where_they_were_measured(benchmark: dict[str, Any]) -> None:
    assert "a fresh process" not in pages(benchmark)["README.md"]
    benchmark["variants"][NAME] |= {"queries_per_second": 4821.3, "first_answer_ms": 251.4, "peak_memory_mb": 71.6}
    text = pages(benchmark | {"batch_size": 32})["README.md"]
    for shown in ("in batches of 32 | 4,821 queries", "to its first answer | 251 ms", "peak memory | 72 MiB"):
        assert shown in text, shown


def test_the_plain_graph_is_told_with_its_figures_or_that_there_is_none(benchmark: dict[str, Any]) -> None:
    text = " ".join(pages(benchmark)["README.md"].split())
    for shown in (
        *("ONNX alone, 2.6 MiB", "(batch by 151)", "Of 3,100 validation queries, 3 have another answer"),
        *("and 7 in padded batches of 32;", "differ by at most 0.049."),
    ):
        assert shown in text, shown
    without = card.pages(benchmark, parse(NAME), 150, 0.2, CLINC, MINILM, None)["README.md"]
    assert "onnx/model.onnx" not in without
    assert "there is no graph" in without


def test_others_have_their_attribution_and_their_licence(benchmark: dict[str, Any]) -> None:
    found = pages(benchmark)
    assert found.pop("LICENSE-APACHE").strip().startswith("Apache License\n                           Version 2.0")
    for text in found.values():
        for shown in ("Larson", "CC BY 3.0", "github.com/clinc/oos-eval", MINILM.checkpoint, "apache-2.0"):
            assert shown in text, shown


def test_of_data_and_a_checkpoint_of_ones_own_nothing_is_said_that_is_not_known(benchmark: dict[str, Any]) -> None:
    own = Origin(checkpoint="/home/me/model", revision=None, licence=None)
    found = pages(benchmark, Data(config="local", hub_dataset=None), own)
    assert set(found) == {"README.md", "NOTICE"}
    matter = front(found["README.md"])
    assert not {"datasets", "base_model", "language"} & set(matter)
    for text in found.values():
        assert "CLINC" not in text
        assert "/home/me" not in text
        assert "None" not in text


@pytest.mark.parametrize("config", ["small", "full"])
def test_another_configuration_of_the_data_set_is_named(benchmark: dict[str, Any], config: str) -> None:
    assert f"CLINC150 (`{config}`)" in pages(benchmark, replace(CLINC, config=config))["README.md"]


def test_every_checkpoint_of_conf_names_its_licence() -> None:
    for path in (ROOT / "conf/teacher").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["licence"], path.name


def test_without_queries_out_of_scope_the_card_claims_none_found(benchmark: dict[str, Any]) -> None:
    benchmark["variants"][NAME] |= {"oos_recall_with_rule": None, "quantile": 0.02}
    text = card.pages(benchmark, parse(NAME), 150, None, CLINC, MINILM, PLAIN)["README.md"]
    assert "out of scope found" not in text
    assert "The threshold is one under which 2.0 % of the\nvalidation queries" in text.replace("\n  ", "\n")
    assert "None" not in text
