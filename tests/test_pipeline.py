"""dvc.yaml: what it declares is what the code imports, reads and writes, and a change reruns just what hangs on it.

One run of the whole pipeline through DVC (embedded sample, tiny random checkpoint, an epoch each) serves all tests.
"""

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import networkx
import pytest
import yaml
from conftest import ROOT, contents, run
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from moto.server import ThreadedMotoServer

from stages import lock, params
from stages.library.errors import PipelineError

# The specification: what each stage feeds. It is that of the design, stage by stage, and not read from dvc.yaml.
MODELS = ("teacher", "student", "pruned-movement", "pruned-structured")
METHODS = ("dynamic", "static")
FEEDS = {
    "fetch-clinc": {"finetune-teacher"},
    "finetune-teacher": {"distill", "onnx-export@teacher"},
    "distill": {
        *("control@0", "control@1", "prune@movement", "prune@structured", "onnx-export@student"),
        *(f"quantize@{method}" for method in METHODS),
    },
    "control@0": {"benchmark"},
    "control@1": {"benchmark"},
    "prune@movement": {"onnx-export@pruned-movement"},
    "prune@structured": {"onnx-export@pruned-structured"},
    **{f"quantize@{method}": {"benchmark"} for method in METHODS},
    **{f"onnx-export@{model}": {f"ort-quantize@{model}-{method}" for method in METHODS} for model in MODELS},
    **{f"ort-quantize@{model}-{method}": {"benchmark"} for model in MODELS for method in METHODS},
    **{f"sensitivity@{method}": {"plot"} for method in METHODS},
    "benchmark": {"plot", "primer"},
    "plot": set(),
    "primer": set(),
    "params-check": set(),  # no step of the pipeline: it fails when conf/ was edited and params.yaml was not
}
FEEDS["onnx-export@student"] |= {f"sensitivity@{method}" for method in METHODS}
TINY = {
    "defaults": ["config", {"override dataset": "sample"}, "_self_"],
    "teacher": {"package": None, "revision": None, "sha256": None, "epochs": 1},
    "student": {"layers": [1, 3]},
    "distill": {"epochs": 1},
    "control": {"seeds": [0, 1]},
    "prune": {"movement": {"epochs": 1}, "structured": {"epochs": 1, "queries": 20, "multiple": 8}},
    "quantize": {"static": {"queries": 20}},
    "ort_quantize": {"dynamic": {"min_agreement": 0.0}, "static": {"min_agreement": 0.0, "queries": 20}},
    "sensitivity": {"queries": 5},
    "benchmark": {"calls": 2, "warmup": 1, "queries": 5, "bootstrap_samples": 200},
    "plot": {"dpi": 50},
}
# Besides what they load, these stages are told by params.yaml which model to read.
TOLD = {f"variants.torch.{method}": {f"quantize@{method}"} for method in METHODS}
DECLARED: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
LEAVES = list(params.leaves(yaml.safe_load((ROOT / "params.yaml").read_text())))


# What the code says of itself.


def template(stage: str) -> dict[str, Any]:
    """The definition of a stage in dvc.yaml, before any parameter is filled in."""
    definition = DECLARED[stage.split("@")[0]]
    return definition.get("do", definition)


def module_of(stage: str) -> Path:
    """The module that a stage's command runs."""
    words = template(stage)["cmd"].split()
    assert words[:2] == ["python", "-m"]
    return Path(words[2].replace(".", "/") + ".py")


def imports(module: Path) -> set[Path]:
    """The modules of stages/ that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not resolved here"
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        for path in [Path(name.replace(".", "/")) for name in names if name.split(".")[0] == "stages"]:
            # What all modules are in, stages/ and stages/library/, changes no result.
            packages = [package for package in (path, *path.parents) if len(package.parts) > 2]
            files = [path.with_suffix(".py"), *(package / "__init__.py" for package in packages)]
            found |= {file for file in files if (ROOT / file).is_file()}
    return found


def with_imports(module: Path) -> set[Path]:
    """A module and all that it imports, however indirectly."""
    known, fresh = set(), {module}
    while fresh:
        known |= fresh
        fresh = set().union(*map(imports, fresh)) - known
    return known


@cache
def sections_read(stage: str) -> set[str]:
    """The sections of params.yaml that a stage's code loads; `prune.*` for that of the method it is called with."""
    calls = [
        node
        for module in with_imports(module_of(stage))
        for node in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.load"
    ]
    sections = {re.sub(r"\{.*?\}", "*", ast.unparse(call.args[1]).lstrip("f").strip("\"'")) for call in calls}
    # A stage that runs once for each method of its group may load that method's section by name.
    several = "do" in DECLARED[stage.split("@")[0]]
    return {re.sub(r"\..*", ".*", section) if several else section for section in sections}


