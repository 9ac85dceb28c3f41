"""params: conf/ and params.yaml say the same, byte for byte what DVC would write, or one line says where not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, contents, run_tool

from intents.core import settings, table, techniques
from intents.core.errors import PipelineError
from intents.evaluation import must_pass, threshold
from intents.training import distillation, student, together, trainer
from stages import (
    augment,
    benchmark,
    evaluate,
    fetch_clinc,
    finetune_teacher,
    onnx_export,
    plot,
    qat,
    select,
    sensitivity,
)
from tools import params

# Of each group whose options stand side by side, the package with a module for each.
PACKAGES = {
    "quantize": "intents.int8",
    "prune": "intents.pruning",
    "ort_quantize": "intents.onnx",
    "peers": "intents.peers",
}
SCHEMAS = {
    "variants": table.Table,
    "run": trainer.Run,
    "launch": together.Launch,
    "dataset": fetch_clinc.Dataset,
    "teacher": finetune_teacher.Teacher,
    "second_teacher": finetune_teacher.Teacher,
    "augment": augment.Augment,
    "distill": distillation.Distillation,
    "qat": qat.QuantizationAwareTraining,
    "onnx_export": onnx_export.OnnxExport,
    "out_of_scope": threshold.OutOfScope,
    "evaluate": evaluate.Evaluate,
    "sensitivity": sensitivity.Sensitivity,
    "benchmark": benchmark.Benchmark,
    "select": select.Select,
    "plot": plot.Plot,
    "must_pass": must_pass.MustPass,
}
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in ROOT.glob("conf/*/*.yaml") if path.stem != "default")


@pytest.fixture(scope="module")
def composed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what this program reads, and the params.yaml that it makes of it."""
    folder = tmp_path_factory.mktemp("params")
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        run_tool(params, monkeypatch)
    return folder


