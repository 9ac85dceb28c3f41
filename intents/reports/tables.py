"""The tables of the report, as Markdown. Each function takes the rows of reports/benchmark.json, by variant."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from intents.core.variants import TEACHER, Form, Variant, parse
from intents.reports.markdown import logit_difference, percent, points, table

Rows = Mapping[str, Mapping[str, Any]]
TEACHER_ONNX = Variant(TEACHER, Form.ONNX).name


def short(variants: Rows, *always: str | None) -> Rows:
    """The rows that a reader needs first: the teacher, the Pareto front, and those that are `always` shown."""
    return {name: row for name, row in variants.items() if row["pareto"] or name == TEACHER or name in always}


def faster_than_onnx(variants: Rows, name: str) -> float | None:
    """How many times faster a variant is, at the median, than the teacher in ONNX Runtime float32.

    Returns:
        None where the teacher is not exported.
    """
    return variants[TEACHER_ONNX]["p50_ms"] / variants[name]["p50_ms"] if TEACHER_ONNX in variants else None


def faster_than_int8(variants: Rows, name: str) -> float | None:
    """How many times faster a variant is, at the median, than the teacher's fastest int8 form in ONNX Runtime.

    Returns:
        None where the teacher has none.
    """
    forms = [variants[one]["p50_ms"] for one in variants if (parse(one).model, parse(one).form) == (TEACHER, Form.ORT)]
    return min(forms) / variants[name]["p50_ms"] if forms else None


def second_teachers(variants: Rows) -> list[str]:
    """The teachers other than the one that every variant is compared with."""
    models = [name for name in variants if parse(name).form is Form.TORCH]
    return [name for name in models if name != TEACHER and parse(name).student == TEACHER]


def techniques(variants: Rows) -> set[str | None]:
    """What was done to the students that are among the variants, such as movement or qat; None: nothing."""
    return {parse(name).technique for name in variants}


def is_peer(name: str) -> bool:
    """Whether a variant is made another way, to be compared with."""
    return parse(name).form is Form.PEER


def results(variants: Rows, best: str | None, shown: Rows | None = None) -> str:
    """The main table: accuracy, size and latency.

    Args:
        best: the variant in bold, if any.
        shown: the rows to show; all of them if None.
    """
    against_onnx = TEACHER_ONNX in variants
    rows = []
    for name, row in (variants if shown is None else shown).items():
        cells = [
            (f"**{name}**" if name == best else name)
            + (" ◆" if row["pareto"] else "")
            + (" (peer)" if is_peer(name) else ""),
            percent(row["accuracy"]),
            percent(row["validation"]["expected_accuracy_with_rule"]),
            percent(row["accuracy_with_rule"]),
            ""
            if name == TEACHER
            else points(row["accuracy_with_rule_change"], row["accuracy_with_rule_change_interval"]),
            f"{row['size_mb']:.1f}",
            f"{row['size_ratio_vs_teacher']:.1f} ×",
            f"{row['p50_ms']:.2f}",
            f"{row['speedup_vs_teacher']:.1f} ×",
        ]
        if against_onnx:
            cells.append(f"{faster_than_onnx(variants, name):.1f} ×")
        rows.append(cells)
    header = ["variant", "test, arg-max", "validation, rule", "test, rule", "points against the teacher (test, rule)"]
    header += ["MiB", "smaller", "median ms", "faster than the teacher"]
    return table([*header, f"than {TEACHER_ONNX}"] if against_onnx else header, rows)


def scope(variants: Rows) -> str:
    """In-scope accuracy and out-of-scope recall, by arg-max and with the rule; no recall where none can be known."""
    columns = {
        "in_scope_accuracy": "in scope, arg-max",
        "oos_recall": "out of scope recalled, arg-max",
        "in_scope_accuracy_with_rule": "in scope, rule",
        "oos_recall_with_rule": "out of scope recalled, rule",
    }
    keys = [key for key in columns if all(row[key] is not None for row in variants.values())]
    rows = [[name, *(percent(row[key]) for key in keys), f"{row['threshold']:.2f}"] for name, row in variants.items()]
    return table(["variant", *(columns[key] for key in keys), "threshold"], rows)


def quantile(variants: Rows) -> float | None:
    """The quantile of the scores in scope that the thresholds are; None where there were others to calibrate on."""
    return next((row["quantile"] for row in variants.values() if "quantile" in row), None)


def latencies(variants: Rows) -> str:
    """Every latency figure of every variant, and its speed against both forms of the teacher."""
    rows = []
    for name, row in variants.items():
        low, high = row["speedup_interval"]
        against_onnx = faster_than_onnx(variants, name)
        rows.append(
            [
                name,
                f"{row['time_avg_ms']:.2f} ± {row['time_std_ms']:.2f}",
                *(f"{row[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
                f"{row['speedup_vs_teacher']:.1f} [{low:.1f}, {high:.1f}]",
                "" if against_onnx is None else f"{against_onnx:.1f}",
                percent(row["served_agreement"]),
            ]
        )
    header = ["variant", "reference query, mean ± std", "p50", "p95", "p99", "times faster than the teacher"]
    return table([*header, f"than {TEACHER_ONNX}", "answers as evaluated"], rows)


def throughput(variants: Rows) -> str:
    """Queries per second in batches, and the first answer and the memory of a fresh process.

    Returns:
        Nothing where none was measured.
    """
    rows = [
        [
            name,
            f"{row['queries_per_second']:,.0f}",
            f"{row['queries_per_second'] / variants[TEACHER]['queries_per_second']:.1f} ×",
            f"{row['first_answer_ms']:,.0f}" if "first_answer_ms" in row else "",
            f"{row['peak_memory_mb']:,.0f}" if "peak_memory_mb" in row else "",
        ]
        for name, row in variants.items()
        if "queries_per_second" in row
    ]
    header = ["variant", "queries per second", "than the teacher", "first answer, ms", "peak memory, MiB"]
    return table(header, rows) if rows else ""


def conversions(variants: Rows) -> str:
    """What each conversion changed, against the variant that was converted."""
    rows = [
        [
            name,
            row["parity"]["parent"],
            logit_difference(row["parity"]["max_logit_difference"]),
            logit_difference(row["parity"]["mean_logit_difference"]),
            percent(row["parity"]["agreement"]),
            ", ".join(f"{number} {operator}" for operator, number in row.get("fused_operators", {}).items()),
        ]
        for name, row in variants.items()
        if "parity" in row
    ]
    header = ["variant", "converted from", "largest logit difference", "mean logit difference"]
    return table([*header, "same answers", "fused operators"], rows)


def batches(variants: Rows) -> str:
    """How many answers an int8 model changes when a query comes in a padded batch."""
    key = "flipped_in_padded_batches"
    rows = [[name, percent(row[key])] for name, row in variants.items() if key in row]
    return table(["variant", "answers changed in a padded batch"], rows)


def distillation(variants: Rows) -> str:
    """Each control student, trained on the labels alone, beside the distilled one that it is compared with."""
    rows = [
        [
            name,
            percent(row["accuracy_with_rule"]),
            row["distilled"]["against"],
            percent(row["distilled"]["accuracy_with_rule"]),
            points(row["distilled"]["gain"], row["distilled"]["gain_interval"]),
        ]
        for name, row in controls(variants).items()
    ]
    return table(["labels alone", "accuracy", "distilled", "accuracy", "points gained"], rows)


def controls(variants: Rows) -> Rows:
    """The students that were trained on the labels alone."""
    return {name: row for name, row in variants.items() if "distilled" in row}


def compressed_sizes(variants: Rows) -> dict[str, float]:
    """The compressed size in MiB of the pruned models and of the students that they came from, in table order."""
    sizes: dict[str, float] = {}
    for name, row in variants.items():
        if "compressed_mb" in row:
            sizes |= {parse(name).student: row["compressed_mb_before"], name: row["compressed_mb"]}
    return sizes


def pruning(variants: Rows) -> str:
    """What pruning took away and what it bought, each model beside the student that it came from."""

    def faster(name: str, form: Form) -> str:
        """Against the student in the same form; nothing where one of them is not measured in it."""
        pair = [Variant(model, form).name for model in (parse(name).student, name)]
        if any(variant not in variants for variant in pair):
            return ""
        before, after = (variants[variant]["p50_ms"] for variant in pair)
        return f"{before / after:.2f} ×"

    compressed = compressed_sizes(variants)
    rows = [
        [
            name,
            percent(variants[name].get("encoder_sparsity", 0.0)),
            f"{variants[name]['size_mb']:.1f}",
            f"{compressed[name]:.1f}",
            percent(variants[name]["accuracy_with_rule"]),
            faster(name, Form.TORCH),
            faster(name, Form.ONNX),
        ]
        for name in compressed
    ]
    header = ["model", "encoder weights removed", "MiB", "MiB compressed", "test, rule"]
    return table([*header, "faster than the student, PyTorch", "in ONNX Runtime"], rows)


def sensitive_nodes(nodes: pd.DataFrame) -> str:
    """What each node costs when it alone is int8.

    Args:
        nodes: a row per node, with changed, mean_difference, max_difference and spares.
    """
    rows = [
        [
            f"`{node}`",
            percent(row["changed"]),
            f"{row['mean_difference']:.4f}",
            f"{row['max_difference']:.2f}",
            percent(round(row["spares"], 2) + 0.0, 0),  # + 0.0: no minus before a zero
        ]
        for node, row in nodes.iterrows()
    ]
    header = ["node alone in int8", "answers changed", "mean logit difference", "largest"]
    return table([*header, "spared if it alone stays float32"], rows)
