"""Code is the same code while it does the same: comments, docstrings and layout do not count."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

from intents.core import source

CODE = '''"""A module."""

import math

LIMIT = 3


class Circle:
    """A circle."""

    def area(self, radius: float = 1.0) -> float:
        """Its area."""
        return math.pi * radius**2  # in m²


async def main() -> str:
    """What it prints."""
    return "done"
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # in m²", ""),
        ("LIMIT = 3", "# how many\nLIMIT = 3"),
        ('"""A module."""\n', '"""Another\n\ntext.\n"""\n'),
        ('"""A module."""\n', ""),
        ('    """A circle."""\n', '    """A circle, with its centre at 0."""\n'),
        ('        """Its area."""\n', ""),
        ('    """What it prints."""\n', "    # what it prints\n"),
        ("\n\n\nclass", "\n\nclass"),
        ("math.pi * radius**2", "(\n            math.pi\n            * radius ** 2\n        )"),
        ('"done"', "'done'"),
    ],
)
def test_comments_docstrings_and_layout_do_not_change_what_code_means(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert source.meaning(CODE.replace(old, new)) == source.meaning(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("radius**2", "radius*2"),
        ("= 1.0", "= 2.0"),
        ("-> float", "-> int"),
        ('"done"', '"Done"'),
        ('"done"', 'f"done"'),
        ("async def", "def"),
        ("    def area", "    @property\n    def area"),
        ("import math", "import math, os"),
        ('return "done"', 'print("done")\n    return "done"'),
        ("LIMIT = 3", '"""A text that is no docstring."""\nLIMIT = 3'),
    ],
)
def test_every_other_change_does(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert source.meaning(CODE.replace(old, new)) != source.meaning(CODE)


def test_a_body_that_is_a_docstring_alone_can_be_read() -> None:
    assert source.meaning('def f() -> None:\n    """Nothing."""\n') == source.meaning(
        "def f() -> None:\n    '''No'''\n"
    )


def test_what_is_loaded_are_the_modules_of_this_project_by_name() -> None:
    found = source.loaded()
    assert {"intents.core.source", "stages.distill", "tools.params"} <= found.keys()
    assert {name.split(".")[0] for name in found} == set(source.PACKAGES)
    assert list(found) == sorted(found)


def test_a_module_that_a_program_does_not_load_does_not_count() -> None:
    code = "from intents.core import source; import intents.data.corpus; print(*source.loaded(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "intents.data.corpus" in done.stdout.split()
    assert not [name for name in done.stdout.split() if name.startswith(("stages", "tools", "intents.training"))]


def test_a_stage_that_is_run_counts_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("LIMIT = 3\n")
    running = ModuleType("__main__")
    running.__spec__, running.__file__ = ModuleSpec("stages.mine", None), str(tmp_path / "mine.py")
    monkeypatch.setitem(sys.modules, "__main__", running)
    found = source.loaded()
    assert "stages.mine" in found
    assert "__main__" not in found
    assert list(found) == sorted(found)
    (tmp_path / "mine.py").write_text("LIMIT = 3  # how many\n")
    assert source.loaded() == found
    (tmp_path / "mine.py").write_text("LIMIT = 4\n")
    assert {name for name, digest in source.loaded().items() if digest != found[name]} == {"stages.mine"}
