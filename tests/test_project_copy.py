"""project_copy, demo and whole: the pipeline runs in a copy; the checkout keeps its parameters and results."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import contents, run

from stages import demo, lock, whole
from stages.library import project_copy
from stages.library.errors import PipelineError

TRACKED = {
    ".dvc/config": "",
    ".dvc/.gitignore": "/tmp\n",
    ".dvcignore": "",
    ".gitignore": "__pycache__/\n/.demo/\n",
    "README.md": "",
    "conf/config.yaml": "plot:\n  dpi: 150\n",
    "conf/demo.yaml": "defaults:\n  - config\n  - _self_\nplot:\n  dpi: 50\n",
    "conf/old.yaml": "",
    "data/.gitignore": "/teacher\n",
    "data/sample/sample.json": "{}",
    "dvc.lock": "",
    "dvc.yaml": "stages: {}\n",
    "params.yaml": "plot:\n  dpi: 150\n",
    "reports/report.md": "real results",
    "stages/__init__.py": "",
    "stages/clean.py": "",
    "stages/predict.py": "import sys\nprint(sys.argv)\n",
    "tests/test_one.py": "",
}
UNTRACKED = {"stages/new.py": "1", "stages/__pycache__/one.pyc": "", "data/teacher/model": "big", ".dvc/tmp/lock": ""}
COPIED = {
    *(".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "conf/config.yaml", "conf/demo.yaml"),
    "data/.gitignore",
    *(
        "data/sample/sample.json",
        "dvc.yaml",
        "stages/__init__.py",
        "stages/clean.py",
        "stages/predict.py",
        "stages/new.py",
    ),
}


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git checkout with edits: one file changed, one new, one gone, some ignored."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write(TRACKED)
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "--all"], check=True)
    write(UNTRACKED | {"stages/predict.py": "import sys\nprint('asked', sys.argv[1:])\n"})
    Path("conf/old.yaml").unlink()
    return folder


@pytest.fixture
def dvc_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dvc` on PATH that only writes down how it was called; `dvc fail` is what DVC_STATUS makes of repro."""
    log, program = tmp_path / "dvc.log", tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$PWD dvc $*" >> \'{log}\'\n[ "$1" = repro ] && exit ${{DVC_STATUS:-0}}\nexit 0\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return log


@pytest.mark.usefixtures("dvc_log")
def test_only_the_pipelines_parts_are_copied_as_they_are_in_the_working_tree(checkout: Path) -> None:
    project_copy.create(Path("copy"), "demo")
    shutil.rmtree("copy/.git")
    copied = contents(checkout / "copy")
    assert set(copied) == COPIED
    assert copied == {name: digest for name, digest in contents(checkout).items() if name in COPIED}


@pytest.mark.usefixtures("dvc_log")
def test_what_is_gone_here_goes_in_the_copy_and_its_results_stay(checkout: Path) -> None:
    project_copy.create(Path("copy"), "demo")
    write({"copy/data/teacher/model": "the demo's", "copy/reports/report.md": "the demo's", "copy/dvc.lock": "its"})
    Path("stages/new.py").unlink()
    write({"dvc.yaml": "stages: {other: {}}\n"})
    project_copy.create(Path("copy"), "demo")
    shutil.rmtree("copy/.git")
    assert set(contents(checkout / "copy")) == (COPIED - {"stages/new.py"}) | {
        "data/teacher/model",
        "reports/report.md",
        "dvc.lock",
    }
    assert Path("copy/dvc.yaml").read_text() == "stages: {other: {}}\n"


def test_outside_of_git_it_says_what_git_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(
        PipelineError, match=r"the copy is made of what Git lists, and Git says: .*not a git repository"
    ):
        project_copy.create(Path("copy"), "demo")
    assert contents(tmp_path) == {}


