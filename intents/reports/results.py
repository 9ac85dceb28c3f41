"""The report and the README's block of results. Their text is in templates/, their tables in tables.py."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import pandas as pd

from intents.core.variants import Form, Variant, parse
from intents.reports import data_tables, tables
from intents.reports.markdown import render

Benchmark = Mapping[str, Any]
NODES_SHOWN = 8  # of a sensitivity table: the costliest


class Mistakes(NamedTuple):
    """The report's section on the wrong answers of one variant; intents.reports.mistakes fills it."""

    variant: str
    wrong: int  # of the validation queries
    queries: int  # of validation
    intents: str  # tables, as Markdown
    pairs: str
    answering: str
    ece: tuple[float, float]  # on test, of the logits as they are and with the temperature


def readme_headline(benchmark: Benchmark) -> str:
    """What the README opens with: accuracy, size and latency of the best variant, beside the teacher's."""
    return render("headline.md.j2", **_shared(benchmark))


def readme_summary(benchmark: Benchmark) -> str:
    """What the README says of the results: the best variant, and a table of the teacher, the front and the best.

    Args:
        benchmark: the content of reports/benchmark.json.
    """
    return render("readme.md.j2", **_shared(benchmark))


def report(
    benchmark: Benchmark,
    description: Mapping[str, Any],
    sensitivities: Mapping[str, tuple[Mapping[str, Any], pd.DataFrame]],
    mistakes: Mistakes,
    pictures: Collection[str],
) -> str:
    """The whole report.

    Args:
        benchmark: the content of reports/benchmark.json.
        description: the content of reports/data.json.
        sensitivities: per method of int8 in ONNX Runtime, the verdict and the table of the stage sensitivity.
        mistakes: of the variant that the report looks at.
        pictures: the names of those that lie in figures/.
    """
    return render(
        "report.md.j2",
        **_shared(benchmark),
        batch_size=benchmark.get("batch_size"),  # none in a benchmark without batches
        description=description,
        sensitivities=sensitivities,
        mistakes=mistakes,
        pictures=pictures,
        most=NODES_SHOWN,
    )


def shown(benchmark: Benchmark) -> str:
    """The variant that the report looks at more closely: the best, or else the deployed one, or else the teacher."""
    return benchmark["best"] or benchmark["deployed"] or tables.TEACHER


def student_in_int8(variants: Collection[str]) -> Variant | None:
    """The first variant in the table that is a student in PyTorch int8; its weights are what the pictures show."""
    parsed = [parse(name) for name in variants]
    return next((one for one in parsed if one.form is Form.TORCH_INT8 and one.model != tables.TEACHER), None)


def _shared(benchmark: Benchmark) -> dict[str, Any]:
    """What the templates of both pages name."""
    return {
        **{key: benchmark[key] for key in ("variants", "best", "deployed", "budget", "machine")},
        "tables": tables,
        "data_tables": data_tables,
        "teacher_onnx": tables.TEACHER_ONNX,
    }
