"""Ctrl-C ends every program with one line and status 130, also while its imports run."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import ROOT
from core.programs import PROGRAMS

from intents.core import interrupt


def slow(folder: Path) -> None:
    """Packages that take long to load, in the place of those that the programs import first; one swallows all."""
    text = textwrap.dedent("""
        import pathlib, time
        pathlib.Path("loading").touch()
        try:
            time.sleep(60)
        except BaseException:  # as some libraries do
            pass
        raise ImportError("went on")
    """)
    for name in ("numpy", "argparse", "json"):
        (folder / f"{name}.py").write_text(text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_during_the_imports_there_is_no_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / "slow").mkdir()
    slow(tmp_path / "slow")
    paths = os.pathsep.join([str(tmp_path / "slow"), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, "-m", name, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        for _ in range(2000):
            if (tmp_path / "loading").exists():
                break
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "interrupted; run the same command again to go on\n")


def test_who_imports_the_packages_keeps_his_ctrl_c() -> None:
    """Nothing but a program that is being started: not a notebook, not a test."""
    code = "import signal, stages, tools, intents.serving; print(signal.getsignal(signal.SIGINT).__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "default_int_handler\n"


def test_a_program_that_shall_not_hear_of_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a shell starts in the background, or under nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(sys, "argv", ["-m"])
        interrupt.at_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        interrupt.as_usual()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_the_imports_it_is_an_exception_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(sys, "argv", ["-m"])
        interrupt.at_once()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        interrupt.as_usual()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
