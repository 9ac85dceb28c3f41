"""tune --config shapes: a search for accuracy, latency and size at once, whose front is what no other trial beats."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
import pytest
import searches
import yaml
from conftest import ROOT, compose, contents, run_tool
from optuna.trial import FrozenTrial

from intents.core import files
from intents.core.errors import PipelineError
from intents.evaluation.threshold import OutOfScope
from tools import tune
from tools.search import candidate, front, shapes, space
from tools.search.space import Timing

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

STORAGE = "sqlite:///data/.tune/study.db"
CONFIG: dict[str, dict[str, Any]] = {
    "search": {"trials": 4, "seed": 0, "study": "s", "storage": STORAGE, "heartbeat": 15, "startup": 2},
    "base": {"student": "narrow", "int8": "static", "epochs": 2, "unlabelled": 40},
    "space": {
        "hidden": {"low": 8, "high": 16, "step": 8},
        "layers": {"low": 1, "high": 2, "step": 1},
        "heads": [2, 4],
        "feed_forward": {"low": 16, "high": 32, "step": 16},
        "common": {"low": 0, "high": 4000, "step": 2000},
        "learning_rate": {"low": 0.0005, "high": 0.01},
    },
    "timing": {"blocks": 3, "queries": 5, "warmup": 1},
}


def configure(**changes: object) -> None:
    """conf/shapes.yaml of the tests with some values changed."""
    searches.write(space.CONFIG, CONFIG, changes)


def trials_of() -> list[FrozenTrial]:
    return optuna.load_study(storage=STORAGE, study_name="s").get_trials()


class Found(NamedTuple):
    folder: Path
    before: dict[str, str]  # files of the project, before the search
    printed: str


@pytest.fixture(scope="module")
def searched(built_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """The tiny project after a search in two sittings: two trials, of which the second diverges, then two more."""
    folder = tmp_path_factory.mktemp("shapes") / "project"
    shutil.copytree(built_once, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        configure()
        before = contents(folder)
        monkeypatch.setattr(shapes, "distil", searches.diverging(shapes.distil, 1))
        for trials in ("2", "4"):
            run_tool(tune, monkeypatch, "--config", "shapes", "--trials", trials)
        yield Found(folder, before, (shapes.REPORT / "README.md").read_text())


@pytest.fixture
def table(searched: Found) -> pd.DataFrame:
    return pd.read_csv(shapes.REPORT / "trials.csv")


def test_it_writes_its_report_and_nothing_else(searched: Found) -> None:
    after = contents(searched.folder)
    made = {path for path in set(after) - set(searched.before) if not path.startswith("data/.tune/")}
    assert made == {f"reports/tune/shapes/{name}" for name in ("README.md", "front.png", "trials.csv")}
    assert all(after[path] == digest for path, digest in searched.before.items())
    assert not list(Path("data/.training").glob("*"))


def test_it_begins_with_the_student_as_it_is_and_goes_on_where_it_stopped(searched: Found, table: pd.DataFrame) -> None:
    assert list(table["trial"]) == [0, 1, 2, 3]
    assert table.loc[0, list(space.PARAMETERS)].to_dict() == {
        **{"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32, "common": 4000, "learning_rate": 0.002}
    }
    for name in space.WHOLE:
        ends = CONFIG["space"][name]
        assert table[name].between(ends["low"], ends["high"]).all()
    assert table["heads"].isin([2, 4]).all()
    assert table["learning_rate"].between(0.0005, 0.01).all()


def test_a_trial_that_diverges_is_recorded_as_failed_and_the_search_goes_on(
    searched: Found, table: pd.DataFrame
) -> None:
    assert list(table["state"]) == ["complete", "failed", "complete", "complete"]
    assert [trial.state.name for trial in trials_of()] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert table.loc[1, ["accuracy", "p50_ms", "size_mb"]].isna().all()
    assert re.search(
        r"^- trial 1: training diverged: the loss is nan in step 1\. .* try$", searched.printed, re.MULTILINE
    )
    assert "4 trials, 3 complete and 1 failed" in searched.printed


def test_the_front_is_what_no_other_trial_beats(searched: Found, table: pd.DataFrame) -> None:
    complete = table[table["state"] == "complete"]
    figures = {row.trial: (-row.accuracy, row.p50_ms, row.size_mb) for row in complete.itertuples()}

    def beats(theirs: tuple[float, ...], ours: tuple[float, ...]) -> bool:
        return theirs != ours and all(one <= other for one, other in zip(theirs, ours, strict=True))

    expected = {name for name, ours in figures.items() if not any(beats(theirs, ours) for theirs in figures.values())}
    assert set(table[table["pareto"]]["trial"]) == expected
    marked = {int(number) for number in re.findall(r"^\| (\d+)[^|]*◆ \|", searched.printed, re.MULTILINE)}
    assert marked == expected


def test_size_follows_from_the_shape_and_latency_is_on_the_scale_of_the_results(
    searched: Found, table: pd.DataFrame
) -> None:
    benchmark = files.read_json(Path("reports/benchmark.json"), "")["variants"]["narrow-ort-static"]
    same = table.loc[0]  # the shape of `narrow` itself
    assert same["size_mb"] == pytest.approx(benchmark["size_mb"], rel=0.01)
    assert 0.3 < same["p50_ms"] / benchmark["p50_ms"] < 3
    [trial] = [trial for trial in trials_of() if trial.number == 0]
    assert trial.values[1] * benchmark["p50_ms"] == pytest.approx(same["p50_ms"], abs=1e-6)
    assert f"narrow: {100 * benchmark['validation']['expected_accuracy_with_rule']:.2f} %" in searched.printed


def test_a_page_gives_the_overrides_of_the_most_accurate(
    searched: Found, table: pd.DataFrame, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = table[table["pareto"]]
    best = front.loc[front["accuracy"].idxmax()]
    [command] = re.findall(r"^dvc exp run((?: \\\n  -S \S+)+)$", searched.printed, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    compose(*overrides, *re.findall(r"-S (\S+)", command))
    narrow = yaml.safe_load(Path("params.yaml").read_text())["student"]["narrow"]
    found = {**narrow["shape"], "common": narrow["vocabulary"]["common"], "learning_rate": narrow["learning_rate"]}
    assert {name: found[name] for name in space.PARAMETERS} == {name: best[name] for name in space.PARAMETERS}


def test_a_finished_study_writes_the_same_again(searched: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    written = contents(shapes.REPORT)
    monkeypatch.setattr(shapes, "distil", None)
    run_tool(tune, monkeypatch, "--config", "shapes")
    assert contents(shapes.REPORT) == written


def test_another_setting_is_no_matter_for_the_same_study(
    searched: Found, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Path("params.yaml").read_text()
    compose(*overrides, "student.narrow.temperature=3.0")
    with pytest.raises(PipelineError, match="of study 's' were made from another setting of student"):
        run_tool(tune, monkeypatch, "--config", "shapes")
    Path("params.yaml").write_text(before)


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_keeps_what_is_done_and_its_trial_is_run_again(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(**{"base.epochs": 1})
    distil = shapes.distil
    run_tool(tune, monkeypatch, "--config", "shapes", "--trials", "1")
    monkeypatch.setattr(shapes, "distil", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tool(tune, monkeypatch, "--config", "shapes", "--trials", "2")
    monkeypatch.setattr(shapes, "distil", distil)
    run_tool(tune, monkeypatch, "--config", "shapes", "--trials", "2")
    trials = trials_of()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[1].params == trials[2].params
    assert list(pd.read_csv(shapes.REPORT / "trials.csv")["trial"]) == [0, 2]


def test_a_search_whose_trials_all_fail_ends_and_says_why(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    monkeypatch.setattr(shapes, "distil", searches.diverging(shapes.distil, 0, 1))
    with pytest.raises(PipelineError, match="every trial of study 's' failed, the first with: training diverged: the"):
        run_tool(tune, monkeypatch, "--config", "shapes", "--trials", "2")
    assert [trial.state.name for trial in trials_of()] == ["FAIL", "FAIL"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search.trials": 0}, "`shapes.search.trials` is 0; allowed: a whole number, 1 or more"),
        ({"base": None}, "conf/shapes.yaml: the file has no `base`; its keys are: search, base, space, timing"),
        ({"base.epochs": 0}, "`shapes.base.epochs` is 0; allowed: a whole number, 1 or more"),
        ({"base.student": "half"}, "`student.half.shape` is null; allowed in a search over shapes: a section"),
        ({"base.student": "none"}, "params.yaml has no section `student.none`"),
        ({"base.int8": "best"}, "'best' is no technique of intents.onnx; allowed: dynamic, static"),
        ({"base.unlabelled": 5000}, "`shapes.base.unlabelled` is 5000; allowed: up to "),
        ({"space.depth": 3}, "conf/shapes.yaml: space does not know `depth`; its keys are: hidden, layers"),
        ({"space.hidden.low": 24}, "`shapes.space.hidden.low` is 24; allowed: up to `high`, 16"),
        ({"space.hidden.high": 64}, "`shapes.space.hidden.high` is 64; allowed: up to 32, the teacher's"),
        ({"space.heads": [2, 3]}, "`shapes.space.heads` is [2, 3]; allowed: numbers that divide each hidden size, 8 "),
        ({"space.heads": []}, "`shapes.space.heads` is []; allowed: numbers that divide each hidden size"),
        ({"space.heads": "two"}, "`shapes.space.heads` is 'two'; allowed: a list of whole numbers"),
        ({"space.learning_rate.high": 2.0}, "`shapes.space.learning_rate.high` is 2.0; allowed: a number above 0 to 1"),
        ({"timing.blocks": 0}, "`shapes.timing.blocks` is 0; allowed: a whole number, 1 or more"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    searched: Found, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    configure(**changes)
    try:
        with pytest.raises(PipelineError, match=re.escape(message)) as error:
            run_tool(tune, monkeypatch, "--config", "shapes", "--study", "refused")
        assert len(str(error.value)) < 400
    finally:
        configure()


def test_without_the_results_of_the_base_student_nothing_is_trained(
    searched: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(**{"base.int8": "dynamic"})
    monkeypatch.setattr(shapes.study, "open_study", None)
    whole = Path("reports/benchmark.json").read_text()
    Path("reports/benchmark.json").write_text(whole.replace("narrow-ort-dynamic", "gone"))
    try:
        with pytest.raises(PipelineError, match=r"benchmark\.json has no `narrow-ort-dynamic`; run `dvc repro select`"):
            run_tool(tune, monkeypatch, "--config", "shapes")
    finally:
        Path("reports/benchmark.json").write_text(whole)
        configure()


def test_the_shipped_file_is_read_and_holds_the_student_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.write_text(space.CONFIG, (ROOT / space.CONFIG).read_text())
    compose()
    config = space.load()
    assert config.space.holds(shapes.Task.load(config.base).current)
    assert config.search.study != yaml.safe_load((ROOT / "conf/tune.yaml").read_text())["search"]["study"]


def test_a_time_is_the_median_ratio_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks in which the reference, or the model, was held up do not count."""
    blocks = {"model": [2.0, 2.0, 90.0, 2.2, 1.8], "reference": [4.0, 80.0, 4.0, 4.0, 4.0]}
    asked: list[str] = []

    def interleaved(answerers: Any, queries: list[str], warmup: int, seed: int) -> dict[str, np.ndarray]:
        asked.extend(queries)
        return {name: np.repeat(blocks[name], 3) for name in answerers}

    monkeypatch.setattr(candidate.latency, "interleaved", interleaved)
    data = SimpleNamespace(texts=lambda _: list("abcdefgh"), intents=SimpleNamespace(names=["a", "oos"]))
    found = candidate.relative_time(None, None, data, Timing(blocks=5, queries=3, warmup=0), seed=1)
    assert found == pytest.approx(0.5)
    assert asked[:3] * 5 == asked


