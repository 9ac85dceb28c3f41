"""levers: what each thing that made a model better is worth, by an experiment that leaves it out alone.

python -m tools.levers                            of a student: conf/levers.yaml
python -m tools.levers --config teacher_levers    of the teacher: conf/teacher_levers.yaml

In:  conf/CONFIG.yaml: what is left out, by which overrides.
Out: reports/NAME/, NAME being what CONFIG.yaml says: a table, a picture, and levers.csv. The experiments NAME-1 and so
     on are DVC's, as those of a sweep are; the same command goes on after Ctrl-C. Only the model's training and what
     it needs is run, and all is judged on validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from intents.core import files, paths, settings
from intents.core.errors import Parser, PipelineError, run_program
from intents.core.variants import TEACHER
from intents.data import logits
from intents.data.corpus import Corpus
from intents.evaluation import quality, statistics
from intents.evaluation.threshold import OutOfScope, expected_accuracy
from intents.reports import style as pictures
from intents.reports.markdown import percent, points, render
from intents.reports.markdown import table as markdown_table
from tools import experiments, params, programs, sweep

CONFIGS = Path("conf")
TEMPLATES = Path(__file__).parent / "templates"
ALL = "(all of them)"
SAMPLES, SEED = 10_000, 0  # of the bootstrap
DPI = 120


@dataclass(frozen=True, kw_only=True)
class Levers:
    """conf/levers.yaml and conf/teacher_levers.yaml."""

    name: str
    model: str  # whose training is repeated: a student, or `teacher`
    everywhere: list[str]  # overrides of all experiments
    without: dict[str, list[str]]  # what is left out: by these overrides
    seeds: list[int]  # of further trainings with all of them

    @property
    def experiments(self) -> dict[str, list[str]]:
        """The overrides of each experiment, in order: all levers, without one each, and all with other seeds."""
        key = "run.seed" if self.model == TEACHER else f"student.{self.model}.seed"
        again = [[f"{key}={seed}"] for seed in self.seeds]
        changes = [[], *self.without.values(), *again]
        return {f"{self.name}-{place}": [*self.everywhere, *own] for place, own in enumerate(changes, 1)}

    @property
    def labels(self) -> list[str]:
        """What each experiment goes without, in the same order."""
        return [ALL, *self.without, *(f"{ALL}, seed {seed}" for seed in self.seeds)]

    @property
    def stage(self) -> str:
        """The stage that trains the model."""
        return f"finetune-teacher@{TEACHER}" if self.model == TEACHER else f"distill@{self.model}"


def read(path: Path) -> Levers:
    """What a file of conf/ says, every override tried.

    Raises:
        PipelineError: it is not there, a value in it is not allowed, or an override does not compose.
    """
    try:
        content = OmegaConf.load(files.require(path, f"git checkout {path}"))
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is no YAML that can be read: {' '.join(str(error).split())[:160]}") from None
    found = settings.parse(Levers, content, path.stem)
    if not sweep.NAME.fullmatch(found.name):
        raise PipelineError(f"`name` in {path} is {found.name[:40]!r}; allowed: that of a sweep, such as levers")
    for overrides in found.experiments.values():
        composed = params.composed(params.main_config(), overrides)
        if found.model not in (TEACHER, *composed["student"]):
            allowed = ", ".join((TEACHER, *composed["student"]))
            raise PipelineError(f"`model` in {path} is {found.model!r}; allowed: {allowed}")
    return found


class Judged(NamedTuple):
    """What one experiment's model makes of validation."""

    right: np.ndarray  # by arg-max, bool, (queries,)
    right_with_rule: np.ndarray  # with cross-fitted thresholds
    accuracy: float
    expected: float  # accuracy with the rule on traffic as `out_of_scope.rate` expects it
    error: float  # mean squared difference of its logits from the teacher's


def judge(answers: np.ndarray, teacher: np.ndarray, labels: np.ndarray, rule: OutOfScope) -> Judged:
    """Figures of logits (queries, intents + 1); the teacher's are of the same queries."""
    given = quality.cross_fitted(answers, labels, rule.rate, rule.quantile)
    right = answers.argmax(axis=1) == labels
    return Judged(
        right,
        given == labels,
        float(right.mean()),
        expected_accuracy(given, labels, answers.shape[1] - 1, rule.rate),
        float(np.square(answers - teacher).mean()),
    )


