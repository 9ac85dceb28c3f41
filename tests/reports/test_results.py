"""results: what the report and the README's block say."""

from typing import Any

import pandas as pd
import pytest

from intents.reports import results
from intents.reports.results import Mistakes

Benchmark = dict[str, Any]
MISTAKES = Mistakes("half-ort-dynamic", 3, 4000, "| worst |", "| pairs |", "| answering |", (0.0512, 0.0234))
DESCRIPTION = {
    "test": {"in_scope": 10, "out_of_scope": 2, "tokens": {"p50": 11}},
    "train": {"in_scope": 10, "out_of_scope": 2, "tokens": {"p50": 11}},
    "overlaps": {},
}


def prose(text: str) -> str:
    """The text with line breaks taken for the spaces they are."""
    return " ".join(text.split())


def rows(text: str) -> list[str]:
    """The first cells of the main table."""
    table = text[text.index("| variant |") :].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def report(benchmark: Benchmark, pictures: set[str] | None = None, **sensitivities: Any) -> str:
    return results.report(benchmark, DESCRIPTION, sensitivities, MISTAKES, pictures or set())


def test_the_readme_shows_the_teacher_the_front_and_the_best(benchmark: Benchmark) -> None:
    text = results.readme_summary(benchmark)
    assert rows(text) == ["teacher ◆", "teacher-onnx ◆", "**half-ort-dynamic** ◆"]
    assert "[the report](reports/report.md) has all 11 variants" in text
    assert rows(results.readme_summary(benchmark | {"best": "half-ort-static"}))[-1] == "**half-ort-static**"


def test_the_readme_says_nothing_of_more_where_it_shows_all(benchmark: Benchmark) -> None:
    benchmark["variants"] = {name: row for name, row in benchmark["variants"].items() if row["pareto"]}
    assert "The table has" not in results.readme_summary(benchmark)


def test_the_report_shows_all(benchmark: Benchmark) -> None:
    names = [name.replace("*", "").removesuffix(" ◆") for name in rows(report(benchmark))]
    assert names == list(benchmark["variants"])


@pytest.mark.parametrize("write", [results.readme_summary, report])
def test_the_best_variant_is_told_of_with_both_speedups(benchmark: Benchmark, write: Any) -> None:
    assert (
        "Best deployable variant: **half-ort-dynamic**, 5.0 times smaller than the teacher, 12.5 times faster than its "
        "Hugging Face pipeline and 5.0 times faster than the teacher in ONNX Runtime float32. It is the most accurate "
        "of the deployable variants that lose at most 1 point against the teacher on validation and are at most 10 % "
        "slower than the fastest of them."
    ) in prose(write(benchmark))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("excluded", "1 point is excluded, with"), ("open", "1 point is neither excluded nor certain,")],
)
@pytest.mark.parametrize("write", [results.readme_summary, report])
def test_the_budget_is_answered_as_far_as_validation_can_tell(
    benchmark: Benchmark, write: Any, verdict: str, said: str
) -> None:
    best = benchmark["variants"][benchmark["best"]]
    best["loss_beyond_budget"] = verdict
    best["validation"] |= {"change": -0.004, "change_interval": [-0.009, 0.001]}
    text = prose(write(benchmark))
    assert (
        "judged with a threshold that other queries gave, it changes accuracy by -0.40 [-0.90, +0.10] points." in text
    )
    assert f"So a loss of more than {said}" in text


def test_the_report_says_what_its_comparisons_do_not_show(benchmark: Benchmark) -> None:
    text = prose(report(benchmark))
    assert "So the difference is that of learning from this teacher" in text
    assert "these rows do not say at which sparsity movement wins" in text
    benchmark["variants"] = {name: row for name, row in benchmark["variants"].items() if "movement" not in name}
    assert "at which sparsity" not in report(benchmark)


@pytest.mark.parametrize("write", [results.readme_summary, report])
def test_without_a_best_variant_the_deployed_one_is_told_of(benchmark: Benchmark, write: Any) -> None:
    text = write(benchmark | {"best": None, "deployed": "half-ort-static"})
    assert (
        "No deployable variant is within 1 point of the teacher on validation. Deployed instead is the most accurate "
        "of the deployable variants, half-ort-static: 5.0 times smaller than the teacher, 10.0 times faster"
    ) in prose(text)
    assert "| **" not in text
    assert "half-ort-static" in rows(text)


@pytest.mark.parametrize("write", [results.readme_summary, report])
def test_beside_the_float_teacher_in_onnx_runtime_stands_its_fastest_int8_form(
    benchmark: Benchmark, write: Any
) -> None:
    rows = benchmark["variants"]
    assert "than in int8" not in write(benchmark)
    rows |= {f"teacher-ort-{method}": rows["teacher-onnx"] | {"p50_ms": ms} for method, ms in (("a", 2.6), ("b", 2.4))}
    rows["teacher-mpnet-ort-a"] = rows["teacher-onnx"] | {"p50_ms": 0.1}  # another teacher
    assert "5.0 times faster than the teacher in ONNX Runtime float32 (int8: 3.0 times). It is" in prose(
        write(benchmark)
    )


def test_without_the_teacher_in_onnx_runtime_no_speedup_against_it_is_claimed(benchmark: Benchmark) -> None:
    del benchmark["variants"]["teacher-onnx"]
    text = prose(report(benchmark))
    assert "12.5 times faster than its Hugging Face pipeline. It is the most accurate" in text
    assert "than teacher-onnx*" not in text