def sections_declared(stage: str) -> set[str]:
    """The same as dvc.yaml has it."""
    return {re.sub(r"\$\{.*?\}", "*", section) for section in template(stage).get("params", [])}


def reads(stage: str, leaf: str) -> bool:
    """Whether the code of a stage, named as `prune@movement`, loads the section that a leaf of params.yaml is in."""
    method = stage.rpartition("@")[2].rpartition("-")[2]
    sections = {section.replace("*", method) for section in sections_read(stage)}
    return any(leaf == section or leaf.startswith(f"{section}.") for section in sections)


def downstream(stages: set[str]) -> set[str]:
    """Those stages and all that hangs on them, by the specification."""
    reached = set(stages)
    while more := set().union(*(FEEDS[stage] for stage in reached)) - reached:
        reached |= more
    return reached


def params_of(stage: str) -> str:
    """Where dvc.yaml has the params of a stage."""
    name = stage.split("@")[0]
    return f"stages.{name}.do.params" if "do" in DECLARED[name] else f"stages.{name}.params"


class Rerun(NamedTuple):
    """What runs after a parameter changed."""

    readers: set[str]  # the stages that see the change themselves
    all: set[str]  # these and what hangs on them


def implied(leaf: str) -> Rerun:
    readers = {stage for stage in FEEDS if reads(stage, leaf)} | TOLD.get(leaf, set())
    return Rerun(readers, downstream(readers))


# What DVC says.