def test_the_error_of_an_accuracy_is_that_of_weighted_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 queries in scope, of which 72 are right, and 20 out of scope, of which 10 are, weighted 0.7 and 0.3."""
    labels = np.array([0] * 80 + [1] * 20)
    given = np.array([0] * 72 + [1] * 8 + [1] * 10 + [0] * 10)
    logits = np.where(np.arange(2) == given[:, None], 5.0, -5.0)
    answers = iter(logits)
    model = SimpleNamespace(logits=lambda _: next(answers))
    data = SimpleNamespace(
        texts=lambda _: ["a"] * 100, labels=lambda _: labels, intents=SimpleNamespace(out_of_scope=1)
    )
    monkeypatch.setattr(candidate.quality, "cross_fitted", lambda answers, *_: answers.argmax(axis=1))
    found = candidate.judged(model, data, OutOfScope(rate=0.3, quantile=0.02))
    assert found.accuracy == pytest.approx(0.7 * 0.9 + 0.3 * 0.5)
    assert found.error == pytest.approx((0.49 * 0.09 / 80 + 0.09 * 0.25 / 20) ** 0.5)


def test_the_picture_joins_the_front_and_marks_the_students() -> None:
    rows = [
        (0, 0.90, 0.20, 2.0, True),
        (1, 0.93, 0.30, 2.5, True),
        (2, 0.91, 0.31, 1.5, True),
        (3, 0.89, 0.4, 3.0, False),
    ]
    trials = pd.DataFrame(rows, columns=["trial", "accuracy", "p50_ms", "size_mb", "pareto"])
    failed = pd.DataFrame([{"trial": 4, "state": "failed", "pareto": False}])
    trials = pd.concat([trials.assign(state="complete"), failed])
    students = pd.DataFrame({"slim": [0.931, 0.19, 2.3]}, index=["accuracy", "p50_ms", "size_mb"]).T
    axes = front.picture(trials, students).axes[0]
    [line] = axes.lines
    assert list(zip(*line.get_data(), strict=True)) == [(0.20, 0.90), (0.30, 0.93)]
    beaten, best, marked, _ = axes.collections
    assert beaten.get_offsets().data.tolist() == [[0.4, 0.89]]
    assert best.get_offsets().data.tolist() == [[0.20, 0.90], [0.30, 0.93], [0.31, 0.91]]
    assert best.get_sizes() == pytest.approx([front.AREA * size for size in (2.0, 2.5, 1.5)])
    assert marked.get_offsets().data.tolist() == [[0.19, 0.931]]
    assert {text.get_text() for text in axes.texts} == {"0", "1", "2", "slim"}
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["trial, beaten", "trial, Pareto front", "front without size", "student of the results table"]


def test_trials_of_one_shape_share_a_time() -> None:
    shape = {"hidden": 8, "layers": 1, "heads": 2, "feed_forward": 16, "common": 0}
    other = SimpleNamespace(user_attrs={front.TIME: 0.7}, params=shape | {"learning_rate": 0.1})
    untimed = SimpleNamespace(user_attrs={}, params={})
    trial = SimpleNamespace(study=SimpleNamespace(get_trials=lambda **_: [untimed, other]))
    assert shapes.known_time(trial, shape | {"learning_rate": 0.2}) == 0.7
    assert shapes.known_time(trial, shape | {"layers": 2}) is None
