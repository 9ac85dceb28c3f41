"""A change reruns the stages that read it and those downstream of them, and no other."""

import json
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import networkx
import pytest
import yaml
from conftest import ROOT, contents
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.stage import Stage
from pipeline.conftest import compose_tiny
from pipeline.declared import DECLARED, FEEDS, Rerun, downstream, implied, template

from tools import params

# But for a section that is empty, as `second_teacher` is here; for what says which section is a teacher's; and for how
# trainings are started, which is part of commands.
LEAVES = [
    leaf
    for leaf in params.leaves(compose_tiny())
    if "." in leaf and not leaf.startswith(("variants.teachers.", "launch."))
]
# Which model a stage reads or writes: another one changes the graph itself. What reads these is tested, no more.
NAMES = [leaf for leaf in LEAVES if leaf.endswith((".student", ".answers"))]
# What dvc.yaml itself reads of params.yaml.
NAMED = re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text())


def section_of(leaf: str) -> str:
    """The section that DVC reports for it: `distill`, `prune.movement`."""
    group, option, *_ = leaf.split(".")
    return f"{group}.{option}" if group in params.TECHNIQUES else group


def params_of(stage: str) -> str:
    """Where dvc.yaml has the params of a stage."""
    name = stage.split("@")[0]
    return f"stages.{name}.do.params" if "do" in DECLARED[name] else f"stages.{name}.params"


def changed(value: Any) -> Any:
    """Another value of much the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value * 2 or 1
        case list():
            return value[::-1] if len(value) > 1 else [] if value else ["x"]
        case _:
            return f"{value or ''}x"


def edit(path: Path, keys: list[str], value: Any = None) -> None:
    """Change values of a YAML file, each named by the dotted path to it."""
    content = yaml.safe_load(path.read_text())
    for key in keys:
        *parents, name = key.split(".")
        inner = content
        for parent in parents:
            inner = inner[parent]
        inner[name] = changed(inner[name]) if value is None else value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def reruns(folder: Path, leaves: list[str]) -> dict[str, Rerun]:
    """What DVC would run after each of these parameters alone had changed; params.yaml is put back afterwards.

    DVC reports each section for itself, and so each technique's of those that have one, so leaves of different ones are
    changed at once; but for those that dvc.yaml names, which say what stages there are, or what one hangs on.
    """
    path = folder / "params.yaml"
    original, found = path.read_text(), {}
    alone = [leaf for leaf in leaves if leaf in NAMES or leaf in NAMED]
    by_section: dict[str, list[str]] = {}
    for leaf in leaves:
        if leaf not in alone:
            by_section.setdefault(section_of(leaf), []).append(leaf)
    try:
        for together in (*zip_longest(*by_section.values()), *([leaf] for leaf in alone)):
            path.write_text(original)
            edit(path, [leaf for leaf in together if leaf])
            with Repo(folder) as repo:
                graph = networkx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
                keys = {stage.addressing: keys_changed(stage) for stage in repo.index.stages}
            for leaf in filter(None, together):
                readers = {stage for stage, theirs in keys.items() if sees(theirs, leaf)}
                found[leaf] = Rerun(readers, readers.union(*(networkx.ancestors(graph, stage) for stage in readers)))
    finally:
        path.write_text(original)
    return found


def keys_changed(stage: Stage) -> list[str]:
    """What `dvc status` would say of a stage's parameters; it looks at all files beside, and those stay the same."""
    deps = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    return [key for dep in deps for key in dep.workspace_status().get("params.yaml", {})]


def sees(keys: list[str], leaf: str) -> bool:
    """Whether that parameter is among the changed ones."""
    return any(leaf == key or leaf.startswith(f"{key}.") for key in keys)


@pytest.fixture(scope="session")
def found(run_once: Path) -> dict[str, Rerun]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(run_once)
        return reruns(run_once, LEAVES)


def test_every_section_is_read_by_a_stage() -> None:
    assert [leaf for leaf in LEAVES if not implied(leaf).readers] == []


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf not in NAMES])
def test_a_changed_parameter_reruns_what_reads_it_and_what_is_downstream(found: dict[str, Rerun], leaf: str) -> None:
    assert found[leaf].readers  # else nothing would notice the change
    assert found[leaf] == implied(leaf)