@pytest.fixture(scope="session")
def run_once(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Git repository in which `dvc repro` has run all stages."""
    folder = tmp_path_factory.mktemp("pipeline") / "project"
    for name in ("stages", "conf", "data/sample"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config.local").write_text("[hydra]\n    config_name = tiny\n")
    tiny = TINY | {"teacher": TINY["teacher"] | {"checkpoint": str(tiny_checkpoint)}}
    (folder / "conf/tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder.parent / "site"))
        monkeypatch.delenv("DVC_EXP_NAME", raising=False)
        monkeypatch.delenv("PYTHONPATH", raising=False)
        subprocess.run(["git", "init", "--quiet"], check=True)
        params.compose(folder / "params.yaml", "tiny")
        done = subprocess.run([sys.executable, "-m", "dvc", "repro"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield folder


@pytest.fixture
def repository(run_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That repository as the current folder; a test leaves it as it was."""
    monkeypatch.chdir(run_once)
    return run_once


@pytest.fixture
def copy(run_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that repository as the current folder, to do with as one likes."""
    shutil.copytree(run_once, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


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

    DVC reports each section for itself, so leaves of different sections are changed at once; but for those that say
    which stages there are, or what one hangs on.
    """
    path = folder / "params.yaml"
    original, found = path.read_text(), {}
    alone = [leaf for leaf in leaves if leaf.startswith(("variants.", "control.", "sensitivity.model"))]
    rest = [leaf for leaf in leaves if leaf not in alone]
    by_section = [[leaf for leaf in rest if leaf.split(".")[0] == name] for name in yaml.safe_load(original)]
    try:
        for together in (*zip_longest(*by_section), *([leaf] for leaf in alone)):
            path.write_text(original)
            edit(path, [leaf for leaf in together if leaf])
            with Repo(folder) as repo:
                graph = networkx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
                status = repo.status()
            for leaf in filter(None, together):
                readers = {stage for stage, reasons in status.items() if sees(reasons, leaf)}
                found[leaf] = Rerun(readers, readers.union(*(networkx.ancestors(graph, stage) for stage in readers)))
    finally:
        path.write_text(original)
    return found


def sees(reasons: list[Any], leaf: str) -> bool:
    """Whether that parameter is among the reasons for which `dvc status` calls a stage changed."""
    changed_params = [
        key for reason in reasons for key in as_dict(reason).get("changed deps", {}).get("params.yaml", {})
    ]
    files = [file for reason in reasons for file in as_dict(reason).get("changed deps", {}) if file != "params.yaml"]
    return (leaf in TOLD and bool(files)) or any(leaf == key or leaf.startswith(f"{key}.") for key in changed_params)


def as_dict(reason: Any) -> dict[str, Any]:
    return reason if isinstance(reason, dict) else {}


@pytest.fixture(scope="session")
def found(run_once: Path) -> dict[str, Rerun]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(run_once)
        return reruns(run_once, LEAVES)


# What is declared is what the code does.


def test_the_stages_are_those_of_the_design() -> None:
    assert {stage.split("@")[0] for stage in FEEDS} | {"qat"} == set(DECLARED)  # qat runs if `quantize` has it


@pytest.mark.parametrize("stage", DECLARED)
def test_deps_name_the_imported_modules_and_no_other(stage: str) -> None:
    named = [Path(dep) for dep in template(stage)["deps"] if dep.startswith("stages/")]
    # A package is named as a whole where all of its modules are imported: a new one in it needs no line of its own.
    files = {file.relative_to(ROOT) for dep in named for file in (ROOT / dep).rglob("*.py")}
    assert {dep for dep in named if dep.suffix == ".py"} | files == with_imports(module_of(stage))


@pytest.mark.parametrize("stage", DECLARED)
def test_params_name_the_sections_that_are_loaded_and_no_other(stage: str) -> None:
    assert sections_declared(stage) == sections_read(stage)


def test_every_section_is_read_by_a_stage() -> None:
    assert [leaf for leaf in LEAVES if not any(reads(stage, leaf) for stage in FEEDS)] == []


def test_timings_are_outs_that_no_cache_can_restore() -> None:
    """Plain outs with `cache: false` keep a stage out of the run-cache; metrics and plots do not."""
    assert not {"metrics", "plots"} & DECLARED["benchmark"].keys()
    assert [out[path] for out in DECLARED["benchmark"]["outs"] for path in out] == [{"cache": False}] * len(
        DECLARED["benchmark"]["outs"]
    )


def test_git_tracks_nothing_that_dvc_keeps() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a Git checkout")
    kept = [out for stage in DECLARED for out in template(stage).get("outs", []) if isinstance(out, str)]
    folders = tuple(out.partition("${")[0] if "${" in out else f"{out}/" for out in kept)
    assert [path for path in listed.stdout.splitlines() if path.startswith(folders)] == []


# The run.


@pytest.mark.usefixtures("repository")
def test_every_declared_out_exists_and_is_in_step() -> None:
    with Repo() as repo:
        assert {stage.addressing for stage in repo.index.stages} == set(FEEDS)
        assert [str(out) for out in repo.index.outs if not out.exists] == []
        assert repo.status() == {}


def test_nothing_undeclared_is_written(repository: Path) -> None:
    with Repo() as repo:
        outs = [Path(out.fs_path) for out in repo.index.outs]
    sample = repository / "data/sample"
    extra = [
        path
        for folder in ("data", "reports")
        for path in (repository / folder).rglob("*")
        if path.is_file() and path.name != ".gitignore" and not {*outs, sample} & {path, *path.parents}
    ]
    assert extra == []


def test_every_plot_is_of_columns_that_its_file_has(repository: Path) -> None:
    plots = yaml.safe_load((repository / "dvc.yaml").read_text())["plots"]
    for plot in plots:
        for axes in plot.values():
            for file, columns in axes["y"].items():
                with (repository / file).open() as opened:
                    header = next(csv.reader(opened))
                assert {axes["x"], *([columns] if isinstance(columns, str) else columns)} <= set(header)


@pytest.mark.usefixtures("repository")
def test_repro_right_after_does_nothing() -> None:
    with Repo() as repo:
        assert repo.reproduce() == []


@pytest.mark.parametrize("here", [True, False])
def test_a_lock_that_is_not_that_of_the_code_is_refused_with_the_models_here_or_not(
    copy: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    commit(copy)
    if not here:  # a fresh clone: what Git has, and none of what DVC keeps
        subprocess.run(["git", "clone", "--quiet", str(copy), str(copy.parent / "clone")], check=True)
        monkeypatch.chdir(copy.parent / "clone")
    run(lock, monkeypatch)
    # From another folder, which has a dvc.yaml of its own, as `whole --check` asks.
    elsewhere = copy.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dvc.yaml").write_text("stages: {other: {cmd: 'true'}}\n")
    with monkeypatch.context() as gone:
        root = Path.cwd()
        gone.chdir(elsewhere)
        assert lock.stale(root) is None
        assert Path.cwd() == elsewhere
    for file, stale in (("stages/fetch_clinc.py", "fetch-clinc"), ("conf/tune.yaml", "params-check")):
        original = Path(file).read_text()
        Path(file).write_text(f"{original}\n# changed\n")
        with pytest.raises(PipelineError, match=rf"not those of the code .* \(not in step: {stale}\); `make repro`"):
            run(lock, monkeypatch)
        Path(file).write_text(original)
    Path("stages/primer.py").write_text("# its inputs are not in the clone")
    with pytest.raises(PipelineError, match="not in step: primer"):
        run(lock, monkeypatch)


def test_a_parameter_edited_by_hand_runs_what_reads_it_and_no_other(copy: Path) -> None:
    before = contents(copy / "data"), (copy / "reports/benchmark.json").read_bytes()
    edit(copy / "params.yaml", ["plot.dpi"], 60)
    with Repo() as repo:
        assert {stage.addressing for stage in repo.reproduce()} == {"plot"}
    assert (contents(copy / "data"), (copy / "reports/benchmark.json").read_bytes()) == before


def test_repro_fails_when_conf_was_edited_and_params_were_not(copy: Path) -> None:
    edit(copy / "conf/distill/default.yaml", ["temperature"], 8.0)
    with Repo() as repo, pytest.raises(ReproductionError, match="params-check"):
        repo.reproduce()


# What a change reruns.


@pytest.mark.usefixtures("repository")
def test_the_graph_is_that_of_the_design() -> None:
    with Repo() as repo:
        graph = networkx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
    assert {stage: networkx.ancestors(graph, stage) for stage in graph} == {
        stage: downstream({stage}) - {stage} for stage in FEEDS
    }


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_changed_parameter_reruns_what_reads_it_and_what_hangs_on_that(found: dict[str, Rerun], leaf: str) -> None:
    assert found[leaf].readers  # else nothing would notice the change
    assert found[leaf] == implied(leaf)


@pytest.mark.parametrize(
    ("stage", "section"),
    [
        ("plot", "plot"),
        ("quantize@dynamic", "quantize"),
        ("ort-quantize@student-dynamic", "ort_quantize"),
        ("sensitivity@static", "sensitivity"),
        ("benchmark", "variants"),
        ("prune@movement", "run"),
        ("distill", "out_of_scope"),
    ],
)
def test_a_section_left_out_of_a_stage_would_be_noticed(repository: Path, stage: str, section: str) -> None:
    leaf = next(leaf for leaf in LEAVES if leaf.startswith(f"{section}.") and leaf not in TOLD)
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
        readers = {"plot", "quantize@dynamic", "quantize@static"}
        assert rerun == Rerun(readers, downstream(readers)) != implied("plot.dpi")
    finally:
        path.write_text(original)


# What README says of adding a technique: one module, one row, one file.

LOTTERY = '''"""Which weights stay is drawn by lot."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from stages.library.pruning.common import Lesson, Outcome, Plan, Settings
from stages.library.settings import at_least


@dataclass(frozen=True, kw_only=True)
class Lottery(Settings):
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


def test_a_technique_is_one_module_one_row_and_one_file(copy: Path) -> None:
    (copy / "stages/library/pruning/lottery.py").write_text(LOTTERY)
    table = copy / "stages/library/pruning/__init__.py"
    row = 'from stages.library.pruning.lottery import Lottery\nMETHODS["lottery"] = Lottery\n'
    table.write_text(table.read_text() + row)
    settings = yaml.safe_load((copy / "conf/prune/structured.yaml").read_text())["prune"]["structured"]
    kept = {key: value for key, value in settings.items() if key not in ("multiple", "queries")}
    conf = {
        "prune": {"lottery": kept | {"epochs": 1, "draw": 7}},
        "variants": {"models": {"pruned-lottery": "the student with weights drawn by lot zero"}},
    }
    (copy / "conf/prune/lottery.yaml").write_text("# @package _global_\n" + yaml.safe_dump(conf))
    tiny = yaml.safe_load((copy / "conf/tiny.yaml").read_text())
    tiny["defaults"].insert(1, {"override prune": ["lottery"]})
    del tiny["prune"]
    (copy / "conf/tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))

    params.compose(copy / "params.yaml", "tiny")
    with Repo() as repo:
        ran = {stage.addressing for stage in repo.reproduce(["plot"])}
    conversions = {f"ort-quantize@pruned-lottery-{method}" for method in METHODS}
    assert ran == {"prune@lottery", "onnx-export@pruned-lottery", *conversions, "benchmark", "plot"}
    rows = yaml.safe_load((copy / "reports/benchmark.json").read_text())["variants"]
    names = {"pruned-lottery", "pruned-lottery-onnx", *(f"pruned-lottery-ort-{method}" for method in METHODS)}
    assert {name for name in rows if name.startswith("pruned")} == names
    assert "pruned-lottery" in (copy / "reports/report.md").read_text()
    figures = yaml.safe_load((copy / "reports/quality/pruned-lottery.json").read_text())["pruned-lottery"]
    assert figures["encoder_sparsity"] == pytest.approx(kept["sparsity"], abs=0.1)


# Experiments and remotes.


def commit(folder: Path) -> None:
    """Commit all that Git sees in `folder`, and what its parameters are composed from in DVC's committed settings."""
    config = folder / ".dvc/config"
    config.write_text(config.read_text().replace("enabled = true\n", "enabled = true\n    config_name = tiny\n"))
    (folder / ".dvc/config.local").unlink()
    commands = (["config", "user.name", "t"], ["config", "user.email", "t@example.com"], ["add", "--all"])
    for command in (*commands, ["commit", "--quiet", "--message", "run"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def command(folder: Path, *words: str, **environment: str) -> str:
    """What a command printed, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_sweep_of_six_goes_through_the_queue_and_leaves_the_workspace(copy: Path) -> None:
    commit(copy)
    before = contents(copy / "data"), (copy / "params.yaml").read_bytes()
    values = ("distill.temperature=2.0,4.0,8.0", "distill.alpha=0.1,0.5")
    command(copy, "stages.sweep", "--name", "kd", *values)
    with (copy / "reports/sweep/kd/sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["distill.temperature"], row["distill.alpha"]) for row in rows] == [
        (temperature, alpha) for temperature in ("2.0", "4.0", "8.0") for alpha in ("0.1", "0.5")
    ]
    assert {row["experiment"] for row in rows} == {f"kd-{number}" for number in range(1, 7)}
    assert all(0 <= float(row["student.validation.accuracy"]) <= 1 for row in rows)
    assert (contents(copy / "data"), (copy / "params.yaml").read_bytes()) == before
    listed = subprocess.run(["git", "status", "--porcelain"], cwd=copy, capture_output=True, text=True, check=True)
    assert listed.stdout == "?? reports/sweep/\n"


def test_who_pulls_from_s3_has_nothing_to_run(copy: Path, tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
        ).create_bucket(Bucket="models")
        command(copy, "dvc", "remote", "add", "--default", "storage", "s3://models/intents")
        command(copy, "dvc", "remote", "modify", "storage", "endpointurl", url)
        commit(copy)
        command(copy, "dvc", "push", **keys)
        colleague = tmp_path / "colleague"
        subprocess.run(["git", "clone", "--quiet", str(copy), str(colleague)], check=True)
        assert not (colleague / "data/student").exists()
        command(colleague, "dvc", "pull", **keys)
        assert "Data and pipelines are up to date" in command(colleague, "dvc", "repro")
        assert contents(colleague / "data") == contents(copy / "data")
        answer = command(colleague, "stages.predict", "--variant", "student-ort-dynamic", "where is my card")
        assert answer.strip().endswith("scope")
        model = yaml.safe_load((copy / "dvc.yaml").read_text())["artifacts"]["intent-classifier"]["path"]
        command(tmp_path, "dvc", "get", str(copy), model, "--out", "deployed", **keys)
        assert contents(tmp_path / "deployed") == contents(copy / model)
    finally:
        server.stop()
