"""Every tool says what it takes, and refuses what it does not know; programs of this environment are found."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, run_tool

from intents.core.errors import PipelineError
from tools import programs

TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py") if "run_program(main)" in path.read_text())


def test_the_tools_are_those_of_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text()
    assert [tool for tool in TOOLS if f"python -m tools.{tool}" not in text] == []
    assert len(TOOLS) == 11


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_says_how_it_is_called(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tools.{tool}")
    with pytest.raises(SystemExit) as ended:
        run_tool(module, monkeypatch, "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m tools.{tool} ")
    assert f"\n{tool}: " in shown


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_refuses_an_unknown_argument_and_does_nothing(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tools.{tool}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_tool(module, monkeypatch, "--unknown", "a=1,2")
    assert ended.value.code == 2
    assert "unrecognized arguments: --unknown" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_dvc_is_found_beside_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert programs.environment()["PATH"] == os.pathsep.join(["/nowhere", str(Path(sys.executable).parent)])
    assert programs.dvc("version", "--help", capture=True).startswith("usage: dvc version")


def test_a_dvc_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"`dvc status --quiet` ended with status \d+"):
        programs.dvc("status", "--quiet")


def test_ctrl_c_waits_for_the_program_that_it_reaches_too(tmp_path: Path) -> None:
    """As DVC, which puts away what it has begun."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "try:\n    pathlib.Path('begun').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1); pathlib.Path('put away').touch()\n"
    )
    code = "import sys; from tools import programs; programs.run([sys.executable, 'slow.py'])"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        for _ in range(2000):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
    assert (tmp_path / "put away").exists()