@pytest.fixture
def root(composed_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that as the current folder."""
    folder = tmp_path / "root"
    shutil.copytree(composed_once, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return folder


def schema_of(section: str) -> type:
    """The dataclass that a section of params.yaml is read as; `prune.movement` for one of a group."""
    group, _, option = section.partition(".")
    if group == "student":
        return student.Student
    return techniques.settings_of(PACKAGES[group], option) if group in PACKAGES else SCHEMAS[section]


def sections(path: Path) -> list[str]:
    """The sections of a params.yaml; of techniques, one for each that is chosen."""
    content = yaml.safe_load(path.read_text())
    inner = [f"{name}.{option}" for name in params.SIDE_BY_SIDE for option in content[name]]
    return [name for name in content if name not in params.SIDE_BY_SIDE and content[name]] + inner


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("config", "overrides"),
    [("config", []), ("demo", []), ("config", ["prune=magnitude", "distill.alpha=0.25", "student.half.layers=[0,5]"])],
)
def test_it_writes_byte_for_byte_what_dvc_exp_run_writes(
    root: Path, warm: Path, monkeypatch: pytest.MonkeyPatch, config: str, overrides: list[str]
) -> None:
    run_tool(params, monkeypatch, "--config", config, *overrides)
    ours = Path("params.yaml").read_bytes()
    Path("params.yaml").unlink()
    Path("dvc.yaml").write_text("stages: {other: {cmd: echo}}\n")
    monkeypatch.setenv("PATH", str(warm), prepend=os.pathsep)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(root.parent / "site"))
    author = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    settings = [word for override in overrides for word in ("-S", override)]
    for command in (
        ["git", "init", "--quiet"],
        ["git", "add", "--all"],
        [*author, "commit", "--quiet", "--message", "base"],
        ["dvc", "config", "--local", "hydra.config_name", config],
        ["dvc", "exp", "run", "--quiet", *settings],
    ):
        subprocess.run(command, check=True)
    assert Path("params.yaml").read_bytes() == ours


def test_the_committed_params_are_what_conf_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (root / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    monkeypatch.chdir(ROOT)
    run_tool(params, monkeypatch, "--check")


@pytest.mark.parametrize("option", OPTIONS)
def test_the_stages_accept_every_option_of_every_group(
    root: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    # Not every student is one to prune, so each stands beside one that is.
    run_tool(params, monkeypatch, re.sub("^student=(.*)", r"student=[half,\1]", option).replace("[half,half]", "half"))
    for section in sections(root / "params.yaml"):
        settings.load(schema_of(section), section, root / "params.yaml")


@pytest.mark.parametrize("group", PACKAGES)
def test_every_technique_has_an_option_of_its_name(group: str) -> None:
    options = {option.partition("=")[2] for option in OPTIONS if option.startswith(f"{group}=")}
    assert options == set(techniques.names(PACKAGES[group]))


def test_the_sections_are_those_that_may_stand_in_params() -> None:
    assert {*SCHEMAS, *params.SIDE_BY_SIDE} == set(settings.SECTIONS)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("temperature: 4.0", "temperature: 5.0", "distill.temperature: conf/ says 4.0, params.yaml says 5.0"),
        ("alpha: 0.2", "alpha: 0", "distill.alpha: conf/ says 0.2, params.yaml says 0"),
        ("max_length: 64", "max_length: 64.0", "teacher.max_length: conf/ says 64, params.yaml says 64.0"),
        ("    - 5\n", "", "student.half.layers: conf/ says [1, 3, 5], params.yaml says [1, 3]"),
        ("    checkpoint: null\n", "", "student.half.checkpoint: conf/ says None, params.yaml says nothing"),
        ("plot:\n", "plot:\n  size: 3\n", "plot.size: conf/ says nothing, params.yaml says 3"),
        ("plot:\n  dpi: 150\n", "", "plot.dpi: conf/ says 150, params.yaml says nothing"),
    ],
)
def test_check_names_the_key_and_both_values_and_writes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, named: str
) -> None:
    replace("params.yaml", old, new)
    before = contents(root)
    with pytest.raises(PipelineError) as error:
        run_tool(params, monkeypatch, "--check")
    assert f"({named})" in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(root) == before


def test_check_sees_an_edit_of_conf_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_tool(params, monkeypatch, "--check")
    replace("conf/distill/default.yaml", "temperature: 4.0", "temperature: 8.0")
    with pytest.raises(PipelineError, match=r"distill.temperature: conf/ says 8.0, params.yaml says 4.0"):
        run_tool(params, monkeypatch, "--check")
    assert root.is_dir()


def test_check_without_params_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "params.yaml").unlink()
    with pytest.raises(PipelineError, match=r"params.yaml does not exist"):
        run_tool(params, monkeypatch, "--check")


@pytest.mark.usefixtures("root")
def test_check_leaves_an_experiment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run -S ...` writes a params.yaml that conf/ does not say, and on purpose."""
    replace("params.yaml", "temperature: 4.0", "temperature: 5.0")
    monkeypatch.setenv("DVC_EXP_NAME", "hot")
    run_tool(params, monkeypatch, "--check")


def test_dvcs_config_name_is_where_it_starts_from(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc/config.local").write_text("[hydra]\n    config_name = demo\n")
    run_tool(params, monkeypatch)
    assert yaml.safe_load((root / "params.yaml").read_text())["dataset"]["config"] == "local"
    run_tool(params, monkeypatch, "--check")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("conf/plot/default.yaml", "dpi: [150"),
        ("conf/plot/default.yaml", "dpi: ${nothing.here}"),
        ("conf/config.yaml", "defaults:\n  - plot: nothing\n"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_broken_conf_is_one_line_and_params_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str, arguments: tuple[str, ...]
) -> None:
    (root / path).write_text(text)
    before = contents(root)
    with pytest.raises(PipelineError, match="conf/ does not compose: ") as error:
        run_tool(params, monkeypatch, *arguments)
    assert "\n" not in str(error.value)
    assert contents(root) == before


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("dataset=nope", "dataset/nope"),
        ("distill.beta=1", "distill.beta"),
        ("nope=1", "nope"),
        ("distill.alpha=[1", "[1"),
        ("distill.alpha", "distill.alpha"),
    ],
)
def test_a_wrong_override_is_one_line_and_params_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch, override: str, named: str
) -> None:
    before = contents(root)
    with pytest.raises(PipelineError) as error:
        run_tool(params, monkeypatch, override)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(root) == before


def test_elsewhere_than_in_the_root_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="run from the project's root"):
        run_tool(params, monkeypatch)
    assert contents(tmp_path) == {}


def test_an_unknown_config_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    with pytest.raises(PipelineError, match=r"conf/nothing.yaml not found"):
        run_tool(params, monkeypatch, "--config", "nothing")
    assert contents(root) == before


def kept(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, object]:
    """The experiment that `--keep` wrote, after which conf/ says what params.yaml says, byte for byte."""
    wanted = Path("params.yaml").read_bytes()
    run_tool(params, monkeypatch, "--keep", name)
    run_tool(params, monkeypatch, "--check")
    run_tool(params, monkeypatch)
    assert Path("params.yaml").read_bytes() == wanted
    path = Path("conf/experiment", f"{name}.yaml")
    assert path.read_text().startswith(f"# @package _global_\n# Written by `make keep NAME={name}`")
    return yaml.safe_load(path.read_text())


