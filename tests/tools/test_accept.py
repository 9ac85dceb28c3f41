"""accept: a change of words is recorded and runs nothing; any other change is refused, and nothing is recorded."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import run_tool

from intents.core.errors import PipelineError
from tools import accept, lock

# Two stages that read a package, and one that does not. Each run leaves a line in ../ran.
PIPELINE = """
stages:
  train:
    cmd: python -m stages.train
    deps: [intents/core, stages/train.py]
    params: [rate]
    outs: [models/trained]
  judge:
    cmd: python -m stages.judge
    deps: [intents/core, models/trained, stages/judge.py]
    metrics:
      - reports/judged.json: {cache: false}
  plot:
    cmd: python -m stages.plot
    deps: [stages/plot.py, data/domains.json]
    outs:
      - reports/plot: {cache: false}
"""
SETTINGS = '''"""Settings."""

FACTOR = 2  # of the rate


def scaled(value):
    """A value times the factor."""
    return FACTOR * value
'''
STAGE = """from pathlib import Path

from intents.core.settings import scaled

with Path("../ran").open("a") as file:
    file.write("{name}\\n")
Path("{out}").parent.mkdir(parents=True, exist_ok=True)
Path("{out}").write_text(f'{{{{"value": {{scaled(3)}}}}}}')
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "params.yaml": "rate: 1\n",
    ".gitignore": "/models/\n__pycache__/\n",
    ".dvcignore": "__pycache__\n",
    "data/domains.json": "{}",
    "intents/__init__.py": "",
    "intents/core/__init__.py": '"""What every part needs."""\n',
    "intents/core/settings.py": SETTINGS,
    "intents/core/words.txt": "some words\n",
    "stages/__init__.py": "",
    "stages/train.py": STAGE.format(name="train", out="models/trained/model"),
    "stages/judge.py": STAGE.format(name="judge", out="reports/judged.json"),
    "stages/plot.py": STAGE.format(name="plot", out="reports/plot/plot.json"),
}
CORE = Path("intents/core/settings.py")


def commit(message: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["add", "-A"], [*author, "commit", "-q", "-m", message]):
        subprocess.run(["git", *command], check=True)


