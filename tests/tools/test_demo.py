"""demo: the pipeline runs in a copy; the checkout keeps its parameters and results."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import contents, run_tool

from intents.core.errors import PipelineError
from tools import demo, repro

TRACKED = {
    ".dvc/config": "",
    ".dvc/.gitignore": "/tmp\n",
    ".dvcignore": "",
    ".gitignore": "__pycache__/\n/.demo/\n/models/\n",
    "README.md": "",
    "conf/config.yaml": "plot:\n  dpi: 150\n",
    "conf/demo.yaml": "defaults:\n  - config\n  - _self_\nplot:\n  dpi: 50\n",
    "conf/old.yaml": "",
    "data/sample/sample.json": "{}",
    "dvc.lock": "",
    "dvc.yaml": "stages: {}\n",
    "intents/__init__.py": "",
    "intents/serving/__init__.py": "",
    "intents/serving/__main__.py": "import sys\nprint(sys.argv)\n",
    "params.yaml": "plot:\n  dpi: 150\n",
    "reports/report.md": "real results",
    "stages/__init__.py": "",
    "tests/test_one.py": "",
    "tools/__init__.py": "",
}
UNTRACKED = {"stages/new.py": "1", "stages/__pycache__/one.pyc": "", "models/teacher/model": "big", ".dvc/tmp/lock": ""}
COPIED = {
    *(".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "conf/config.yaml", "conf/demo.yaml"),
    *("data/sample/sample.json", "dvc.yaml", "stages/__init__.py", "stages/new.py"),
    *("intents/__init__.py", "intents/serving/__init__.py", "intents/serving/__main__.py"),
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
    write(UNTRACKED | {"intents/serving/__main__.py": "import sys\nprint('asked', sys.argv[1:])\n"})
    Path("conf/old.yaml").unlink()
    return folder


@pytest.fixture
def dvc_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dvc` on PATH that only writes down how it was called, and stages that are not run but written down too."""
    log, program = tmp_path / "dvc.log", tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$PWD dvc $*\" >> '{log}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    def everything(jobs: int) -> None:
        assert jobs == os.cpu_count()
        with log.open("a") as file:
            file.write(f"{Path.cwd()} all stages\n")

    monkeypatch.setattr(repro, "everything", everything)
    return log


@pytest.mark.usefixtures("dvc_log")
def test_only_the_pipelines_parts_are_copied_as_they_are_in_the_working_tree(checkout: Path) -> None:
    demo.create(Path("copy"))
    shutil.rmtree("copy/.git")
    copied = contents(checkout / "copy")
    assert copied.pop("params.yaml")
    assert set(copied) == COPIED
    assert copied == {name: digest for name, digest in contents(checkout).items() if name in COPIED}


@pytest.mark.usefixtures("dvc_log")
def test_what_is_gone_here_goes_in_the_copy_and_its_results_stay(checkout: Path) -> None:
    demo.create(Path("copy"))
    write({"copy/models/teacher/model": "the demo's", "copy/reports/report.md": "the demo's", "copy/dvc.lock": "its"})
    Path("stages/new.py").unlink()
    write({"dvc.yaml": "stages: {other: {}}\n"})
    demo.create(Path("copy"))
    shutil.rmtree("copy/.git")
    assert set(contents(checkout / "copy")) == (COPIED - {"stages/new.py"}) | {
        "models/teacher/model",
        "reports/report.md",
        "dvc.lock",
        "params.yaml",
    }
    assert Path("copy/dvc.yaml").read_text() == "stages: {other: {}}\n"


def test_outside_of_git_it_says_what_git_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(
        PipelineError, match=r"the copy is made of what Git lists, and Git says: .*not a git repository"
    ):
        demo.create(Path("copy"))
    assert contents(tmp_path) == {}


def test_the_copy_is_composed_run_and_asked_and_the_checkout_stays(
    checkout: Path, dvc_log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(checkout)
    run_tool(demo, monkeypatch)
    after = {name: digest for name, digest in contents(checkout).items() if not name.startswith(".demo/")}
    assert after == before
    assert Path(".demo/params.yaml").read_text() == "plot:\n  dpi: 50\n"
    assert Path(".demo/.git").is_dir()
    folder = checkout / ".demo"
    assert dvc_log.read_text().splitlines() == [f"{folder} dvc config hydra.config_name demo", f"{folder} all stages"]
    assert "asked ['my card got stolen, please block it']" in capfd.readouterr().out


def test_a_second_run_keeps_the_copys_repository(
    checkout: Path, dvc_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tool(demo, monkeypatch)
    (checkout / ".demo/.git/kept").write_text("")
    run_tool(demo, monkeypatch)
    assert (checkout / ".demo/.git/kept").is_file()
    assert dvc_log.read_text().count("all stages") == 2


@pytest.mark.usefixtures("checkout", "dvc_log")
def test_a_repository_that_was_cut_off_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    write({".demo/.git.part/.git/config.lock": "", ".demo/.git.part/.git/HEAD": ""})
    run_tool(demo, monkeypatch)
    shown = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=".demo", capture_output=True, text=True)
    assert shown.stdout.strip() == str(Path(".demo").resolve())
    assert not Path(".demo/.git.part").exists()


@pytest.mark.usefixtures("checkout", "dvc_log")
def test_a_stage_that_fails_ends_it_and_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def failing(_: int) -> None:
        raise PipelineError("stage distill@half failed")

    monkeypatch.setattr(repro, "everything", failing)
    with pytest.raises(PipelineError, match="stage distill@half failed"):
        run_tool(demo, monkeypatch)
    assert "asked" not in capfd.readouterr().out


@pytest.mark.usefixtures("checkout")
def test_a_command_that_fails_ends_it_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with pytest.raises(PipelineError, match=r"`dvc config hydra.config_name demo` ended with status 3; the copy is in"):
        run_tool(demo, monkeypatch)
