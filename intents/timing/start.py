"""A fresh process of the program that serves: the time from its start to its first answer, and the memory it took.

Both are of `python -m intents.serving`, as a user runs it, Python and its imports included.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import psutil
from tqdm.auto import tqdm

from intents.core.errors import PipelineError
from intents.core.files import MIB
from intents.serving.classifier import MODEL, TOKENIZER
from intents.serving.rule import Rule

PROJECT = Path(__file__).parents[2]  # the folder that `python -m intents.serving` is found in
PEAK = "VmHWM:"  # of /proc/PID/status: the most memory that the program itself held at once


class First(NamedTuple):
    ms: float  # from the start of the process to its first answer
    peak_mib: float  # the most memory that it held until then


def interleaved(
    folders: Mapping[str, Path], rule: Rule, query: str, starts: int, threads: int, seed: int
) -> dict[str, list[First]]:
    """The first answers of several models that take turns, in a new order for each round of starts.

    Args:
        folders: of each model: model.onnx and tokenizer.json.
        rule: what all are served with.
        query: the first that each is asked.
        starts: of each model.
        threads: cores that one answer may use.
        seed: of the order.

    Raises:
        PipelineError: a process ends before it answers.
    """
    found: dict[str, list[First]] = {name: [] for name in folders}
    order, draw = list(folders), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        served = {name: _served(folder, rule, Path(scratch) / name) for name, folder in folders.items()}
        for _ in tqdm(range(starts), desc="starting", unit="round"):
            draw.shuffle(order)
            for name in order:
                found[name].append(first_answer(served[name], query, threads))
    return found


def _served(folder: Path, rule: Rule, into: Path) -> Path:
    """A folder as the program reads it: links to the model's files, and the rule."""
    into.mkdir()
    for name in (MODEL, TOKENIZER):
        (into / name).symlink_to((folder / name).resolve())
    rule.save(into)
    return into


def first_answer(folder: Path, query: str, threads: int) -> First:
    """Start the program on a model's folder, ask it one query, and end it.

    Raises:
        PipelineError: it ends before it answers.
    """
    command = [sys.executable, "-m", "intents.serving", "--model", str(folder.resolve())]
    command += ["--threads", str(threads), "--json"]
    pipe = subprocess.PIPE
    start = perf_counter()
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{query}\n".encode())
            process.stdin.flush()  # the pipe stays open, so the program waits for more
        answer = process.stdout.readline()
        ms = 1000 * (perf_counter() - start)
        peak = peak_mib(process.pid) if answer else 0.0
        _, said = process.communicate()
    if not answer:
        raise PipelineError(f"{folder.name} gives no first answer: {' '.join(said.decode().split())[:300]}")
    return First(ms, peak)


def peak_mib(pid: int) -> float:
    """The most memory that a process has held at once, in MiB.

    From /proc: there a process does not begin with its parent's peak, as it does in getrusage(2) on Linux. Where there
    is no such file, what it holds now.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    kib = next((int(line.split()[1]) for line in lines if line.startswith(PEAK)), None)
    return psutil.Process(pid).memory_info().rss / MIB if kib is None else kib / 1024  # type: ignore[no-any-return]
