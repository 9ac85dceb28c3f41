"""params: conf/ and params.yaml say the same, byte for byte what DVC would write, or one line says where not."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, contents, run
from dvc.utils.hydra import compose_and_dump

from stages import (
    benchmark,
    control,
    fetch_clinc,
    finetune_teacher,
    onnx_export,
    ort_quantize,
    params,
    prune,
    qat,
    quantize,
    sensitivity,
)
from stages.library import figures, int8, out_of_scope, settings, students, training
from stages.library.errors import PipelineError

SCHEMAS = {
    "run": training.Run,
    "out_of_scope": out_of_scope.OutOfScope,
    "dataset": fetch_clinc.Dataset,
    "teacher": finetune_teacher.Teacher,
    "student": students.Student,
    "distill": students.Distill,
    "control": control.Control,
    "quantize.dynamic": int8.Scheme,
    "quantize.static": quantize.Static,
    "quantize.qat": qat.QuantizationAwareTraining,
    "variants": benchmark.Variants,
    "onnx_export": onnx_export.OnnxExport,
    **{f"ort_quantize.{method}": schema for method, schema in ort_quantize.METHODS.items()},
    **{f"prune.{method}": schema for method, schema in prune.METHODS.items()},
    "sensitivity": sensitivity.Sensitivity,
    "benchmark": benchmark.Benchmark,
    "plot": figures.Plot,
}
OPTIONS = sorted(
    f"{path.parent.name}={path.stem}" for path in ROOT.glob("conf/*/*.yaml") if path.stem not in ("base", "default")
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what this program reads, as the current folder."""
    folder = tmp_path / "root"
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    run(params, monkeypatch)
    return folder


def sections(path: Path) -> list[str]:
    """The sections of a params.yaml; of techniques, one for each that is chosen."""
    content = yaml.safe_load(path.read_text())
    techniques = ("quantize", "prune", "ort_quantize")
    inner = [f"{name}.{method}" for name in techniques for method in content[name]]
    return [name for name in content if name not in techniques] + inner


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("config", "overrides"),
    [("config", []), ("demo", []), ("config", ["prune=magnitude", "distill.alpha=0.25", "student.layers=[0,5]"])],
)
def test_it_writes_byte_for_byte_what_dvc_exp_run_would(
    root: Path, monkeypatch: pytest.MonkeyPatch, config: str, overrides: list[str]
) -> None:
    run(params, monkeypatch, "--config", config, *overrides)
    expected = root / "expected.yaml"
    compose_and_dump(expected, str(root / "conf"), None, config, "plugins", overrides)
    assert (root / "params.yaml").read_bytes() == expected.read_bytes()


