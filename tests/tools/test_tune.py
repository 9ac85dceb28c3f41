"""tune: a search that a kill does not harm, that workers share, and whose winner is what the pipeline then gives."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
import searches
import yaml
from conftest import ROOT, compose, contents, run, run_tool
from optuna.trial import FrozenTrial
from sqlalchemy.pool import NullPool

from intents.core import files, paths, settings
from intents.core.errors import PipelineError
from intents.data import logits
from intents.training.distillation import Distillation
from stages import distill
from tools import tune
from tools.search import config, trials
from tools.search.trials import Report

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

REPORTED = {"README.md", "history.png", "importance.png", "plane.png", "trials.csv"}
CONFIG = {
    "search": {
        "trials": 4,
        "seed": 0,
        "study": "s",
        "storage": "sqlite:///data/.tune/study.db",
        "heartbeat": 3,  # shorter, and on a busy machine the living are taken for dead
        "startup": 2,
    },
    "space": {
        "epochs": {"low": 3, "high": 4, "step": 1},
        "alpha": {"low": 0.0, "high": 1.0, "step": 0.01},
        "temperature": {"low": 2.0, "high": 20.0, "step": 0.5},
    },
    "pruner": {"keep": 50, "warmup": 0.3},
}


def configure(**changes: object) -> None:
    """conf/tune.yaml of the tests with some values changed."""
    searches.write(config.CONFIG, CONFIG, changes)


@pytest.fixture
def searched(built: Path) -> Path:
    """The tiny project with a small search to run."""
    configure()
    return built


def trials_of(storage: str = CONFIG["search"]["storage"]) -> list[FrozenTrial]:
    """The study's trials as the database has them now; none if it is not there yet."""
    try:
        # No pool: asked many times a second, it would keep more connections open than a server admits.
        opened = optuna.storages.RDBStorage(storage, engine_kwargs={"poolclass": NullPool})
        return optuna.load_study(storage=opened, study_name="s").get_trials()
    except Exception:  # no tables yet, or no study, or half of either
        return []