def test_keep_writes_what_differs_as_an_experiment_and_chooses_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root / "conf")
    overrides = ["distill.temperature=8.0", "student.half.layers=[0,5]", "prune=[magnitude]", "teacher.sha256=null"]
    run_tool(params, monkeypatch, *overrides, "qat=none")
    assert kept(monkeypatch, "kd-1") == {
        "defaults": [{"override /prune": ["magnitude"]}, {"override /qat": "none"}],
        "distill": {"temperature": 8.0},
        "student": {"half": {"layers": [0, 5]}},
        "teacher": {"sha256": None},
    }
    assert capsys.readouterr().out == "wrote conf/experiment/kd-1.yaml\nwrote conf/config.yaml\n"
    after = contents(root / "conf")
    assert {path for path in after if after[path] != before.get(path)} == {"config.yaml", "experiment/kd-1.yaml"}
    old, new = ((folder / "conf/config.yaml").read_text().splitlines() for folder in (ROOT, root))
    changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert changed == [("  - experiment: null", "  - experiment: kd-1")]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["prune.structured.student=labels"], {"prune": {"structured": {"student": "labels"}}}),  # and its rows
        (["variants.student=labels"], {"variants": {"student": "labels"}}),  # and all that is made from it
        (["student=[labels,half]"], {"defaults": [{"override /student": ["labels", "half"]}]}),
        (["quantize=[static]"], {"defaults": [{"override /quantize": ["static"]}]}),
        (["plot.dpi=96", "distill.alpha=1"], {"plot": {"dpi": 96}, "distill": {"alpha": 1}}),
    ],
)
def test_keep_leaves_out_what_follows_from_the_rest(
    root: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], expected: dict[str, object]
) -> None:
    run_tool(params, monkeypatch, *overrides)
    assert kept(monkeypatch, "other") == expected


def test_keep_takes_the_place_of_an_experiment_kept_before(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_tool(params, monkeypatch, "experiment=short", "distill.temperature=8.0")
    kept(monkeypatch, "first")
    run_tool(params, monkeypatch, "distill.alpha=0.5")
    second = kept(monkeypatch, "second")
    assert second["distill"] == {"alpha": 0.5, "temperature": 8.0}
    assert {"override /prune": ["structured"]} in second["defaults"]
    run_tool(params, monkeypatch, "experiment=short")  # each stands alone: none is laid upon another
    assert yaml.safe_load(Path("params.yaml").read_text())["distill"]["alpha"] == 0.2


def test_keep_with_nothing_to_do_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    run_tool(params, monkeypatch, "--keep", "same")
    assert capsys.readouterr().out == "conf/ says what params.yaml says already\n"
    assert contents(root) == before


@pytest.mark.parametrize(
    ("name", "path", "old", "new", "named"),
    [
        ("new", "params.yaml", "plot:\n", "extra:\n  key: 1\nplot:\n", "do not both have `extra.key`"),
        ("new", "params.yaml", "  dpi: 150\n", "", "do not both have `plot"),
        ("new", "params.yaml", "  movement:\n    student", "  lottery:\n    student", "no conf/prune/lottery.yaml"),
        ("short", "params.yaml", "dpi: 150", "dpi: 151", "conf/experiment/short.yaml exists"),
        ("a/b", "params.yaml", "dpi: 150", "dpi: 151", "'a/b' cannot name an experiment"),
        ("null", "params.yaml", "dpi: 150", "dpi: 151", "'null' cannot name an experiment"),
        ("", "params.yaml", "dpi: 150", "dpi: 151", "'' cannot name an experiment"),
        ("new", "conf/config.yaml", "  - experiment: null\n", "", "must have one line `- experiment: ...`"),
        (
            "new",
            "conf/config.yaml",
            "  - _self_\n",
            "  - _self_\nplot:\n  dpi: 99\n",
            "cannot|no experiment can set `plot.dpi`",
        ),
    ],
)
def test_keep_refuses_in_one_line_and_writes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str, old: str, new: str, named: str
) -> None:
    replace(path, old, new)
    if path != "params.yaml":
        replace("params.yaml", "dpi: 150", "dpi: 151")
    before = contents(root)
    with pytest.raises(PipelineError, match=named) as error:
        run_tool(params, monkeypatch, "--keep", name)
    assert "\n" not in str(error.value)
    assert contents(root) == before


@pytest.mark.parametrize(
    "arguments", [("--check", "a=1"), ("--keep", "n", "a=1"), ("--check", "--keep", "n"), ("--new",)]
)
@pytest.mark.usefixtures("root")
def test_arguments_that_do_not_go_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as error:
        run_tool(params, monkeypatch, *arguments)
    assert error.value.code == 2
    assert "error: " in capsys.readouterr().err
