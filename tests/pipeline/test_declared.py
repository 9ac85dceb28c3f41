"""dvc.yaml declares what the code imports, reads and writes."""

import subprocess
from pathlib import Path

import networkx
import pytest
import yaml
from conftest import ROOT, contents
from dvc.repo import Repo
from pipeline.declared import (
    DECLARED,
    FEEDS,
    code_of,
    downstream,
    imports,
    sections_declared,
    sections_read,
    template,
)


def test_the_stages_are_those_of_the_design() -> None:
    assert {stage.split("@")[0] for stage in FEEDS} == set(DECLARED)


def test_a_stage_is_a_module_of_stages_and_there_is_no_other() -> None:
    modules = {path.stem.replace("_", "-") for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__"}
    assert modules == set(DECLARED)


@pytest.mark.parametrize("stage", DECLARED)
def test_deps_name_all_code_that_is_imported(stage: str) -> None:
    for declared, imported in code_of(stage):
        assert imported - declared == set()


@pytest.mark.parametrize("stage", DECLARED)
def test_deps_name_no_package_and_no_module_of_which_nothing_is_imported(stage: str) -> None:
    named = [dep for dep in template(stage)["deps"] if dep.startswith(("intents", "stages")) and "${" not in dep]
    imported = set().union(*(imported for _, imported in code_of(stage)))
    unused = [dep for dep in named if not any(Path(dep) in (path, *path.parents) for path in imported)]
    assert unused == []


@pytest.mark.parametrize("stage", DECLARED)
def test_params_name_the_sections_that_are_loaded_and_no_other(stage: str) -> None:
    assert sections_declared(stage) == sections_read(stage)


# As docs/architecture.md has them: a package imports only packages above it.
ORDER = (
    *("core", "data", "models", "training", "pruning", "int8", "onnx", "serving", "evaluation", "peers", "timing"),
    *("reports", "primer", "service"),
)


def test_packages_import_only_packages_above_them() -> None:
    assert {path.name for path in (ROOT / "intents").iterdir() if (path / "__init__.py").is_file()} == set(ORDER)
    wrong = [
        (str(path.relative_to(ROOT)), str(imported))
        for path in (ROOT / "intents").rglob("*.py")
        for imported in imports(path.relative_to(ROOT))
        if imported.parts[0] != "intents"
        or ORDER.index(imported.parts[1]) > ORDER.index(path.relative_to(ROOT).parts[1])
    ]
    assert wrong == []


def test_the_service_stands_on_serving_and_no_stage_on_the_service() -> None:
    modules = [path.relative_to(ROOT) for path in (ROOT / "intents/service").glob("*.py")]
    assert {path.parts[1] for module in modules for path in imports(module)} == {"core", "serving", "service"}
    stages = [path.relative_to(ROOT) for path in (ROOT / "stages").glob("*.py")]
    assert "service" not in {path.parts[1] for stage in stages for path in imports(stage)}


def test_no_stage_imports_a_tool_or_another_stage() -> None:
    modules = [path.relative_to(ROOT) for path in (ROOT / "stages").glob("*.py")]
    assert {path for module in modules for path in imports(module) if path.parts[0] != "intents"} == set()


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    files = [path for folder in ("intents", "stages", "tools") for path in (ROOT / folder).rglob("*.py")]
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 250] == []


def test_dvc_yaml_can_be_read_in_one_go() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 350


def test_timings_are_outs_that_no_cache_can_restore() -> None:
    """Plain outs with `cache: false` keep a stage out of the run-cache; metrics and plots do not."""
    assert not {"metrics", "plots"} & DECLARED["benchmark"].keys()
    outs = DECLARED["benchmark"]["outs"]
    assert [out[path] for out in outs for path in out] == [{"cache": False}] * len(outs)


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
        for folder in ("data", "models", "release", "reports")
        for path in (repository / folder).rglob("*")
        if path.is_file() and path.name != ".gitignore" and not {*outs, sample} & {path, *path.parents}
    ]
    assert extra == []


def test_every_plot_is_of_columns_that_its_file_has(repository: Path) -> None:
    with Repo() as repo:
        plots = [out for out in repo.index.outs if out.plot and isinstance(out.plot, dict) and "x" in out.plot]
        assert plots
        for out in plots:
            header = (repository / out.def_path).read_text().splitlines()[0].split(",")
            assert {out.plot["x"], out.plot["y"]} <= set(header), out.def_path


@pytest.mark.usefixtures("repository")
def test_repro_right_after_does_nothing() -> None:
    with Repo() as repo:
        assert repo.reproduce() == []


@pytest.mark.usefixtures("repository")
def test_the_graph_is_that_of_the_design() -> None:
    with Repo() as repo:
        graph = networkx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
    assert {stage: networkx.ancestors(graph, stage) for stage in graph} == {
        stage: downstream({stage}) - {stage} for stage in FEEDS
    }


def test_the_release_is_the_variant_that_was_chosen(repository: Path) -> None:
    chosen = yaml.safe_load((repository / "reports/benchmark.json").read_text())["deployed"]
    released, model = contents(repository / "release"), contents(repository / f"models/{chosen}")
    assert {name: released[name] for name in ("model.onnx", "tokenizer.json")} == {
        name: model[name] for name in ("model.onnx", "tokenizer.json")
    }