class Worker(subprocess.Popen[bytes]):
    """A search in a process of its own. What it says goes to a file: a pipe left unread would fill and stop it."""

    def __init__(self, warm: Path, folder: Path, *arguments: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        super().__init__(
            [warm / "python", "-m", "tools.tune", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=self._log,
            stdout=subprocess.PIPE,  # but for the page at its end
        )

    def ended(self) -> str:
        """All it said, once it has ended: once no process is left that could write to its standard output."""
        self.communicate(timeout=300)
        self._log.seek(0)
        return self._log.read().decode()


def wait_until(condition: Callable[[], bool], *workers: Worker) -> None:
    limit = time.monotonic() + 120
    while not condition():
        for number, worker in enumerate(workers):
            assert worker.poll() is None, f"worker {number}: {worker.ended()[-4000:]}"
        assert time.monotonic() < limit
        time.sleep(0.02)


def finished(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]


def in_the_middle(trials: list[FrozenTrial], first: int, last: int) -> list[FrozenTrial]:
    """Those that run and have from `first` to `last` epochs behind them."""
    running = [trial for trial in trials if trial.state.name == "RUNNING"]
    return [trial for trial in running if first <= trial.user_attrs.get("epochs_run", 0) <= last]


def test_what_it_found_is_what_distill_then_gives(
    searched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(searched)
    run_tool(tune, monkeypatch)
    made = set(contents(searched)) - set(before)
    assert {path for path in made if not path.startswith("data/.tune/")} == {
        "conf/distill/tuned.yaml",
        *(f"reports/tune/distill/{name}" for name in REPORTED),
    }
    assert all(contents(searched)[path] == digest for path, digest in before.items())
    assert not list(Path("data/.training").glob("*"))

    tuned = yaml.safe_load(tune.TUNED.read_text())
    assert tuned.pop("defaults") == ["default"]
    assert {*tuned, "answers"} == set(yaml.safe_load((ROOT / "conf/distill/default.yaml").read_text()))
    table = pd.read_csv(tune.REPORT / "trials.csv")
    assert len(table) == 4
    assert table["epochs"].between(3, 4).all()
    best = table[table["state"] == "complete"].nlargest(1, "accuracy", keep="first").iloc[0]
    assert {name: tuned[name] for name in config.PARAMETERS} == {name: best[name] for name in config.PARAMETERS}

    page = (tune.REPORT / "README.md").read_text()
    assert f"{(table['state'] == 'complete').sum()} complete and {(table['state'] == 'pruned').sum()} pruned" in page
    assert f"{table['epochs_run'].sum()} epochs of training" in page
    assert f"**trial {best['trial']}**" in page
    assert page in capsys.readouterr().out

    compose(*overrides, *(f"distill.{name}={value}" for name, value in tuned.items()))
    assert settings.load(Distillation, "distill") == Distillation(**tuned, answers="data/logits/teacher.safetensors")
    run(distill, "half")
    made = files.read_json(paths.MADE / "half.json", "")["half"]
    assert made["validation"]["accuracy"] == pytest.approx(best["accuracy"], abs=1e-6)

    written = contents(tune.REPORT)
    compose(*overrides)
    run_tool(tune, monkeypatch)
    assert contents(tune.REPORT) == written, "the same study gives the same bytes"


def test_it_begins_with_the_settings_of_today_if_the_space_has_them(
    searched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*overrides, "distill.epochs=3", "distill.alpha=0.25")
    run_tool(tune, monkeypatch, "--trials", "1")
    assert trials_of()[0].params == {"epochs": 3, "alpha": 0.25, "temperature": 4.0}
    assert re.search(r"^\| 0 \(params.yaml\) \| .* \| 3 \| 0.25 \| 4 \|$", page := _page(), re.MULTILINE), page


def _page() -> str:
    return (tune.REPORT / "README.md").read_text(encoding="utf-8")


def test_a_killed_search_goes_on_with_the_same_study_and_loses_no_trial(
    searched: Path, warm: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(**{"space.epochs": {"low": 10, "high": 10, "step": 1}, "pruner.keep": 100})
    worker = Worker(warm, searched)
    wait_until(lambda: any(trial.number >= 1 for trial in in_the_middle(trials_of(), 2, 8)), worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.ended()
    killed = trials_of()
    (victim,) = (trial for trial in killed if trial.state.name == "RUNNING")
    assert len(finished(killed)) == victim.number
    reached = victim.user_attrs["epochs_run"]

    # In a process again: a checkpoint is resumed by the same code alone, and more of it is loaded in this one.
    said = Worker(warm, searched).ended()
    trials = trials_of()
    assert {trial.number for trial in trials if trial.state.name == "FAIL"} == {victim.number}
    assert len(finished(trials)) == 4
    (retried,) = (trial for trial in finished(trials) if trial.params == victim.params)
    assert retried.number >= len(killed)
    assert retried.intermediate_values.items() >= victim.intermediate_values.items()
    # Its training went on where the kill had left it: after the last epoch, or the one before if that was not yet
    # saved. An epoch is ten steps.
    (resumed,) = re.findall(r"resuming from .*checkpoint-(\d+)", said)
    assert int(resumed) // 10 in (reached - 1, reached)


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A server of its own, empty; its URL. It refuses to run as root, so then it is the user postgres's."""
    found = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if not found:
        pytest.skip("no PostgreSQL here: neither initdb on PATH nor /usr/lib/postgresql/*/bin")
    binaries = Path(found).resolve().parent
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        (folder / "password").write_text("hunter2")
        if user:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")

        def call(program: str, *arguments: str) -> None:
            subprocess.run(
                [*user, binaries / program, "-D", folder / "data", *arguments],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )

        call("initdb", "-U", "ann", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        call("pg_ctl", "start", "-w", "-o", options, "-l", str(folder / "log"))
        try:
            yield f"postgresql://ann:hunter2@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "-m", "immediate")


def test_workers_share_the_trials_of_a_postgresql_study_and_one_takes_over_from_a_dead_one(
    searched: Path, warm: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Trials long enough for both workers to be amid one at once, however unlike their starts.
    configure(**{"space.epochs": {"low": 40, "high": 40, "step": 1}, "search.trials": 5})
    arguments = ("--storage", postgresql)
    workers = [Worker(warm, searched, *arguments) for _ in range(2)]  # at once, and the database is empty
    wait_until(lambda: len(in_the_middle(trials_of(postgresql), 1, 35)) == 2, *workers)
    os.kill(workers[1].pid, signal.SIGKILL)
    dead = workers[1].ended()

    caplog.set_level("INFO", logger="tools.tune")
    run_tool(tune, monkeypatch, *arguments)
    alive = workers[0].ended()
    assert workers[0].returncode == 0, alive

    trials = trials_of(postgresql)
    ended = [
        {int(number) for number in re.findall(r"trial (\d+): (?:complete|pruned)", text)}
        for text in (alive, dead, caplog.text)
    ]
    done = {trial.number for trial in finished(trials)}
    assert set.union(*ended) == done
    assert sum(map(len, ended)) == len(done), "a trial was run by two"
    assert ended[0]
    assert ended[2]
    assert len(done) in (5, 6)  # 6 if two workers took the fifth in the same instant
    assert all(trial.state.name in ("COMPLETE", "PRUNED", "FAIL") for trial in trials)
    lost = [trial for trial in trials if trial.state.name == "FAIL"]
    assert len(lost) == 1
    assert any(trial.params == lost[0].params for trial in finished(trials))
    assert {path.name for path in tune.REPORT.iterdir()} == REPORTED
    assert "hunter2" not in alive + dead + caplog.text + _page() + tune.TUNED.read_text()


class Recorder:
    """A trial that keeps what it is told, and says that it is behind from a given step on."""

    def __init__(self, behind_from: float = float("inf")) -> None:
        self.values: dict[int, float] = {}
        self.user_attrs: dict[str, object] = {}
        self.behind_from = behind_from

    def report(self, value: float, step: int) -> None:
        assert step not in self.values
        self.values[step] = value

    def set_user_attr(self, key: str, value: object) -> None:
        self.user_attrs[key] = value

    def should_prune(self) -> bool:
        return max(self.values) >= self.behind_from


def train(trial: Recorder, epochs: int) -> None:
    """A training whose accuracy after each epoch is the square of the epochs' number, in per cent."""
    report = Report(trial, epochs)
    entries: list[dict[str, float]] = []
    for epoch in range(1, epochs + 1):
        entries += [{"loss": 1.0}, {"eval_accuracy": epoch**2 / 100}]
        report.on_evaluate(None, SimpleNamespace(log_history=entries), None)


@pytest.mark.parametrize(
    ("epochs", "percents"),
    [
        (5, [1, 1, 2.5, 4, 6.5, 9, 12.5, 16, 20.5, 25]),
        (
            7,
            [
                1,
                1 + 3 * 0.4,
                4 + 5 * 0.1,
                4 + 5 * 0.8,
                9 + 7 * 0.5,
                16 + 9 * 0.2,
                16 + 9 * 0.9,
                25 + 11 * 0.6,
                36 + 13 * 0.3,
                49,
            ],
        ),
        (10, [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]),
    ],
)
def test_trials_of_any_length_are_compared_after_the_same_tenth_of_their_training(
    epochs: int, percents: list[float]
) -> None:
    trial = Recorder()
    train(trial, epochs)
    assert list(trial.values) == list(range(1, 11))
    assert list(trial.values.values()) == pytest.approx([percent / 100 for percent in percents])
    assert trial.user_attrs == {"epochs_run": epochs}


def test_a_trial_that_is_behind_ends_at_the_next_epoch_but_never_at_its_last() -> None:
    trial = Recorder(behind_from=5)
    with pytest.raises(optuna.TrialPruned, match="behind after 3 of 5 epochs"):
        train(trial, 5)
    assert max(trial.values) == 6
    train(Recorder(behind_from=10), 5)


def test_a_pruned_trial_leaves_no_checkpoints(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(**{"search.startup": 1, "pruner.keep": 0, "pruner.warmup": 0.0, "search.trials": 3})
    monkeypatch.setattr(optuna.pruners.PercentilePruner, "prune", lambda _, __, trial: trial.number > 0)
    run_tool(tune, monkeypatch)
    table = pd.read_csv(tune.REPORT / "trials.csv")
    assert list(table["state"]) == ["complete", "pruned", "pruned"]
    assert list(table["epochs_run"])[1:] == [1, 1]
    assert not list(Path("data/.training").glob("*"))


def test_a_trial_that_diverges_is_told_and_the_others_go_on(
    searched: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(**{"search.startup": 1, "search.trials": 3})
    monkeypatch.setattr(trials, "distil", searches.diverging(trials.distil, 0, 1, 3, 4))
    with caplog.at_level("INFO"):
        run_tool(tune, monkeypatch)
    told = [message for message in caplog.messages if "done" in message]
    assert told[0].startswith("trial 0: failed: training diverged: the loss is nan in step 1. It ran with `learning_")
    assert told[0].endswith("; 1 of 3 done")
    assert re.search(r"; 3 of 3 done, best [\d.]+ % \(trial 2\)$", told[2])
    table = pd.read_csv(tune.REPORT / "trials.csv")
    assert list(table["state"]) == ["diverged", "diverged", "complete"]
    assert list(table["accuracy"].isna()) == [True, True, False]
    assert "3 trials, 1 complete, 0 pruned and 2 diverged" in (tune.REPORT / "README.md").read_text()
    assert not list(Path("data/.training").glob("*"))

    with pytest.raises(PipelineError, match=r"all 2 trials of study 'other' diverged; lower `distill.learning_rate`"):
        run_tool(tune, monkeypatch, "--study", "other", "--trials", "2")


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"search.trials": 0}, [], "`tune.search.trials` is 0; allowed: a whole number, 1 or more"),
        ({"search.startup": "many"}, [], "`tune.search.startup` is 'many'; allowed: a whole number"),
        ({"search.seed": None}, [], "conf/tune.yaml: search has no `seed`; its keys are: trials, seed"),
        ({"space.beta": {"low": 1}}, [], "conf/tune.yaml: space does not know `beta`; its keys are: epochs, alpha"),
        ({"space.alpha": 0.5}, [], "conf/tune.yaml: space.alpha has no `high`"),
        ({"pruner": None}, [], "conf/tune.yaml: the file has no `pruner`"),
        ({"space.alpha.high": 1.5}, [], "`tune.space.alpha.high` is 1.5; allowed: a number from 0 to 1"),
        ({"space.temperature.low": 0.0}, [], "`tune.space.temperature.low` is 0.0; allowed: a number above 0"),
        ({"space.epochs.low": 5}, [], "`tune.space.epochs.low` is 5; allowed: up to `high`, 4"),
        ({"pruner.keep": 101}, [], "`tune.pruner.keep` is 101.0; allowed: a number from 0 to 100"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    searched: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], arguments: list[str], message: str
) -> None:
    configure(**changes)
    with pytest.raises(PipelineError, match=re.escape(message)):
        run_tool(tune, monkeypatch, *arguments)
    assert not Path("data/.tune").exists()


def test_the_shipped_settings_are_the_reference_texts_space(searched: Path) -> None:
    shutil.copy(ROOT / config.CONFIG, config.CONFIG)
    search, space, _ = config.load()
    ends = {name: (getattr(space, name).low, getattr(space, name).high) for name in config.PARAMETERS}
    assert ends == {"epochs": (5, 10), "alpha": (0, 1), "temperature": (2, 20)}
    assert search.trials == 12
    assert subprocess.run(["git", "-C", ROOT, "check-ignore", "-q", "data/.tune/study.db"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("student.half.alpha=1.0", "`student.half.alpha` is 1.0; allowed in a search: null, for distill.alpha"),
        ("student.half.epochs=3", "`student.half.epochs` is 3; allowed in a search: null, for distill.epochs"),
        ("variants.student=labels", "`student.labels.alpha` is 1.0; allowed in a search: null"),
        (
            "student.half.objective=logits",
            "`student.half.objective` is logits, which leaves no alpha and no temperature",
        ),
    ],
)
def test_a_student_that_does_not_go_by_the_searched_values_is_refused(
    searched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    compose(*overrides, override)
    with pytest.raises(PipelineError, match=re.escape(message)):
        run_tool(tune, monkeypatch)
    assert not Path("data/.tune").exists()


def test_missing_logits_say_what_makes_them(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data/logits/teacher.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"teacher.safetensors not found; run `dvc repro finetune-teacher@teacher`"):
        run_tool(tune, monkeypatch)


def test_another_teacher_or_setting_is_no_matter_for_the_same_study(
    searched: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tool(tune, monkeypatch, "--trials", "1")
    compose(*overrides, "distill.alpha=0.9", "benchmark.calls=9")  # searched, or of another stage: all the same
    run_tool(tune, monkeypatch, "--trials", "1")
    compose(*overrides, "distill.learning_rate=0.001", "student.half.layers=[0,2]")
    message = "of study 's' were made from another fixed setting of distill, another setting of student, and"
    with pytest.raises(PipelineError, match=message):
        run_tool(tune, monkeypatch)
    compose(*overrides)
    logits.save("teacher", {split: answers + 1 for split, answers in logits.load("teacher").items()})
    with pytest.raises(PipelineError, match=r"made from another data/logits/teacher.safetensors, and"):
        run_tool(tune, monkeypatch)
