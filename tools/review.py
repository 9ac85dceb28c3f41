"""review: what a change did to parameters, accuracy, size and latency, as Markdown for a pull request.

python -m tools.review --base main

Compares the reports of this working tree with those that are committed at BASE. A difference counts only where it
is more than noise: accuracy by a paired bootstrap over the same test queries, latency (as a ratio to the teacher of
the same run, since two runs may be of two machines) where its interval lies outside a stated tolerance, an intent by
an exact test that is corrected for the number of intents. With --budget it refuses a loss of accuracy on validation:
test queries accept and refuse nothing.
"""

import math
from pathlib import Path

import numpy as np

from intents.core import paths
from intents.core.errors import Parser, PipelineError, run_program
from intents.core.variants import TEACHER
from intents.evaluation import selection, statistics
from intents.reports.markdown import percent, points, render, table
from tools import params, review_intents
from tools.arguments import number
from tools.reports import ROWS, Reports

PICTURE = paths.FIGURES / "tradeoff.png"
TEMPLATES = Path(__file__).parent / "templates"
SAMPLES, SEED = 10000, 0
BETTER, WORSE, WITHIN_NOISE = "**better**", "**worse**", "within noise"


def parameters(before: Reports, after: Reports) -> str:
    """The parameters that differ; empty if none does."""
    keys = params.differing(before.params, after.params)
    rows = [[f"`{key}`", str(before.params.get(key, "-")), str(after.params.get(key, "-"))] for key in keys]
    return table(["parameter", "before", "after"], rows) if rows else ""


def verdict(low: float, high: float, tolerance: float = 0.0) -> str:
    """In words: whether an interval of a difference (higher is better) lies beyond ± tolerance."""
    if low > tolerance:
        return BETTER
    return WORSE if high < -tolerance else WITHIN_NOISE


def same_queries(before: Reports, after: Reports) -> bool:
    """Whether both were measured on the same data set, so that accuracies can be compared, query by query."""
    return before.params[ROWS] == after.params[ROWS]


def losses(before: Reports, after: Reports) -> dict[str, float]:
    """The accuracy that each variant lost on validation (0 to 1): what variants are chosen by, and the budget is of."""
    return {
        name: selection.accuracy(before.variants[name]) - selection.accuracy(after.variants[name])
        for name in _in_both(before, after)
    }


def accuracy(before: Reports, after: Reports) -> tuple[str, set[str]]:
    """The table of accuracies with the rule, and the variants in which they differ beyond noise.

    On the same test queries the interval is paired; on others nothing can be said. Of so many variants some intervals
    lie beside zero by chance, so a verdict also needs a test that is corrected for their number.
    """
    comparable = same_queries(before, after)
    moved, rows, names = set(), [], _in_both(before, after)
    other = [name for name in names if not _same_answers(before, after, name)]
    told = review_intents.differing(before.correct, after.correct, other) if comparable else set()
    for name, loss in losses(before, after).items():
        cells = ["", "other test queries", ""]
        if comparable:
            ours, theirs = (reports.correct[name].to_numpy(dtype=bool) for reports in (after, before))
            change, interval = statistics.paired_difference(ours, theirs, SAMPLES, SEED)
            judged = "the same answers" if name not in other else verdict(*interval) if name in told else WITHIN_NOISE
            cells = [f"{-100 * loss + 0.0:+.2f}", points(change, interval), judged]
            if judged in (BETTER, WORSE):
                moved.add(name)
        old, new = (reports.variants[name]["accuracy_with_rule"] for reports in (before, after))
        rows.append([name, percent(old), percent(new), *cells])
    header = ["accuracy with the rule", "test, before", "after", "validation, points", "test, points, 95 % interval"]
    return table([*header, ""], rows), moved


def speedup_change(before: Reports, after: Reports, name: str) -> tuple[float, float, float]:
    """How many times faster a variant became against its run's teacher, with a 95 % bootstrap interval."""
    # Two runs, drawn independently of each other: hence two seeds.
    ratio_after, ratio_before = (
        statistics.ratio_of_medians_samples(reports.real_ms(TEACHER), reports.real_ms(name), SAMPLES, seed)
        for reports, seed in ((after, SEED), (before, SEED + 1))
    )
    point = after.variants[name]["speedup_vs_teacher"] / before.variants[name]["speedup_vs_teacher"]
    low, high = np.percentile(ratio_after / ratio_before, [2.5, 97.5])
    return point, float(low), float(high)


