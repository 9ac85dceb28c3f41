"""clean: what dvc.yaml no longer declares goes, and nothing else."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, contents, run

from stages import clean
from stages.library.errors import PipelineError

PIPELINE = """
stages:
  train:
    matrix:
      method: ${methods}
    cmd: python -m train ${item.method}
    outs:
      - data/${item.method}
      - data/logits/${item.method}.safetensors
    metrics:
      - reports/quality/${item.method}.json:
          cache: false
  quantize:
    matrix:
      method: ${methods}
      how: ${int8}
    cmd: python -m quantize ${item.method} ${item.how}
    deps:
      - data/${item.method}
    outs:
      - data/ort/${item.how}/${item.method}
"""
# Of other techniques than those that are declared.
LEFT = (
    "data/logits/structured.safetensors",
    "data/logits/.movement.safetensors.part",
    "data/ort/static/structured/model.onnx",
    "data/ort/static/structured/tokenizer.json",
    "data/ort/dynamic/movement/model.onnx",
    "data/quantized/qat/model.safetensors",
    "reports/quality/structured.json",
)
# Neither of the pipeline's shared folders nor of a stage.
OTHERS = (
    "data/sample/sample.json",
    "data/structured/model.safetensors",
    "reports/sweep/kd/sweep.csv",
    "reports/tune/README.md",
    "reports/whole/quality/structured.json",
    "reports/primer/README.md",
)
DECLARED = (
    "data/movement/model.safetensors",
    "data/logits/movement.safetensors",
    "data/ort/static/movement/model.onnx",
    "data/ort/static/movement/deeper/tokenizer.json",
    "reports/quality/movement.json",
)


def put(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


@pytest.fixture
def cleaned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[str]]:
    """What the program printed, in lines; in a project of two stages, `movement` its only technique."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    Path("dvc.yaml").write_text(PIPELINE)
    Path("params.yaml").write_text("methods: [movement]\nint8: [static]\n")
    put(*DECLARED, *OTHERS)

    def cleaned() -> list[str]:
        capsys.readouterr()
        run(clean, monkeypatch)
        return capsys.readouterr().out.splitlines()

    return cleaned


def test_leftovers_go_and_all_else_stays(cleaned: Callable[[], list[str]]) -> None:
    before = contents(Path("data")), contents(Path("reports"))
    put(*LEFT)
    Path("data/onnx/structured").mkdir(parents=True)
    assert cleaned() == [
        "removed data/logits/.movement.safetensors.part",
        "removed data/logits/structured.safetensors",
        "removed data/onnx/structured",
        "removed data/ort/dynamic",
        "removed data/ort/static/structured",
        "removed data/quantized/qat",
        "removed reports/quality/structured.json",
    ]
    assert (contents(Path("data")), contents(Path("reports"))) == before
    assert {path.name for path in Path("data/ort").rglob("*") if path.is_dir()} == {"static", "movement", "deeper"}
    assert cleaned() == []


def test_clean_tree_prints_nothing(cleaned: Callable[[], list[str]]) -> None:
    assert cleaned() == []


def test_what_another_technique_declares_stays(cleaned: Callable[[], list[str]]) -> None:
    put("data/ort/static/structured/model.onnx")
    Path("params.yaml").write_text("methods: [movement, structured]\nint8: [static]\n")
    assert cleaned() == []


def test_linked_models_go_and_what_they_link_to_stays(cleaned: Callable[[], list[str]]) -> None:
    put("cache/ab/model.onnx")
    Path("data/ort/static/structured").symlink_to(Path("cache/ab").absolute())
    Path("data/logits/structured.safetensors").symlink_to(Path("cache/ab/model.onnx").absolute())
    assert cleaned() == ["removed data/logits/structured.safetensors", "removed data/ort/static/structured"]
    assert Path("cache/ab/model.onnx").is_file()


def test_nothing_goes_where_dvc_cannot_say_what_is_declared(cleaned: Callable[[], list[str]]) -> None:
    put(*LEFT)
    Path("params.yaml").write_text("methods: [movement]\n")
    with pytest.raises(PipelineError, match=r"nothing removed, .*int8"):
        cleaned()
    assert all(Path(name).is_file() for name in LEFT)


def test_every_folder_of_several_stages_is_named() -> None:
    stages = [stage.get("do", stage) for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()]
    outs = {
        path
        for stage in stages
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for path in ([entry] if isinstance(entry, str) else entry)
    }
    assert {"/".join(path.split("/")[:2]) for path in outs if path.count("/") > 1} == set(clean.SHARED)