def edit(path: str | Path, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def made(warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages have run, committed."""
    folder = tmp_path_factory.mktemp("accept") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(warm), prepend=os.pathsep)
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder.parent / "site"))
        monkeypatch.delenv("PYTHONPATH", raising=False)
        for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "config", "core.analytics", "false"]):
            subprocess.run(command, check=True)
        subprocess.run(["dvc", "repro", "-q"], check=True)
        commit("made")
        assert lock.stale(Path()) is None
    return folder.parent


@pytest.fixture
def project(made: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    shutil.copytree(made, tmp_path / "made", symlinks=True)
    monkeypatch.chdir(tmp_path / "made/project")
    monkeypatch.setenv("PATH", str(warm), prepend=os.pathsep)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "made/site"))
    return Path.cwd()


@pytest.fixture
def accepted(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Runs the tool and returns what it printed: dvc.lock is in step afterwards, no stage ran, and no other file
    changed."""

    def run() -> str:
        assert lock.stale(Path()) is not None
        before, ran = status(), Path("../ran").read_bytes()
        capsys.readouterr()
        run_tool(accept, monkeypatch)
        assert lock.stale(Path()) is None
        assert Path("../ran").read_bytes() == ran
        assert status() - before <= {" M dvc.lock"}
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Runs the tool, which must refuse in one line; returns it. Nothing is recorded, and no stage runs."""

    def run() -> str:
        before = Path("dvc.lock").read_bytes(), Path("../ran").read_bytes(), status()
        with pytest.raises(PipelineError, match="nothing recorded, `make repro` is needed") as error:
            run_tool(accept, monkeypatch)
        assert (Path("dvc.lock").read_bytes(), Path("../ran").read_bytes(), status()) == before
        assert "\n" not in str(error.value)
        return str(error.value)

    return run


def status() -> set[str]:
    done = subprocess.run(["git", "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # of the rate", "  # of the learning rate"),
        ('"""A value times the factor."""', '"""A value, scaled.\n\n    In floating point.\n    """'),
        ('"""Settings."""\n', ""),
        ("    return FACTOR * value", "    return (\n        FACTOR\n        * value\n    )"),
    ],
    ids=["comment", "docstring", "docstring gone", "layout"],
)
def test_a_change_of_words_is_recorded_and_runs_nothing(accepted: Callable[[], str], old: str, new: str) -> None:
    edit(CORE, old, new)
    assert accepted() == "recorded in dvc.lock as unchanged: train, judge; commit it with the code (intents/core)\n"


def test_it_takes_few_seconds(accepted: Callable[[], str]) -> None:
    edit(CORE, "  # of the rate", "")
    start = time.monotonic()
    accepted()
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        (CORE, "FACTOR = 2", "FACTOR = 3", "intents/core/settings.py changed in more than"),
        (CORE, "FACTOR = 2", "FACTOR = 2.0", "intents/core/settings.py changed in more than"),
        (CORE, "FACTOR * value", "value * FACTOR", "intents/core/settings.py changed in more than"),
        (CORE, "    return", "    return (", "intents/core/settings.py changed in more than"),
        ("intents/core/words.txt", "some", "# some", "intents/core/words.txt changed in more than"),
        ("stages/judge.py", "scaled(3)", "scaled(4)", "judge: stages/judge.py changed in more than"),
        ("data/domains.json", "{}", "{ }", "plot: data/domains.json changed in more than"),
        ("params.yaml", "rate: 1", "rate: 2", "train: params.yaml rate changed"),
        ("dvc.yaml", "python -m stages.train", "python -B -m stages.train", "train: its command changed"),
    ],
)
def test_any_other_change_is_refused_and_named(
    refused: Callable[[], str], path: str | Path, old: str, new: str, named: str
) -> None:
    edit(path, old, new)
    assert named in refused()


def test_words_changed_beside_a_constant_are_not_recorded_either(refused: Callable[[], str]) -> None:
    edit("stages/plot.py", "from pathlib", "# a comment\nfrom pathlib")
    edit(CORE, "FACTOR = 2", "FACTOR = 3")
    assert refused().endswith(
        "(train, judge: intents/core/settings.py changed in more than comments, docstrings and layout)"
    )


@pytest.mark.parametrize("name", ["new.py", "new.json", "deeper/new.py"])
def test_a_new_file_in_a_package_is_refused(refused: Callable[[], str], name: str) -> None:
    path = CORE.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert f"train, judge: {path} is new" in refused()


def test_a_file_gone_from_a_package_is_refused(refused: Callable[[], str]) -> None:
    Path("intents/core/words.txt").unlink()
    assert "train, judge: intents/core/words.txt is gone" in refused()


def test_an_output_that_was_edited_is_refused(refused: Callable[[], str]) -> None:
    Path("models/trained/model").write_text("by hand")
    edit(CORE, "  # of the rate", "")
    assert "Git has no version of models/trained with the digest in dvc.lock" in refused()


def test_a_constant_that_was_committed_and_not_run_is_refused(refused: Callable[[], str]) -> None:
    """HEAD is no baseline then: dvc.lock was made from an earlier version, and it is found by its digest."""
    edit(CORE, "FACTOR = 2", "FACTOR = 3")
    commit("a constant")
    edit(CORE, "  # of the rate", "  # of the learning rate")
    assert "intents/core/settings.py changed in more than comments" in refused()


def test_words_may_be_committed_first(accepted: Callable[[], str]) -> None:
    for number in range(3):
        edit(CORE, "# ", f"# {number} ")
        commit("a comment")
    edit(CORE, '"""Settings."""', '"""The settings."""')
    accepted()


def test_words_accepted_and_changed_again_need_the_committed_lock(
    accepted: Callable[[], str], refused: Callable[[], str]
) -> None:
    edit(CORE, "  # of the rate", "  # of the learning rate")
    accepted()
    edit(CORE, "  # of the learning rate", "  # of learning")
    assert "if it was accepted before and not committed, `git restore dvc.lock` first" in refused()
    subprocess.run(["git", "restore", "dvc.lock"], check=True)
    accepted()


def test_code_that_git_never_had_is_refused(refused: Callable[[], str]) -> None:
    edit(CORE, "FACTOR = 2", "FACTOR = 3")
    subprocess.run(["dvc", "repro", "-q"], check=True)  # dvc.lock is now that of code that was never committed
    edit(CORE, "  # of the rate", "  # of the learning rate")
    assert "Git has no version of intents/core with the digest in dvc.lock" in refused()


def test_a_stage_that_never_ran_is_refused(refused: Callable[[], str]) -> None:
    edit("dvc.yaml", "stages:\n", "stages:\n  other:\n    cmd: 'true'\n    deps: [stages/plot.py]\n")
    assert "other" in refused()


def test_a_clone_without_the_models_will_do(
    project: Path, accepted: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "clone", "--quiet", ".", "../clone"], check=True)
    monkeypatch.chdir("../clone")
    recorded = Path("dvc.lock").read_text()
    assert not Path("models").exists()
    edit(CORE, "  # of the rate", "  # of the learning rate")
    accepted()
    assert not Path("models").exists()
    changed = [
        pair
        for pair in zip(recorded.splitlines(), Path("dvc.lock").read_text().splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert len(changed) == 4  # digest and size of one package, in two stages
    shutil.copytree(project / ".dvc/cache", ".dvc/cache")
    subprocess.run(["dvc", "checkout", "-q"], check=True)
    assert json.loads(Path("models/trained/model").read_text()) == {"value": 6}


def test_a_run_that_was_accepted_is_found_in_the_cache_later(accepted: Callable[[], str]) -> None:
    edit(CORE, "  # of the rate", "  # of the learning rate")
    accepted()
    before = Path("../ran").read_text()
    for old, new in (("rate: 1", "rate: 2"), ("rate: 2", "rate: 1")):
        edit("params.yaml", old, new)
        subprocess.run(["dvc", "repro", "-q"], check=True)
    assert Path("../ran").read_text() == before + "train\n"  # with the other rate alone


def test_with_nothing_changed_it_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("dvc.lock").read_bytes()
    run_tool(accept, monkeypatch)
    assert capsys.readouterr().out == "nothing to record: every stage is what dvc.lock says\n"
    assert Path("dvc.lock").read_bytes() == before


def test_elsewhere_than_in_the_root_it_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "intents")
    with pytest.raises(PipelineError, match="run from the project's root"):
        run_tool(accept, monkeypatch)
