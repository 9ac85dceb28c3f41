"""What a run shows, in a few sentences: each technique beside the model that it started from."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from intents.core.variants import TEACHER, Form, Variant, parse
from intents.evaluation.statistics import paired_difference
from intents.reports import tables
from intents.reports.markdown import render
from intents.reports.tables import Rows

SMALL = 0.2  # of the teacher's parameters: a student with fewer is shown with the small ones
SAMPLES, SEED = 10_000, 0  # of the intervals


class Change(NamedTuple):
    """The accuracy with the rule on test that one variant has more than another, with its 95 % interval."""

    name: str
    theirs: str
    gain: float  # -1 to 1
    interval: tuple[float, float]

    @property
    def measurable(self) -> bool:
        low, high = self.interval
        return low > 0 or high < 0


class Findings:
    """What the template asks of a finished run. What a run has not got is None or empty.

    Args:
        variants: the rows of reports/benchmark.json.
        correct: reports/correct.csv: per variant, 1 where a test query is answered rightly with the rule.
    """

    def __init__(self, variants: Rows, correct: pd.DataFrame) -> None:
        self.variants, self._correct = variants, correct

    def change(self, ours: str, theirs: str) -> Change:
        """Paired over the test queries."""
        right = [self._correct[name].to_numpy().astype(bool) for name in (ours, theirs)]
        return Change(ours, theirs, *paired_difference(right[0], right[1], SAMPLES, SEED))

    def _students(self, *forms: Form) -> list[str]:
        found = {name: parse(name) for name in self.variants}
        return [name for name, variant in found.items() if variant.form in forms and variant.student != TEACHER]

    def most_accurate(self) -> str | None:
        """The deployable student with the best accuracy on validation."""
        students = [name for name in self._students(Form.ORT, Form.ONNX) if self.variants[name]["deployable"]]
        return max(
            students, key=lambda name: self.variants[name]["validation"]["expected_accuracy_with_rule"], default=None
        )

    def small(self) -> list[str]:
        """The int8 forms on the Pareto front of students with less than `SMALL` of the teacher's parameters."""
        most = SMALL * self.variants[TEACHER]["parameters"]
        rows = self.variants
        return [name for name in self._students(Form.ORT) if rows[name]["pareto"] and rows[name]["parameters"] < most]

    def ends(self, names: Iterable[str], key: str) -> tuple[float, float]:
        """The least and the greatest of a figure."""
        values = [self.variants[name][key] for name in names]
        return min(values), max(values)

    def most_changed_by_int8(self) -> float | None:
        """The largest change of accuracy by a conversion to int8, either way, 0 to 1."""
        pairs = [(name, parse(name).model) for name in self.variants if parse(name).form in (Form.TORCH_INT8, Form.ORT)]
        changes = [abs(self.change(*pair).gain) for pair in pairs if pair[1] in self.variants]
        return max(changes, default=None)

    def by_training(self, technique: str) -> list[Change]:
        """Each int8 form of the models that a technique made, beside the same form of the student without it."""
        made = [name for name in self._students(Form.TORCH_INT8, Form.ORT) if parse(name).technique == technique]
        pairs = [(name, Variant(parse(name).student, parse(name).form, parse(name).method).name) for name in made]
        return [self.change(*pair) for pair in pairs if pair[1] in self.variants]

    def gains(self, changes: list[Change]) -> tuple[float, float]:
        """The least and the greatest gain."""
        return min(change.gain for change in changes), max(change.gain for change in changes)

    def pruned(self) -> list[Change]:
        """Each pruned model in PyTorch beside its student."""
        models = [name for name in self._students(Form.TORCH) if "encoder_sparsity" in self.variants[name]]
        return [self.change(name, parse(name).student) for name in models]

    def faster(self, model: str) -> tuple[float, float] | None:
        """How many times faster an int8 graph of a pruned model is than that of its student: least and greatest."""
        forms = [name for name in self._students(Form.ORT) if parse(name).model == model]
        pairs = [(name, Variant(parse(model).student, Form.ORT, parse(name).method).name) for name in forms]
        ratios = [self.variants[b]["p50_ms"] / self.variants[a]["p50_ms"] for a, b in pairs if b in self.variants]
        return (min(ratios), max(ratios)) if ratios else None


def findings(benchmark: Mapping[str, Any], correct: pd.DataFrame) -> str:
    """The README's list of what the run shows.

    Args:
        benchmark: the content of reports/benchmark.json.
        correct: that of reports/correct.csv.
    """
    variants = benchmark["variants"]
    return render("findings.md.j2", run=Findings(variants, correct), variants=variants, tables=tables)
