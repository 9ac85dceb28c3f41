"""What dvc.yaml declares, beside what the code of its stages imports, reads and feeds."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from conftest import ROOT

from intents.core.techniques import names

# The specification: what each stage feeds. It is that of the design, stage by stage, and not read from dvc.yaml.
MODELS = ("teacher", "half", "narrow", "half-movement", "half-structured", "half-qat")
FEEDS = {
    "fetch-clinc": {"finetune-teacher@teacher"},
    "finetune-teacher@teacher": {
        "distill@half",
        "distill@labels",
        "augment@teacher",
        "onnx-export@teacher",
        "evaluate",
    },
    "augment@teacher": {"distill@narrow"},
    "distill@narrow": {"onnx-export@narrow", "evaluate"},
    "distill@half": {
        *("prune@movement", "prune@structured", "qat@half", "quantize@half-static", "onnx-export@half", "evaluate"),
    },
    "distill@labels": {"evaluate"},
    "prune@movement": {"onnx-export@half-movement", "evaluate"},
    "prune@structured": {"onnx-export@half-structured", "evaluate"},
    "qat@half": {"onnx-export@half-qat", "quantize@half-qat-static", "evaluate"},
    "quantize@half-static": {"evaluate"},
    "quantize@half-qat-static": {"evaluate"},
    **{f"onnx-export@{model}": {f"ort-quantize@{model}-static", "evaluate"} for model in MODELS},
    **{f"ort-quantize@{model}-static": {"evaluate"} for model in MODELS},
    "evaluate": {"benchmark", "select", "deploy"},
    "sensitivity@static": {"plot"},
    "benchmark": {"select", "primer"},
    "select": {"plot", "deploy"},
    "plot": set(),
    "primer": set(),
    "deploy": set(),
}
FEEDS["onnx-export@half"] |= {"sensitivity@static"}
DECLARED: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PACKAGES = ("intents", "stages", "tools")


def template(stage: str) -> dict[str, Any]:
    """The definition of a stage in dvc.yaml, before any parameter is filled in."""
    definition = DECLARED[stage.split("@")[0]]
    return definition.get("do", definition)


def module_of(stage: str) -> Path:
    """The module that a stage's command runs."""
    words = template(stage)["cmd"].split()
    assert words[:2] in (["python", "-m"], ["${launch.command}", "-m"])
    return Path(words[2].replace(".", "/") + ".py")


@cache
def imports(module: Path) -> set[Path]:
    """The modules of this project that a module imports, at its top or inside a function; packages' own aside."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not resolved here"
            names = [str(node.module), *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        paths = [Path(name.replace(".", "/")).with_suffix(".py") for name in names if name.split(".")[0] in PACKAGES]
        found |= {path for path in paths if (ROOT / path).is_file()}
    return found


def with_imports(module: Path) -> set[Path]:
    """A module and all that it imports, however indirectly."""
    known, fresh = set(), {module}
    while fresh:
        known |= fresh
        fresh = set().union(*map(imports, fresh)) - known
    return known


def code_of(stage: str) -> list[tuple[set[Path], set[Path]]]:
    """The code that dvc.yaml names for a stage, and that which it imports: a pair for each technique."""
    named = [dep for dep in template(stage)["deps"] if dep.startswith(PACKAGES)]
    by_name = [dep for dep in named if "${" in dep]  # a technique's module
    techniques = names(str(Path(by_name[0]).parent).replace("/", ".")) if by_name else [""]
    pairs = []
    for technique in techniques:
        deps = [Path(re.sub(r"\$\{.*?\}", technique, dep)) for dep in named]
        files = {file.relative_to(ROOT) for dep in deps if dep.suffix != ".py" for file in (ROOT / dep).rglob("*.py")}
        files = {file for file in files if file.name != "__init__.py"}
        imported = with_imports(module_of(stage)).union(*(with_imports(dep) for dep in deps if dep.stem == technique))
        pairs.append(({dep for dep in deps if dep.suffix == ".py"} | files, imported))
    return pairs


@cache
def sections_read(stage: str) -> set[str]:
    """The sections of params.yaml that a stage's code loads; `prune.*` for that of the name it is called with."""
    calls = [
        node
        for module in with_imports(module_of(stage))
        for node in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.load"
    ]
    named = [ast.unparse(call.args[1]) if not isinstance(call.args[1], ast.Name) else "*" for call in calls]
    return {re.sub(r"\{.*?\}", "*", name.lstrip("f").strip("\"'")) for name in named}


def sections_declared(stage: str) -> set[str]:
    """The same as dvc.yaml has it."""
    return {re.sub(r"\$\{.*?\}", "*", section) for section in template(stage).get("params", [])}


def reads(stage: str, leaf: str) -> bool:
    """Whether the code of a stage, named as `prune@movement`, loads the section that a leaf of params.yaml is in."""
    name = stage.rpartition("@")[2]
    name = name.rpartition("-")[2] if "quantize" in stage else name
    sections = {section.replace("*", name) for section in sections_read(stage)}
    return any(leaf == section or leaf.startswith(f"{section}.") for section in sections)


def downstream(stages: set[str]) -> set[str]:
    """Those stages and all that depend on them, by the specification."""
    reached = set(stages)
    while more := set().union(*(FEEDS[stage] for stage in reached)) - reached:
        reached |= more
    return reached


class Rerun(NamedTuple):
    """What runs after a parameter changed."""

    readers: set[str]  # the stages that see the change themselves
    all: set[str]  # these and those downstream of them


def implied(leaf: str) -> Rerun:
    readers = {stage for stage in FEEDS if reads(stage, leaf)}
    return Rerun(readers, downstream(readers))
