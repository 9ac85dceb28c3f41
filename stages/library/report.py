"""The report as Markdown: a table of every variant, and what is worth knowing about each step."""

from collections.abc import Collection, Mapping
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column left-aligned, the others right-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def points(value: float, interval: tuple[float, float] | list[float]) -> str:
    """A difference of accuracies in points, with its 95 % interval."""
    low, high = interval
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def results(variants: Rows, best: str | None) -> str:
    """The main table: accuracy, size and latency of every variant."""
    rows = []
    for name, figures in variants.items():
        baseline = name == "teacher"
        rows.append(
            [
                (f"**{name}**" if name == best else name) + (" ◆" if figures["pareto"] else ""),
                percent(figures["accuracy"]),
                percent(figures["validation"]["expected_accuracy_with_rule"]),
                percent(figures["accuracy_with_rule"]),
                ""
                if baseline
                else points(figures["accuracy_with_rule_change"], figures["accuracy_with_rule_change_interval"]),
                f"{figures['size_mb']:.1f}",
                f"{figures['size_ratio_vs_teacher']:.1f} ×",
                f"{figures['p50_ms']:.2f}",
                f"{figures['speedup_vs_teacher']:.1f} ×",
            ]
        )
    header = [
        "variant",
        "test, arg-max",
        "validation, rule",
        "test, rule",
        "points against the teacher (test, rule)",
        "MiB",
        "smaller",
        "median ms",
        "faster",
    ]
    return markdown_table(header, rows)


def scope(variants: Rows) -> str:
    """In-scope accuracy and out-of-scope recall, by arg-max and with the rule."""
    keys = ["in_scope_accuracy", "oos_recall", "in_scope_accuracy_with_rule", "oos_recall_with_rule"]
    rows = [
        [name, *(percent(figures[key]) for key in keys), f"{figures['threshold']:.2f}"]
        for name, figures in variants.items()
    ]
    header = [
        "variant",
        "in scope, arg-max",
        "out of scope recalled, arg-max",
        "in scope, rule",
        "out of scope recalled, rule",
        "threshold",
    ]
    return markdown_table(header, rows)


