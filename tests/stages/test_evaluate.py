"""evaluate: everything from cached logits, here made by hand, in a project in which no model was trained."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import ROWS, VARIANTS, answers, evaluated
from conftest import compose, run
from made import LABELS, logits_of, read
from safetensors.numpy import save_file

from intents.evaluation import quality, statistics, threshold
from stages import evaluate

PARENTS = {
    "half-torch-dynamic": "half",
    **{f"{model}-onnx": model for model in ("teacher", "half", "half-structured")},
    **{f"{model}-ort-static": f"{model}-onnx" for model in ("teacher", "half", "half-structured")},
}
MEASURES = ("accuracy", "accuracy_with_rule")


def scores(logits: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))


def right(name: str, at: float, split: str = "test") -> dict[str, np.ndarray]:
    """Which queries a variant answers rightly, by arg-max and with a threshold."""
    logits = logits_of(name)[split]
    plain = logits.argmax(axis=1)
    return {
        "accuracy": plain == LABELS,
        "accuracy_with_rule": np.where(scores(logits) < at, 3, plain) == LABELS,
    }


def test_every_declared_variant_has_a_row_in_the_order_of_the_table(rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == VARIANTS
    assert list(read("reports/manifest.json")) == VARIANTS


def test_accuracies_are_those_of_the_logits_files(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        for ending, found in zip(("", "_with_rule"), right(name, row["threshold"]).values(), strict=True):
            assert row[f"accuracy{ending}"] == pytest.approx(found.mean(), abs=1e-6)
            assert row[f"in_scope_accuracy{ending}"] == pytest.approx(found[LABELS != 3].mean(), abs=1e-6)
            assert row[f"oos_recall{ending}"] == pytest.approx(found[LABELS == 3].mean(), abs=1e-6)
    assert len({row["accuracy_with_rule"] for row in rows.values()}) > 1
    assert any(row["accuracy"] != row["accuracy_with_rule"] for row in rows.values())


def test_validation_is_judged_at_the_expected_rate_with_thresholds_of_other_queries(
    rows: dict[str, dict[str, Any]],
) -> None:
    outside, held_out = LABELS == 3, {}
    for name, row in rows.items():
        found = right(name, row["threshold"], "validation")
        held_out[name] = quality.cross_fitted(logits_of(name)["validation"], LABELS, 0.2) == LABELS
        change, interval = statistics.weighted_difference(
            held_out[name], held_out["teacher"], outside, 0.2, samples=10000, seed=0
        )
        assert row["validation"].pop("change_interval") == pytest.approx(list(interval), abs=1e-6)
        assert row["validation"] == pytest.approx(
            {
                "accuracy": found["accuracy"].mean(),
                "accuracy_with_rule": found["accuracy_with_rule"].mean(),
                "expected_accuracy_with_rule": 0.8 * held_out[name][~outside].mean()
                + 0.2 * held_out[name][outside].mean(),
                "change": change,
            },
            abs=1e-6,
        )
    assert rows["teacher"]["validation"]["change"] == 0
    assert any(row["validation"]["change"] < 0 for row in rows.values())


def test_the_threshold_is_calibrated_on_validation_at_the_stated_rate(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        logits = logits_of(name)
        assert row["threshold"] == pytest.approx(threshold.calibrate(logits["validation"], LABELS, 0.2), abs=1e-6)
    assert len({row["threshold"] for row in rows.values()}) == len(VARIANTS)
    compose(*ROWS, "out_of_scope.rate=0.9")
    run(evaluate)
    moved = [row["threshold"] - rows[name]["threshold"] for name, row in evaluated().items()]
    assert min(moved) >= 0
    assert max(moved) > 0


def test_parity_is_that_of_the_logits_files_with_the_model_that_it_was_converted_from(
    rows: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, row in rows.items() if "parity" in row} == set(PARENTS)
    for name, parent in PARENTS.items():
        theirs, ours = (logits_of(variant)["validation"] for variant in (parent, name))
        assert rows[name]["parity"] == pytest.approx(
            {
                "parent": parent,
                "queries": 40,
                "max_logit_difference": np.abs(theirs - ours).max(),
                "mean_logit_difference": np.abs(theirs - ours).mean(),
                "agreement": (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean(),
            },
            abs=1e-6,
        )


def test_changes_are_against_the_teacher_query_by_query(rows: dict[str, dict[str, Any]]) -> None:
    found = {name: right(name, row["threshold"]) for name, row in rows.items()}
    for name, row in rows.items():
        for measure in MEASURES:
            change, interval = statistics.paired_difference(
                found[name][measure], found["teacher"][measure], samples=10000, seed=0
            )
            assert row[f"{measure}_change"] == pytest.approx(row[measure] - rows["teacher"][measure], abs=2e-6)
            assert row[f"{measure}_change"] == pytest.approx(change, abs=1e-6)
            assert row[f"{measure}_change_interval"] == pytest.approx(list(interval), abs=1e-6)
            assert row[f"{measure}_change_interval"][0] <= change <= row[f"{measure}_change_interval"][1]
    assert rows["teacher"]["accuracy_change"] == 0
    assert rows["teacher"]["accuracy_change_interval"] == [0, 0]
    assert any(row["accuracy_change"] < 0 for row in rows.values())


def test_a_control_says_what_distilling_gained(rows: dict[str, dict[str, Any]]) -> None:
    assert [name for name, row in rows.items() if "distilled" in row] == ["labels"]
    distilled, control = (right(name, rows[name]["threshold"])["accuracy_with_rule"] for name in ("half", "labels"))
    gain, interval = statistics.paired_difference(distilled, control, samples=10000, seed=0)
    assert rows["labels"]["distilled"] == {
        "against": "half",
        "accuracy_with_rule": rows["half"]["accuracy_with_rule"],
        "gain": pytest.approx(distilled.mean() - control.mean(), abs=1e-6),
        "gain_interval": pytest.approx(list(interval), abs=1e-6),
    }
    assert gain != 0


def test_what_the_maker_said_is_kept_but_for_the_accuracy_that_is_computed_anew(
    rows: dict[str, dict[str, Any]],
) -> None:
    for place, (name, row) in enumerate(rows.items()):
        assert row["operators"] == {"MatMul": place}, name
        assert row["validation"]["accuracy"] >= 0


def test_which_queries_were_answered_rightly_is_kept(rows: dict[str, dict[str, Any]]) -> None:
    with Path("reports/correct.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["test_row", "intent", *VARIANTS]
    assert [line["intent"] for line in table] == [("alarm", "music", "weather", "oos")[label] for label in LABELS]
    assert [int(line["test_row"]) for line in table] == list(range(40))
    for name, row in rows.items():
        found = np.array([int(line[name]) for line in table])
        assert (found == right(name, row["threshold"])["accuracy_with_rule"]).all()


def test_the_digest_is_over_the_answers_that_the_rule_gives(by_hand: Path) -> None:
    """half-onnx answers as half does, with other logits; half-structured-onnx differs from its model in one answer."""
    for parent, place in (("half", 1), ("half-structured", 3)):
        save_file(
            {split: logits + 1e-5 for split, logits in answers(place).items()},
            f"data/logits/{parent}-onnx.safetensors",
        )
    logits = logits_of("half-structured-onnx")
    logits["test"][0] = [0, 0, 9, 0]
    save_file(logits, "data/logits/half-structured-onnx.safetensors")
    run(evaluate)
    digests = {name: row["answers_sha256"] for name, row in evaluated().items()}
    assert digests["half-onnx"] == digests["half"]
    assert digests["half-structured-onnx"] != digests["half-structured"]


def test_in_the_tiny_project_it_judges_every_variant(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built_once)
    for name, row in evaluated().items():
        found = right(name, row["threshold"])
        for measure in MEASURES:
            assert row[measure] == pytest.approx(found[measure].mean(), abs=1e-6)
        said = read(f"reports/models/{name}.json")[name]
        assert row["validation"]["accuracy"] == said.pop("validation")["accuracy"]
        assert {key: row[key] for key in said} == said