def test_another_launcher_changes_the_commands_of_trainings_alone(run_once: Path) -> None:
    path = run_once / "params.yaml"
    original = path.read_text()
    try:
        edit(path, ["launch.command"], "torchrun")
        with Repo(run_once) as repo:
            stages = {stage.name.split("@")[0]: stage for stage in repo.index.stages}
            changed = {name for name, stage in stages.items() if stage.cmd_changed}
    finally:
        path.write_text(original)
    assert changed == {"finetune-teacher", "distill", "prune", "qat"}
    assert all(stages[name].cmd.startswith("torchrun -m stages.") for name in changed)


@pytest.mark.parametrize("leaf", NAMES)
def test_a_parameter_that_names_a_model_is_seen_by_what_reads_it(found: dict[str, Rerun], leaf: str) -> None:
    assert found[leaf].readers == implied(leaf).readers


@pytest.mark.parametrize(
    ("stage", "section"),
    [
        ("plot", "plot"),
        ("quantize@half-static", "quantize"),
        ("ort-quantize@half-static", "ort_quantize"),
        ("sensitivity@static", "sensitivity"),
        ("benchmark", "variants"),
        ("prune@movement", "run"),
        ("distill@half", "distill"),
        ("evaluate", "out_of_scope"),
    ],
)
def test_a_section_left_out_of_a_stage_would_be_noticed(repository: Path, stage: str, section: str) -> None:
    leaf = next(leaf for leaf in LEAVES if leaf.startswith(f"{section}.") and leaf not in NAMES)
    path = repository / "dvc.yaml"
    original = path.read_text()
    sections = template(stage)["params"]
    try:
        edit(path, [params_of(stage)], [name for name in sections if name.split(".")[0] != section])
        blind = {reader for reader in FEEDS if reader.split("@")[0] == stage.split("@")[0]}
        assert reruns(repository, [leaf])[leaf].readers == implied(leaf).readers - blind
    finally:
        path.write_text(original)


def test_a_section_named_too_much_would_be_noticed(repository: Path) -> None:
    path = repository / "dvc.yaml"
    original = path.read_text()
    try:
        edit(path, [params_of("quantize")], [*template("quantize")["params"], "plot"])
        rerun = reruns(repository, ["plot.dpi"])["plot.dpi"]
        readers = {"plot", "quantize@half-static", "quantize@half-qat-static"}
        assert rerun == Rerun(readers, downstream(readers)) != implied("plot.dpi")
    finally:
        path.write_text(original)


def ran(*targets: str) -> set[str]:
    """The stages that `dvc repro` ran or restored from its run-cache."""
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(list(targets) or None)}


def test_a_parameter_edited_by_hand_runs_what_reads_it_and_no_other(copy: Path) -> None:
    before = contents(copy / "models"), (copy / "reports/benchmark.json").read_bytes()
    edit(copy / "params.yaml", ["plot.dpi"], 60)
    assert ran() == {"plot"}
    assert (contents(copy / "models"), (copy / "reports/benchmark.json").read_bytes()) == before


def test_another_rate_judges_anew_and_trains_converts_and_times_nothing(copy: Path) -> None:
    def made() -> tuple[object, ...]:
        data = {name: digest for name, digest in contents(copy / "data").items() if name != "wrong_answers.csv"}
        return contents(copy / "models"), data, (copy / "reports/latency.json").read_bytes()

    before = made()
    edit(copy / "params.yaml", ["out_of_scope.rate"], 0.5)
    assert ran() <= {"evaluate", "select", "plot", "deploy"}
    assert made() == before
    assert json.loads((copy / "release/classifier.json").read_text())["rate"] == 0.5


def test_what_a_technique_left_behind_times_nothing_anew(copy: Path) -> None:
    """Stages that read whole folders see a leftover; their outs stay the same, and it ends there."""
    for left in ("models/gone/model.onnx", "data/logits/gone.safetensors", "reports/models/gone.json"):
        (copy / left).parent.mkdir(exist_ok=True)
        (copy / left).write_text("{}")
    assert ran() <= {"evaluate", "plot", "primer"}