def test_the_copy_is_composed_run_and_asked_and_the_checkout_stays(
    checkout: Path, dvc_log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(checkout)
    run(demo, monkeypatch)
    after = {name: digest for name, digest in contents(checkout).items() if not name.startswith(".demo/")}
    assert after == before
    assert Path(".demo/params.yaml").read_text() == "plot:\n  dpi: 50\n"
    assert Path(".demo/.git").is_dir()
    folder = checkout / ".demo"
    assert dvc_log.read_text().splitlines() == [f"{folder} dvc config hydra.config_name demo", f"{folder} dvc repro"]
    assert "asked ['my card got stolen, please block it']" in capfd.readouterr().out


def test_a_second_run_keeps_the_copys_repository(
    checkout: Path, dvc_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(demo, monkeypatch)
    (checkout / ".demo/.git/kept").write_text("")
    run(demo, monkeypatch)
    assert (checkout / ".demo/.git/kept").is_file()
    assert dvc_log.read_text().count("dvc repro") == 2


@pytest.mark.usefixtures("checkout", "dvc_log")
def test_a_command_that_fails_ends_it_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_STATUS", "3")
    with pytest.raises(PipelineError, match=r"`dvc repro` ended with status 3; the copy is in \.demo/"):
        run(demo, monkeypatch)
    assert "asked" not in capfd.readouterr().out


# whole


LOCKED = {"dvc.lock": "schema: '2.0'\n", "reports/report.md": "whole", "reports/quality/student.json": "{}"}


@pytest.fixture
def copied(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a conf/whole.yaml, where `dvc repro` in the copy leaves some reports and a dvc.lock."""
    write({"conf/whole.yaml": "defaults:\n  - config\n  - _self_\nplot:\n  dpi: 60\n"})
    commands = []

    def pretend(folder: Path, *command: str) -> None:
        commands.append(command[1:])
        if command[:2] == ("dvc", "repro"):
            for name, text in LOCKED.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if not (folder / name).exists():
                    (folder / name).write_text(text)
            (checkout / "seen").write_text(json.dumps(commands))

    monkeypatch.setattr(project_copy, "run", pretend)
    return checkout


def test_whole_runs_on_the_projects_cache_and_brings_reports_and_lock_back(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = "dataset:\n  file: own/data.json\n  domains: own/domains.json\n"
    write({"reports/whole/stale.md": "of an earlier run", "own/data.json": "rows", "own/domains.json": "domains"})
    write({"conf/whole.yaml": f"{Path('conf/whole.yaml').read_text()}{dataset}"})
    run(whole, monkeypatch)
    assert Path(".whole/own/data.json").read_text() == "rows"
    assert Path(".whole/own/domains.json").read_text() == "domains"
    commands = json.loads(Path("seen").read_text())
    assert ["cache", "dir", "--local", str(copied / ".dvc/cache")] in commands
    assert commands[-1] == ["repro"]
    assert Path(".whole/params.yaml").read_text() == f"plot:\n  dpi: 60\n{dataset}"
    assert Path("params.yaml").read_text() == "plot:\n  dpi: 150\n"
    assert set(contents(copied / "reports/whole")) == {"dvc.lock", "report.md", "quality/student.json"}
    assert Path("reports/report.md").read_text() == "real results"


def test_whole_check_asks_dvc_about_the_committed_reports_and_leaves_nothing(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PipelineError, match=r"reports/whole/dvc\.lock not found; run `make whole`"):
        run(whole, monkeypatch, "--check")
    run(whole, monkeypatch)
    before, seen = set(contents(copied)), []

    def stale(root: Path) -> str | None:
        seen.append(
            (set(contents(root / "reports")), (root / "dvc.lock").is_file(), (root / "params.yaml").read_text())
        )
        return "these would run: plot" if len(seen) == 2 else None

    monkeypatch.setattr(lock, "stale", stale)
    run(whole, monkeypatch, "--check")
    with pytest.raises(
        PipelineError, match=r"reports/whole/ is not that .* \(these would run: plot\); run `make whole`"
    ):
        run(whole, monkeypatch, "--check")
    assert seen == [({"report.md", "quality/student.json"}, True, "plot:\n  dpi: 60\n")] * 2
    assert set(contents(copied)) == before
