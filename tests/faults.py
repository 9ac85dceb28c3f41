"""Faults that no test can wait for: `make demo` killed at random moments, and on a full disk. Not part of `make test`.

PYTHONPATH=. python tests/faults.py --times 20          kill it 20 times, each in its own clone; fill the disk 3 times
PYTHONPATH=. python tests/faults.py --times 2 --tiny    the same with the tests' tiny models: minutes, not hours

A run that was killed, run again, has to end with the bytes of an undisturbed one (the clock's figures and what follows
from them aside). A run on a full disk has to end with one line, leave nothing half-written and lose nothing: with room
again, and the change taken back, it ends with those bytes too. What is tried is the commit that is checked out.
"""

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml
from conftest import ROOT, contents, make_checkpoint
from pipeline.conftest import TINY

DEMO = ".demo"
COMMAND = [sys.executable, "-m", "tools.demo"]
# What the clock decides, and what is chosen by it.
CLOCK = re.compile(r"reports/(latency|benchmark|summary)\.json|reports/(timings|tradeoff)\.csv|reports/report\.md")
CHOSEN = re.compile(r"(release|reports/figures|reports/primer)/|dvc\.lock$")
KEPT = re.compile(r"(data|models|reports|release)/|dvc\.lock$|params\.yaml$")
# A change that makes a training begin anew, and the largest file in bytes that may be written then.
FULL = (("teacher", 2**20), ("distill", 2**20), ("augment", 2**14))
LIMIT_S = 4 * 3600


def clone(folder: Path, tiny: Path | None) -> Path:
    """A clone of the checkout; its demo is that of the tiny models where their checkpoint is given."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if tiny:
        config = TINY | {"teacher": TINY["teacher"] | {"checkpoint": str(tiny)}}
        (folder / "conf/demo.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def made(project: Path) -> dict[str, str]:
    """{path: sha256} of what a demo has to make alike every time."""
    found = contents(project / DEMO)
    return {
        name: digest
        for name, digest in found.items()
        if KEPT.match(name) and not CLOCK.fullmatch(name) and not CHOSEN.match(name) and ".training/" not in name
    }


def start(project: Path, largest: int | None = None) -> subprocess.Popen[str]:
    """A demo that goes on.

    Args:
        largest: the most bytes of a file that it can write; more is refused, as by a full disk.
    """

    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    environment = os.environ | {"DVC_SITE_CACHE_DIR": str(project.parent / "site"), "PYTHONHASHSEED": "0"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (project.parent / "log.txt").open("w") as log:
        return subprocess.Popen(
            COMMAND, cwd=project, env=environment, stdout=log, stderr=log, text=True, preexec_fn=limit
        )


def ended(running: subprocess.Popen[str], project: Path) -> tuple[int, str]:
    status = running.wait(timeout=LIMIT_S)
    return status, (project.parent / "log.txt").read_text()


def kill(running: subprocess.Popen[str]) -> None:
    """SIGKILL to a program and all that it started."""
    parent = psutil.Process(running.pid)
    parent.suspend()  # it starts no other in between
    for process in [*parent.children(recursive=True), parent]:
        process.kill()
    running.wait()


def compared(expected: dict[str, str], project: Path) -> str:
    """In words, whether a demo made what was expected."""
    found = made(project)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return f"{len(different)} files differ, {different[0]} the first" if different else ""


def killed(base: Path, tiny: Path | None, after: float, expected: dict[str, str]) -> str:
    """Kill a demo after so many seconds and run it again. What went wrong, or nothing."""
    project = clone(base / "project", tiny)
    running = start(project)
    time.sleep(after)
    if running.poll() is not None:
        return "it had ended before it was killed"
    kill(running)
    status, log = ended(start(project), project)
    return f"it ended with status {status}: {log[-500:]}" if status else compared(expected, project)


def full(base: Path, calm: Path, section: str, largest: int, expected: dict[str, str]) -> str:
    """Change a setting of a finished demo, run it where no large file can be written, take the change back."""
    project = base / "project"
    shutil.copytree(calm, project, symlinks=True)
    config = project / "conf/demo.yaml"
    before = config.read_text()
    change = {"augment": {"number": 150}}.get(section, {"learning_rate": 1e-4})
    content = yaml.safe_load(before)
    config.write_text(yaml.safe_dump(content | {section: content.get(section, {}) | change}, sort_keys=False))
    status, log = ended(start(project, largest), project)
    if not status:
        return "it did not fail"
    if "Traceback" in log:
        return f"a traceback: {log[log.index('Traceback') :][:1500]}"
    if not re.search(r"^error: .*(File too large|No space left)", log, re.MULTILINE):
        return f"no line says that there is no room: {log[-500:]}"
    if left := [name for name in contents(project / DEMO) if name.endswith(".part") or ".part/" in name]:
        return f"{left[0]} is left"
    config.write_text(before)
    status, log = ended(start(project), project)
    return f"with room again it ended with status {status}: {log[-500:]}" if status else compared(expected, project)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="how often it is killed (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--tiny", action="store_true", help="the tests' tiny models")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays (default: one that goes)")
    arguments = parser.parse_args()
    base = Path(arguments.keep or tempfile.mkdtemp(prefix="faults-")).resolve()
    base.mkdir(parents=True, exist_ok=True)
    tiny = None
    if arguments.tiny:
        tiny = base / "checkpoint"
        tiny.mkdir(exist_ok=True)
        make_checkpoint(tiny)

    (base / "calm").mkdir()
    calm = clone(base / "calm/project", tiny)
    began = time.monotonic()
    status, log = ended(start(calm), calm)
    if status:
        sys.exit(f"error: the undisturbed demo ended with status {status}: {log[-1000:]}")
    took, expected = time.monotonic() - began, made(calm)
    print(f"undisturbed: {took:.0f} s, {len(expected)} files to compare", flush=True)

    moments = random.Random(arguments.seed)
    bad = 0

    def attempt(name: str, run: Callable[[Path], str]) -> None:
        nonlocal bad
        folder = base / "attempt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        wrong = run(folder)
        bad += bool(wrong)
        print(f"{name}: {wrong or 'well'}", flush=True)

    for number in range(arguments.times):
        after = moments.uniform(0.02, 0.98) * took
        attempt(f"killed {number + 1}, after {after:.0f} s", lambda at: killed(at, tiny, after, expected))  # noqa: B023
    for section, largest in FULL:
        attempt(f"full at {section}", lambda at: full(at, calm, section, largest, expected))  # noqa: B023
    if not arguments.keep:
        shutil.rmtree(base)
    sys.exit(f"error: {bad} of {arguments.times + len(FULL)} went wrong" if bad else 0)


if __name__ == "__main__":
    main()