# A technique, and a student, added beside others.

LOTTERY = '''"""Which weights stay is drawn by lot."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from intents.core.settings import at_least
from intents.pruning import common
from intents.pruning.common import Lesson, Outcome, Plan


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    draw: int = at_least(0)

    def plan(self, model: PreTrainedModel, lesson: Lesson, key: str) -> Plan:
        def finish(log: list[dict[str, float]]) -> Outcome:
            generator = torch.Generator().manual_seed(self.draw)
            weight = model.base_model.encoder.layer[0].output.dense.weight.data
            kept = torch.rand(weight.shape, generator=generator) >= self.sparsity
            weight *= kept
            lost = 1 - float(kept.float().mean())
            return Outcome(lost, {"encoder.layer.0.output.dense": lost}, [{"step": 0.0, "due": lost, "sparsity": lost}])

        return Plan({}, finish)
'''


def add(copy: Path, group: str, option: str) -> None:
    """Choose one more option of a group, and compose."""
    tiny = yaml.safe_load((copy / "conf/tiny.yaml").read_text())
    for entry in tiny["defaults"]:
        if isinstance(entry, dict) and f"override {group}" in entry:
            entry[f"override {group}"].append(option)
    (copy / "conf/tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    params.compose(copy / "params.yaml", "tiny")


def test_a_technique_added_beside_others_is_a_module_and_a_file_and_reruns_none_of_them(copy: Path) -> None:
    (copy / "intents/pruning/lottery.py").write_text(LOTTERY)
    structured = yaml.safe_load((copy / "conf/prune/structured.yaml").read_text())["prune"]["structured"]
    kept = {key: value for key, value in structured.items() if key not in ("multiple", "queries")}
    row = {"lottery": "${prune.lottery.student}-lottery"}
    conf = {
        "prune": {"lottery": kept | {"epochs": 1, "draw": 7}},
        "variants": {"rows": {"models": row, "onnx": row}},
    }
    (copy / "conf/prune/lottery.yaml").write_text("# @package _global_\n" + yaml.safe_dump(conf))
    add(copy, "prune", "lottery")
    made = {"prune@lottery", "onnx-export@half-lottery", "ort-quantize@half-lottery-static"}
    assert ran() == {*made, "evaluate", "benchmark", "select", "plot", "primer", "deploy"}
    rows = json.loads((copy / "reports/benchmark.json").read_text())["variants"]
    assert {name for name in rows if "lottery" in name} == {
        *("half-lottery", "half-lottery-onnx", "half-lottery-ort-static")
    }
    assert "half-lottery" in (copy / "reports/report.md").read_text()
    assert rows["half-lottery"]["encoder_sparsity"] == pytest.approx(kept["sparsity"], abs=0.1)


def test_a_student_added_beside_the_first_is_a_file_and_goes_through_every_later_stage(copy: Path) -> None:
    half = (copy / "conf/student/half.yaml").read_text()
    third = half.replace("half", "third").replace("layers: [1, 3, 5]", "layers: [0]").replace("  student: third\n", "")
    (copy / "conf/student/third.yaml").write_text(third)
    add(copy, "student", "third")
    made = {"distill@third", "quantize@third-static", "onnx-export@third", "ort-quantize@third-static"}
    assert ran() == {*made, "evaluate", "benchmark", "select", "plot", "primer", "deploy"}
    rows = json.loads((copy / "reports/benchmark.json").read_text())["variants"]
    assert {name for name in rows if "third" in name} == {
        *("third", "third-torch-static", "third-onnx", "third-ort-static")
    }


def test_the_short_experiment_is_a_part_of_the_whole() -> None:
    """Each of its stages is one of the default's, with settings of the same names."""
    short = params.leaves(params_of_experiment("short"))
    whole = params.leaves(yaml.safe_load((ROOT / "params.yaml").read_text()))
    empty = ("qat", "second_teacher")
    new = {key for key in short if key not in whole and key not in empty and not key.startswith("variants.")}
    assert new == set()  # `variants` has fewer rows


def params_of_experiment(name: str) -> dict[str, Any]:
    return compose_tiny({"defaults": ["config", {"override experiment": name}, "_self_"]})
