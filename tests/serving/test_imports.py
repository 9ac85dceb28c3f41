"""What serving loads: NumPy, ONNX Runtime, tokenizers, the standard library, and few modules of the project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

HEAVY = ("torch", "transformers", "omegaconf", "pandas", "hydra", "yaml", "safetensors", "onnx", "datasets", "tqdm")
PASSED = {"intents.serving.__main__", "intents.serving.classifier", "intents.serving.rule"}
# A program that runs another as `python -m` does, and then says what was loaded.
PREFIX = """
import json, runpy, sys
import numpy, onnxruntime, tokenizers
before = {name.split(".")[0] for name in sys.modules}
sys.argv = ["serving", "--json", "play the song"]
"""
LOADED = """
runpy.run_module("intents.serving", run_name="__main__")
after = {name.split(".")[0] for name in sys.modules}
print(json.dumps(sorted(after - before - sys.stdlib_module_names)))
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] in ("intents", "stages", "tools"))))
"""
BLOCKED = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ImportError(name + " must not be needed")
sys.meta_path.insert(0, Refuse())
{PREFIX}
runpy.run_module("intents.serving", run_name="__main__")
"""
TRACED = """
import json, sys
from intents.serving import __main__ as serving
sys.argv = ["serving", "--json", "play the song"]
passed = set()
def note(frame, event, _):
    name = frame.f_globals.get("__name__", "")
    if event == "call" and name.split(".")[0] in ("intents", "stages", "tools"):
        passed.add(name)
sys.setprofile(note)
serving.main()
sys.setprofile(None)
print(json.dumps(sorted(passed)))
"""


def lines(folder: Path, code: str) -> list[str]:
    """What a program prints, run in a process of its own with the project on its path."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_answering_loads_nothing_that_must_be_installed_but_three_packages(built_once: Path) -> None:
    answer, packages, modules = map(json.loads, lines(built_once, PREFIX + LOADED))
    assert answer["intent"]
    assert packages == ["intents"]
    assert set(modules) == {
        *("intents", "intents.core", "intents.core.errors", "intents.core.files", "intents.core.paths"),
        *("intents.core.interrupt", "intents.core.processes"),
        *("intents.serving", "intents.serving.classifier", "intents.serving.queries", "intents.serving.rule"),
    }


def test_it_answers_where_nothing_else_is_installed(built_once: Path) -> None:
    (answer,) = map(json.loads, lines(built_once, BLOCKED))
    assert set(answer) == {"intent", "probability", "score", "threshold", "out_of_scope"}


@pytest.mark.parametrize("package", ["torch", "omegaconf"])
def test_what_is_blocked_there_is_what_other_programs_load(package: str) -> None:
    """Else the test above would pass whatever it blocked."""
    code = BLOCKED.split("sys.meta_path.insert")[0] + "sys.meta_path.insert(0, Refuse())\ntry:\n    "
    code += f"import {package}\nexcept ImportError as error:\n    print(error)"
    assert lines(ROOT, code) == [f"{package} must not be needed"]


def test_a_query_passes_three_modules_of_the_project(built_once: Path) -> None:
    """Beside intents.core, which says where the release lies and reads its files."""
    answer, passed = map(json.loads, lines(built_once, TRACED))
    assert answer["intent"]
    assert {name for name in passed if not name.startswith("intents.core.")} == PASSED


def test_what_must_be_installed_is_at_the_versions_of_the_whole() -> None:
    def pinned(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.split("#")[0].strip() for line in lines if "==" in line}

    found = pinned("requirements-serving.txt")
    assert {line.split("==")[0] for line in found} == {"numpy", "onnxruntime", "tokenizers"}
    assert found <= pinned("requirements.txt")