def test_the_committed_params_are_what_conf_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (root / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    monkeypatch.chdir(ROOT)
    run(params, monkeypatch, "--check")


@pytest.mark.parametrize("option", OPTIONS)
def test_the_stages_accept_every_option_of_every_group(
    root: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    run(params, monkeypatch, option)
    for section in sections(root / "params.yaml"):
        settings.load(SCHEMAS[section], section, root / "params.yaml")


def test_every_method_has_an_option_of_its_name() -> None:
    for group, stage in (("quantize", quantize), ("prune", prune), ("ort_quantize", ort_quantize)):
        assert {f"{group}={method}" for method in stage.METHODS} == {
            option for option in OPTIONS if option.startswith(f"{group}=")
        }


def test_the_sections_are_those_that_may_stand_in_params() -> None:
    assert {section.split(".")[0] for section in SCHEMAS} == set(settings.SECTIONS)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("temperature: 4.0", "temperature: 5.0", "distill.temperature: conf/ says 4.0, params.yaml says 5.0"),
        ("alpha: 0.2", "alpha: 0", "distill.alpha: conf/ says 0.2, params.yaml says 0"),
        ("max_length: 64", "max_length: 64.0", "teacher.max_length: conf/ says 64, params.yaml says 64.0"),
        ("  - 5\n", "", "student.layers: conf/ says [1, 3, 5], params.yaml says [1, 3]"),
        ("  checkpoint: null\n", "", "student.checkpoint: conf/ says None, params.yaml says nothing"),
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
        run(params, monkeypatch, "--check")
    assert f"({named})" in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(root) == before


def test_check_sees_an_edit_of_conf_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(params, monkeypatch, "--check")
    replace("conf/distill/default.yaml", "temperature: 4.0", "temperature: 8.0")
    with pytest.raises(PipelineError, match=r"distill.temperature: conf/ says 8.0, params.yaml says 4.0"):
        run(params, monkeypatch, "--check")
    assert root.is_dir()


def test_check_without_params_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "params.yaml").unlink()
    with pytest.raises(PipelineError, match=r"params.yaml does not exist"):
        run(params, monkeypatch, "--check")


@pytest.mark.usefixtures("root")
def test_check_leaves_an_experiment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run -S ...` writes a params.yaml that conf/ does not say, and on purpose."""
    replace("params.yaml", "temperature: 4.0", "temperature: 5.0")
    monkeypatch.setenv("DVC_EXP_NAME", "hot")
    run(params, monkeypatch, "--check")


def test_dvcs_config_name_is_where_it_starts_from(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc/config.local").write_text("[hydra]\n    config_name = demo\n")
    run(params, monkeypatch)
    assert yaml.safe_load((root / "params.yaml").read_text())["dataset"]["config"] == "local"
    run(params, monkeypatch, "--check")


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
        run(params, monkeypatch, *arguments)
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
        run(params, monkeypatch, override)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(root) == before


def test_elsewhere_than_in_the_root_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="run from the project's root"):
        run(params, monkeypatch)
    assert contents(tmp_path) == {}


def test_an_unknown_config_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    with pytest.raises(PipelineError, match=r"conf/nothing.yaml not found"):
        run(params, monkeypatch, "--config", "nothing")
    assert contents(root) == before


def test_promote_writes_into_conf_what_params_say_and_keeps_the_comments(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root / "conf")
    run(
        params, monkeypatch, "distill.temperature=8.0", "student.layers=[0,5]", "prune=magnitude", "teacher.sha256=null"
    )
    wanted = (root / "params.yaml").read_bytes()
    run(params, monkeypatch, "--promote")
    assert set(capsys.readouterr().out.splitlines()) == {
        "conf/distill/default.yaml: temperature: 8.0 (was 4.0)",
        "conf/student/half.yaml: layers: [0, 5] (was [1, 3, 5])",
        "conf/config.yaml: prune: [magnitude] (was [movement, structured])",
        f"conf/teacher/minilm.yaml: sha256: None (was {json.dumps(sha256_of_minilm())[1:-1]})",
    }
    changed = {path for path, digest in contents(root / "conf").items() if digest != before[path]}
    assert changed == {"config.yaml", "distill/default.yaml", "student/half.yaml", "teacher/minilm.yaml"}
    for path in changed:
        old, new = ((folder / "conf" / path).read_text().splitlines() for folder in (ROOT, root))
        differing = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
        assert len(differing) == 1, path
    run(params, monkeypatch, "--check")
    run(params, monkeypatch)
    assert (root / "params.yaml").read_bytes() == wanted


def sha256_of_minilm() -> str:
    return yaml.safe_load((ROOT / "conf/teacher/minilm.yaml").read_text())["sha256"]


def test_promote_with_nothing_to_do_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    run(params, monkeypatch, "--promote")
    assert capsys.readouterr().out == "conf/ says what params.yaml says already\n"
    assert contents(root) == before


def test_promote_refuses_a_key_that_conf_does_not_know_and_writes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace("params.yaml", "plot:\n", "extra:\n  key: 1\nplot:\n")
    before = contents(root)
    with pytest.raises(PipelineError, match="`extra` is no group of conf/"):
        run(params, monkeypatch, "--promote")
    assert contents(root) == before