def compared(levers: Levers, judged: Mapping[str, Judged], outside: np.ndarray, rate: float) -> pd.DataFrame:
    """A row per experiment: its figures, and its differences from the one with all levers, paired over the queries.

    Args:
        judged: by experiment.
        outside: which queries are out of scope, bool, (queries,).
    """
    base = next(iter(judged.values()))
    rows = []
    for (experiment, one), label in zip(judged.items(), levers.labels, strict=True):
        plain, (low, high) = statistics.paired_difference(one.right, base.right, SAMPLES, SEED)
        ruled, (lowest, highest) = statistics.weighted_difference(
            one.right_with_rule, base.right_with_rule, outside, rate, SAMPLES, SEED
        )
        rows.append(
            {
                "experiment": experiment,
                "without": label,
                "accuracy": one.accuracy,
                "difference": plain,
                "low": low,
                "high": high,
                "expected_accuracy_with_rule": one.expected,
                "rule_difference": ruled,
                "rule_low": lowest,
                "rule_high": highest,
                "error": one.error,
            }
        )
    return pd.DataFrame(rows)


def picture(table: pd.DataFrame) -> Figure:
    """By what is left out: the points that it costs, with their intervals."""
    rows = table.iloc[1:].iloc[::-1]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.36 * len(rows)))
    heights = np.arange(len(rows))
    for shift, (name, prefix), colour in zip((0.15, -0.15), KINDS.items(), (pictures.RED, "black"), strict=True):
        middle = 100 * rows[f"{prefix}difference"]
        ends = [middle - 100 * rows[f"{prefix}low"], 100 * rows[f"{prefix}high"] - middle]
        axes.errorbar(middle, heights + shift, xerr=ends, fmt="o", markersize=4, color=colour, label=name, capsize=2)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(heights, [label.removeprefix(f"{ALL}, ") for label in rows["without"]])
    axes.set_xlabel("points of accuracy on validation (95 % intervals)")
    axes.set_title("What is lost without it")
    axes.legend(fontsize=9, loc="lower left")
    return figure


KINDS = {"by arg-max": "", "with the rule": "rule_"}  # of an accuracy: how its columns begin


def write(table: pd.DataFrame, levers: Levers, config: Path, queries: int, outside: int) -> Path:
    """reports/NAME/: levers.csv, levers.png and README.md, the page whose path is returned.

    Args:
        config: the file of `levers`.
        queries, outside: of validation, and those of them out of scope.
    """
    cells = []
    for place, row in table.iterrows():
        differences = [
            "" if place == 0 else points(row[f"{kind}difference"], (row[f"{kind}low"], row[f"{kind}high"]))
            for kind in KINDS.values()
        ]
        accuracies = [percent(row["accuracy"]), percent(row["expected_accuracy_with_rule"])]
        error = [] if levers.model == TEACHER else [f"{row['error']:.3f}"]
        cells.append([row["without"], accuracies[0], differences[0], accuracies[1], differences[1], *error])
    header = ["without", "by arg-max", "points", "with the rule", "points", "squared error"][: len(cells[0])]
    again = table[table["without"].str.startswith(ALL)]
    spreads = {name: float(again[name].std(ddof=1)) for name in ("accuracy", "expected_accuracy_with_rule")}
    style.use(pictures.STYLE)
    report = paths.REPORTS / levers.name
    with files.new_folder(report) as folder:
        table.round(6).to_csv(folder / "levers.csv", index=False, lineterminator="\n")
        pictures.save(picture(table), folder / "levers.png", DPI)
        text = render(
            "levers.md.j2",
            TEMPLATES,
            model=levers.model,
            is_student=levers.model != TEACHER,
            config=config,
            table=markdown_table(header, cells),
            everywhere=", ".join(f"`{override}`" for override in levers.everywhere),
            overrides={label: ", ".join(f"`{one}`" for one in own) for label, own in levers.without.items()},
            seeds=len(again),
            spreads=spreads if len(again) > 1 else None,
            queries=queries,
            outside=outside,
        )
        files.write_text(folder / "README.md", text)
    return report / "README.md"


def main() -> None:
    parser = Parser("tools.levers", __doc__)
    parser.add_argument("--config", default="levers", help="a file of conf/, without its .yaml (default levers)")
    config = CONFIGS / f"{parser.parse_args().config}.yaml"
    levers = read(config)
    programs.check_path(Path.cwd().resolve())
    sweep.run(levers.name, levers.experiments, levers.stage)
    data, rule = Corpus(), settings.load(OutOfScope, "out_of_scope")
    labels, teacher = data.labels("validation"), logits.load(TEACHER)["validation"]
    outside = labels == data.intents.out_of_scope
    answers = {name: experiments.answered(levers.model, name) for name in levers.experiments}
    judged = {name: judge(logits_of, teacher, labels, rule) for name, logits_of in answers.items()}
    table = compared(levers, judged, outside, rule.rate if outside.any() else 0.0)
    print(write(table, levers, config, len(labels), int(outside.sum())).read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