def latency(before: Reports, after: Reports, tolerance: float) -> tuple[str, set[str]]:
    """The table of sizes and latencies, and the variants in which one of them differs beyond noise.

    Args:
        tolerance: 0.15 lets ratios lie between 1 / 1.15 and 1.15.
    """
    moved, rows = set(), []
    for name in _in_both(before, after):
        old, new = before.variants[name], after.variants[name]
        size = "" if old["size_mb"] == new["size_mb"] else f"{new['size_mb'] / old['size_mb'] - 1:+.1%}"
        speed = ["", "baseline"]
        if name != TEACHER:
            times, low, high = speedup_change(before, after, name)
            # As logarithms, in which twice as fast and half as fast are equally far from no change.
            judged = verdict(math.log(low), math.log(high), math.log1p(tolerance))
            speed = [f"× {times:.2f} [{low:.2f}, {high:.2f}]", judged]
        if size or speed[1] in (BETTER, WORSE):
            moved.add(name)
        rows.append(
            [
                name,
                *(f"{row['size_mb']:.1f}" for row in (old, new)),
                size,
                *(f"{row['p50_ms']:.2f}" for row in (old, new)),
                *(f"{row['speedup_vs_teacher']:.1f} ×" for row in (old, new)),
                *speed,
            ]
        )
    header = ["size and latency", "MiB before", "after", "", "p50 ms before", "after", "faster than teacher, before"]
    return table([*header, "after", "change, 95 % interval", ""], rows), moved


def write(before: Reports, after: Reports, base: str, tolerance: float, pictures: str, budget: float | None) -> str:
    """The review as Markdown.

    Args:
        base: what to call the revision before.
        tolerance: share by which latency ratios of two runs of the same models may differ.
        pictures: what to put before the picture's path, such as a URL.
        budget: the most accuracy that a variant may lose; None where none is set.
    """
    accuracies, moved_in_accuracy = accuracy(before, after)
    looked_at = [name for name in _in_both(before, after) if name in (TEACHER, *_deployed(before, after))]
    comparable = same_queries(before, after)
    latencies, moved_in_cost = latency(before, after, tolerance)
    return render(
        "review.md.j2",
        TEMPLATES,
        base=base,
        moved=[name for name in after.variants if name in moved_in_accuracy | moved_in_cost],
        new=[name for name in after.variants if name not in before.variants],
        gone=[name for name in before.variants if name not in after.variants],
        best=[reports.benchmark["best"] for reports in (before, after)],
        machines=[reports.benchmark["machine"]["cpu"] for reports in (before, after)],
        comparable=comparable,
        intents=review_intents.moved(before.correct, after.correct, looked_at) if comparable else None,
        queries=len(after.correct),
        parameters=parameters(before, after),
        accuracies=accuracies,
        latencies=latencies,
        budget=budget,
        **{"tolerance": tolerance, "picture": f"{pictures}{PICTURE}"},
    )


def _in_both(before: Reports, after: Reports) -> list[str]:
    return [name for name in after.variants if name in before.variants]


def _same_answers(before: Reports, after: Reports, name: str) -> bool:
    return bool(before.variants[name]["answers_sha256"] == after.variants[name]["answers_sha256"])


def _deployed(before: Reports, after: Reports) -> list[str | None]:
    return [reports.benchmark.get("deployed") or reports.benchmark["best"] for reports in (before, after)]


def main() -> None:
    parser = Parser("tools.review", __doc__)
    parser.add_argument("--base", default="main", help="the Git revision to compare with (default main)")
    parser.add_argument("--budget", type=number(float, 0, 1), help="exit 1 if one lost more on validation")
    parser.add_argument("--tolerance", type=number(float, 0, 10), default=0.15, help="of latency ratios (0.15)")
    parser.add_argument("--pictures", default="", help="what to put before the picture's path, such as a URL")
    arguments = parser.parse_args()
    before, after = Reports.at(arguments.base), Reports.at(None)
    print(write(before, after, arguments.base, arguments.tolerance, arguments.pictures, arguments.budget))
    if arguments.budget is None or not same_queries(before, after):
        return
    if too_much := {name: loss for name, loss in losses(before, after).items() if loss > arguments.budget}:
        worst = max(too_much, key=lambda name: too_much[name])
        raise PipelineError(
            f"{worst} lost {100 * too_much[worst]:.2f} points of accuracy with the rule on validation against "
            f"{arguments.base}; allowed: {100 * arguments.budget:.2f} (--budget)"
        )


if __name__ == "__main__":
    run_program(main)