@pytest.mark.parametrize(
    ("drop", "allowed"), [(0.01, "lose at most 1 point against"), (0.005, "lose at most 0.5 points against")]
)
def test_the_budget_is_told_as_it_is(benchmark: Benchmark, drop: float, allowed: str) -> None:
    benchmark["budget"]["max_accuracy_drop"] = drop
    assert allowed in prose(results.readme_summary(benchmark))


def test_several_controls_are_told_of_together(benchmark: Benchmark) -> None:
    assert "On average" not in report(benchmark)
    labels = benchmark["variants"]["labels"]
    benchmark["variants"]["labels_1"] = labels | {"distilled": labels["distilled"] | {"gain": -0.002}}
    assert "On average of 2 pairs distillation gained +0.40 points, from -0.20 to +1.00." in prose(report(benchmark))


def test_without_controls_or_pruned_models_the_report_says_so(benchmark: Benchmark) -> None:
    for name in ("labels", "half-movement", "half-structured"):
        del benchmark["variants"][name]
    text = report(benchmark)
    assert "No student that was trained on the labels alone is among the variants" in text
    assert "No pruned model is among the variants." in text


def test_a_machine_without_int8_products_is_told_of_as_such(benchmark: Benchmark) -> None:
    assert "(it multiplies int8 vectors)" in report(benchmark)
    benchmark["machine"]["int8_dot_product"] = False
    assert "no instruction that multiplies int8 vectors" in report(benchmark)


def test_batches_and_first_answers_are_told_of_where_they_were_measured(benchmark: Benchmark) -> None:
    assert "the median of some batches of 32 test queries" in prose(report(benchmark))
    assert "| half-ort-dynamic | 2,500 |" in report(benchmark)
    del benchmark["batch_size"]
    assert "### Batches, first answer" not in report(benchmark)


def test_peers_are_told_of_where_there_are_some(benchmark: Benchmark) -> None:
    assert "## Peers" not in report(benchmark)
    benchmark["variants"]["peer-tfidf"] = benchmark["variants"]["half-ort-static"] | {"size_mb": 3.0}
    assert "better than half-ort-dynamic in |" in report(benchmark)
    assert "never chosen as the best variant" in prose(report(benchmark))


def test_the_report_shows_the_pictures_that_there_are(benchmark: Benchmark) -> None:
    for name in ("weights", "sparsity", "structure"):
        assert f"(figures/{name}.png)" not in report(benchmark)
        assert f"(figures/{name}.png)" in report(benchmark, {name})


@pytest.mark.parametrize(
    ("changed", "worth", "said"),
    [
        (0.005, {}, ["No node has to stay in float32", "(`sensitivity.worth`): no node is."]),
        (0.080, {}, ["Some nodes have to stay in float32"]),
        (0.005, {"a": 0.4, "b": 0.26}, ["(`sensitivity.worth`): `a` (spares 40 %), `b` (spares 26 %)."]),
    ],
)
def test_sensitivity_is_told_with_its_verdict(
    benchmark: Benchmark, changed: float, worth: dict[str, float], said: list[str]
) -> None:
    verdict = {"model": "half", "queries": 1000, "allowed": 0.05, "worth": 0.25, "worth_excluding": worth}
    verdict["all"] = {"changed": changed, "mean_difference": 0.0333}
    columns = ["changed", "mean_difference", "max_difference", "spares"]
    nodes = pd.DataFrame(0.1, index=[f"node{number}" for number in range(10)], columns=columns)
    text = report(benchmark, static=(verdict, nodes))
    for sentence in [
        *said,
        "The 8 costliest of 10 nodes:",
        f"changes {100 * changed:.2f} % of 1,000 validation answers",
    ]:
        assert sentence in prose(text)
    assert "| `node7` |" in text
    assert "| `node8` |" not in text
    assert "(figures/sensitivity-static.png)" in text


@pytest.mark.parametrize(("best", "deployed", "expected"), [("a", "a", "a"), (None, "b", "b"), (None, None, "teacher")])
def test_the_variant_looked_at_is_the_best_or_the_deployed_one(
    best: str | None, deployed: str | None, expected: str
) -> None:
    assert results.shown({"best": best, "deployed": deployed}) == expected


def test_the_student_in_int8_is_the_first_that_is_not_the_teacher() -> None:
    names = [
        "teacher",
        "half",
        "teacher-torch-dynamic",
        "half-qat-torch-static",
        "half-torch-dynamic",
        "half-ort-static",
    ]
    found = results.student_in_int8(names)
    assert found is not None
    assert found.name == "half-qat-torch-static"
    assert results.student_in_int8(names[:3]) is None


def test_wrong_answers_are_told_of_with_their_tables_and_pictures(benchmark: Benchmark) -> None:
    text = prose(report(benchmark))
    assert "half-ort-dynamic answers 3 of 4,000 validation queries wrongly, with the rule." in text
    assert "calibration error of half-ort-dynamic is 5.12 % as it is, and 2.34 % with a temperature" in text
    for part in ("| worst |", "| pairs |", "| answering |", "(figures/intents.png)", "(figures/confusions.png)"):
        assert part in text


def test_without_a_wrong_answer_there_is_no_table_of_them(benchmark: Benchmark) -> None:
    right = MISTAKES._replace(wrong=0, intents="", pairs="")
    text = results.report(benchmark, DESCRIPTION, {}, right, set())
    assert "half-ort-dynamic answers all 4,000 validation queries rightly." in text
    assert "(figures/intents.png)" not in text
    assert "(figures/coverage.png)" in text