def latencies(variants: Rows) -> str:
    """Every latency figure of every variant."""
    rows = []
    for name, figures in variants.items():
        low, high = figures["speedup_interval"]
        rows.append(
            [
                name,
                f"{figures['time_avg_ms']:.2f} ± {figures['time_std_ms']:.2f}",
                *(f"{figures[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
                f"{figures['speedup_vs_teacher']:.1f} [{low:.1f}, {high:.1f}]",
                percent(figures["served_agreement"]),
            ]
        )
    header = [
        "variant",
        "reference query, mean ± std",
        "p50",
        "p95",
        "p99",
        "times faster at p50",
        "answers as evaluated",
    ]
    return markdown_table(header, rows)


def logit_difference(value: float) -> str:
    """Two digits; the reports keep six decimals, so a smaller one is there as 0."""
    return f"{value:.2g}" if value else "< 1e-06"


def conversions(variants: Rows) -> str:
    """What each conversion changed, against the model it came from."""
    rows = []
    for name, figures in variants.items():
        if "parity" not in figures:
            continue
        parity = figures["parity"]
        fused = figures.get("fused_operators", {})
        rows.append(
            [
                name,
                parity["parent"],
                logit_difference(parity["max_logit_difference"]),
                logit_difference(parity["mean_logit_difference"]),
                percent(parity["agreement"]),
                ", ".join(f"{count} {operator}" for operator, count in fused.items()),
            ]
        )
    header = [
        "variant",
        "came from",
        "largest logit difference",
        "mean logit difference",
        "answers agree",
        "fused operators",
    ]
    return markdown_table(header, rows)


def data(description: Mapping[str, Any]) -> str:
    """Sizes and token lengths of the splits."""
    names = [name for name in ("train", "validation", "test") if name in description]
    rows = [
        [
            name,
            f"{description[name]['in_scope']:,}",
            f"{description[name]['out_of_scope']:,}",
            *(str(length) for length in description[name]["tokens"].values()),
        ]
        for name in names
    ]
    return markdown_table(
        ["split", "in scope", "out of scope", *(f"tokens {p}" for p in description[names[0]]["tokens"])], rows
    )


def overlaps(description: Mapping[str, Any]) -> str:
    found = [f"{name.replace('_', ' ')}: {count}" for name, count in description["overlaps"].items() if count]
    return "; ".join(found) if found else "none"


def compressed_sizes(variants: Rows) -> dict[str, float]:
    """The compressed size in MiB of the pruned models and of the student that they came from."""
    sizes: dict[str, float] = {}
    for name, row in variants.items():
        if "compressed_mb" in row:
            sizes |= {"student": row["compressed_mb_before"], name: row["compressed_mb"]}
    return sizes


def pruning(variants: Rows) -> str:
    """What pruning took away and what it bought, each model beside the student it came from."""
    compressed = compressed_sizes(variants)
    student = variants["student"]
    rows = [
        [
            name,
            percent(variants[name].get("encoder_sparsity", 0.0)),
            f"{variants[name]['size_mb']:.1f}",
            f"{compressed[name]:.1f}",
            percent(variants[name]["accuracy_with_rule"]),
            f"{student['p50_ms'] / variants[name]['p50_ms']:.2f} ×",
            f"{variants['student-onnx']['p50_ms'] / variants[f'{name}-onnx']['p50_ms']:.2f} ×",
        ]
        for name in compressed
    ]
    header = ["model", "encoder weights gone", "MiB", "MiB compressed", "with the rule"]
    return markdown_table([*header, "faster than the student, PyTorch", "in ONNX Runtime"], rows)


def distillation(variants: Rows) -> str:
    """Each control student, trained on the labels alone, beside one distilled from the same seed."""
    rows = [
        [
            name.removeprefix("control-"),
            percent(figures["accuracy_with_rule"]),
            percent(figures["distilled"]["accuracy_with_rule"]),
            points(figures["distilled"]["gain"], figures["distilled"]["gain_interval"]),
        ]
        for name, figures in variants.items()
        if "distilled" in figures
    ]
    if not rows:
        return "No control student is among the variants (`control: seeds` trains some)."
    gains = [row["distilled"]["gain"] for row in variants.values() if "distilled" in row]
    mean = sum(gains) / len(gains)
    spread = f", from {100 * min(gains):+.2f} to {100 * max(gains):+.2f}" if len(gains) > 1 else ""
    table = markdown_table(["seed", "labels alone", "distilled", "points gained"], rows)
    return (
        f"{table}\n\nBoth students of a seed start from the same layers of the teacher; the one learns from the labels "
        "alone, the other from the teacher's answers too. Accuracy with the rule; intervals are over the test queries, "
        f"not over seeds. On average of {len(gains)} seed(s) distillation gained {100 * mean:+.2f} points{spread}."
    )


def summary(benchmark: Mapping[str, Any]) -> str:
    """The best variant, the main table and how to read it; the report and the README both open with it."""
    variants, best = benchmark["variants"], benchmark["best"]
    drop, tie = (100 * benchmark["budget"][key] for key in ("max_accuracy_drop", "tie"))
    near = f"{drop:g} {'point' if drop == 1 else 'points'} of the teacher on validation"
    chosen = (
        f"Best deployable variant: **{best}**, {variants[best]['size_ratio_vs_teacher']:.1f} times smaller and "
        f"{variants[best]['speedup_vs_teacher']:.1f} times faster than the teacher. Of the deployable variants within "
        f"{near}, and there within {tie:g} % of the fastest one's latency, it is the most accurate."
        if best
        else f"No deployable variant is within {near}."
    )
    return f"""{chosen}

{results(variants, best)}

Accuracy is over all queries, those out of scope among them. By *arg-max* the likeliest of all answers counts; with the
*rule*, a query is also out of scope when its score is under the model's threshold. The best variant and the front are
chosen on *validation*, where out-of-scope queries weigh as much as `out_of_scope.rate` expects of them. *Points* are
percentage points with a 95 % interval (paired bootstrap over the test queries): an interval that holds zero is no
difference that this test set can show. ◆ marks the Pareto front: no other variant is as accurate on validation, as
small and as fast, and better in one of these. *Deployable* is what runs in ONNX Runtime, without torch or transformers:
the rows with -onnx or -ort-. The median is over real queries, one at a time, tokenizer included, on
{benchmark["machine"]["threads"]} thread(s). Faster and smaller are against the teacher, a float32 Hugging Face
pipeline.
"""


def batches(variants: Rows) -> str:
    """How many answers an int8 model changes when a query comes in a padded batch."""
    rows = [
        [name, percent(1 - figures["parity_in_padded_batches"]["agreement"])]
        for name, figures in variants.items()
        if "parity_in_padded_batches" in figures
    ]
    return markdown_table(["variant", "answers flipped in a padded batch"], rows)


def write(
    benchmark: Mapping[str, Any],
    description: Mapping[str, Any],
    sensitivities: Mapping[str, str],
    pictures: Collection[str],
) -> str:
    """The whole report.

    Args:
        benchmark: the content of reports/benchmark.json.
        description: the content of reports/data.json.
        sensitivities: per method of int8 in ONNX Runtime, what the stage sensitivity found, as Markdown.
        pictures: the names of those that lie in figures/.
    """
    variants, machine = benchmark["variants"], benchmark["machine"]
    int8_note = (
        "it multiplies int8 vectors"
        if machine["int8_dot_product"]
        else "**it has no instruction that multiplies int8 vectors (VNNI on x86), so int8 gains less than elsewhere**"
    )
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())

    def picture(name: str, text: str) -> str:
        return f"![{text}](figures/{name}.png)" if name in pictures else ""

    sensitive = "\n\n".join(
        f"### {method}\n\n{text}\n{picture(f'sensitivity-{method}', f'Sensitivity, {method}')}"
        for method, text in sensitivities.items()
    )
    return f"""# Results

{summary(benchmark)}
![Accuracy over latency](figures/tradeoff.png)

## In and out of scope

{scope(variants)}

![Scores in and out of scope](figures/scores.png)

![Accuracy by domain](figures/domains.png)

## Latency

{latencies(variants)}

Milliseconds, one query at a time. The reference query is one query asked again and again (`benchmark.reference_query`,
`benchmark.calls`); p50, p95 and p99 are over as many test queries as `benchmark.queries` says.

Machine: {machine["cpu"]}, {machine["cores"]} cores,
{machine["memory_gib"]} GiB, {machine["os"]}; flags {", ".join(machine["cpu_flags"])} ({int8_note}).
Python {machine["python"]}, {versions}. All variants take turns query by query, so compare them with each other
rather than with another machine's. Before each timed call the same query is answered once untimed, so that a variant
is not charged for the caches that the others left; garbage collection waits. Every timed call is in
[timings.csv](timings.csv). *Answers as evaluated*:
the share of the timed queries to which the served model gave the very answer that its accuracy was computed from.

## Size

![Sizes](figures/sizes.png)

## Conversions

{conversions(variants)}

Logits of the validation queries, one at a time, against the model that was converted.

{picture("weights", "A weight matrix before and after quantization")}

### One query or a batch

{batches(variants)}

Share of the validation queries whose likeliest intent differs when they are answered 32 at a time, padded to the
longest. Dynamic int8 takes its range from the whole batch, padding and all; a fixed range does not.

## Sensitivity

{sensitive}

## What distillation bought

{distillation(variants)}

## Pruning

{pruning(variants) if compressed_sizes(variants) else "No pruned model is among the variants."}

Compressed is the weights' file after zlib. Scattered zeros (movement and magnitude pruning) make a file that compresses
well; a dense runtime multiplies by them all the same, so they make nothing faster. Structured pruning cuts whole heads
and neurons out, so its matrices, and its time, are smaller.

{picture("sparsity", "Sparsity")}

{picture("structure", "Heads and neurons kept by structured pruning")}

## Data

{data(description)}

Tokens are WordPiece, special tokens included. Duplicates and leaks: {overlaps(description)}. They are part of
the published data and are reported, not removed, so that figures stay comparable.
"""
