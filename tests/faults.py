"""Faults that no test can wait for: `make demo` killed at random moments, and on a full disk. Not part of `make test`.

PYTHONPATH=. python tests/faults.py           kill it at 20 moments and while DVC puts outputs away; fill the disk
PYTHONPATH=. python tests/faults.py --tiny    the same with the tests' tiny models

A run that was killed, run again, has to end with the bytes of an undisturbed one; of files that the clock decides, with
their names. dvc.lock has to be in step, and each object of DVC's cache has to be what its name says. A run on a full
disk has to end with one line and lose nothing: with room again, it ends with those bytes too.

The moments are drawn over the whole undisturbed run, so long stages are hit more often. Ten of them come in a row: a
demo begins with nothing, is killed, run again, killed again, and so on, and in the end left alone. What a kill damages
stays damaged until then, dvc.lock and the cache are looked at after each, and it takes little longer than one demo.

A kill while DVC writes, and a full disk, begin where the undisturbed run was when the stages of the moment began: what
was made by then is there, what was not is not. These stages are really run, and run again: their outputs, cached
objects and run records are gone. What follows comes from the run cache, which gives it only for the same inputs, byte
for byte; what the clock decides is made anew.

To fill the disk, it mounts a small one, which needs `unshare --map-root-user --mount` in front for any user but root.
What is tried is the commit that is checked out.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml
from conftest import ROOT, contents, make_checkpoint
from pipeline.conftest import TINY
from warm import started as warm

DEMO = ".demo"
COMMAND = [sys.executable, "-m", "tools.demo"]
# What the clock decides, and what is chosen by it.
CLOCK = re.compile(
    r"reports/((latency|benchmark|summary)\.json|(timings|tradeoff|intents)\.csv|report\.md|(figures|primer)/.*)"
    r"|data/wrong_answers\.csv|release/.*"
)
TIMED = ("benchmark", "select", "plot", "primer", "deploy")  # the stages that write these
KEPT = re.compile(r"(data|models|reports|release)/|params\.yaml$")
LEFT_OUT = re.compile(r"data/\.training/.*|reports/durations\.json")  # the one of the last run's clock
# A change that makes a training begin anew, and the largest file in bytes that may be written then.
FULL = (("teacher", 2**20), ("distill", 2**20), ("prune", 2**20))
# The demo of the tests' tiny models: the stages of conf/demo.yaml, and TINY's values for them.
SHORT = ["config", {"override dataset": "sample"}, {"override experiment": "short"}, "_self_"]
SMALL: dict[str, Any] = TINY | {
    "defaults": SHORT,
    "student": {"half": TINY["student"]["half"]},
    "prune": {"structured": TINY["prune"]["structured"]},
    "quantize": {},
}
LIMIT_S = 4 * 3600
ROW = 10  # kills of one demo
LOOK_S = 0.2
MIB = 2**20

Times = dict[str, dict[str, float]]  # {stage: {phase: when it began, "end": when the stage ended}}, in seconds
PHASES = (
    "before",
    "program",
    "after",
)  # DVC looks at what the stage reads; its program runs; DVC puts its outputs away


class Watched:
    """A demo that runs, and what is seen of its stages."""

    def __init__(self, project: Path, largest: int | None = None) -> None:
        """Start it.

        Args:
            largest: the most bytes of a file that it can write; more is refused.
        """

        def limit() -> None:
            if largest is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

        environment = os.environ | {"DVC_SITE_CACHE_DIR": str(project.parent / "site"), "PYTHONHASHSEED": "0"}
        if largest is not None:  # a limit is not that of what warm.py forks
            environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        self.project = project
        self.log = project.parent.parent / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                COMMAND, cwd=project, env=environment, stdout=log, stderr=log, preexec_fn=limit, start_new_session=True
            )
        self.began = time.monotonic()
        self.times: Times = {}

    def look(self) -> dict[str, str]:
        """{stage: its phase} of the stages that are running."""
        now, found = time.monotonic() - self.began, {}
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    words = child.cmdline()
                    if "--single-item" not in words:
                        continue
                    below = any("stages." in " ".join(other.cmdline()) for other in child.children(recursive=True))
                    times = self.times.setdefault(words[-1], {"before": now})
                    phase = "program" if below else "after" if "program" in times else "before"
                    times.setdefault(phase, now)
                    times["end"] = now
                    found[words[-1]] = phase
        return found

    def until(self, stage: str | None, phase: str, delay: float) -> dict[str, str] | None:
        """Wait until so many seconds after a stage's phase began, but no longer than the stage runs.

        Args:
            stage: None for the start of the demo.

        Returns:
            The stages that are running then; None if the demo ended before.
        """
        while True:
            running = self.look()
            if self.process.poll() is not None:
                return None
            begun = self.times.get(stage, {}).get(phase) if stage else 0.0
            if begun is not None and (
                time.monotonic() - self.began >= begun + delay or (stage and stage not in running)
            ):
                return running
            time.sleep(LOOK_S)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.process.pid).children(recursive=True)
            os.killpg(self.process.pid, signal.SIGKILL)
            # Those of a group of their own, and those that warm.py forked.
            started += [process for process in psutil.process_iter() if self._within(process)]
            for process in started:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(started, timeout=30)
        self.process.wait()

    def _within(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return Path(process.cwd()).is_relative_to(self.project)
        return False

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it printed, once it has ended."""
        while self.process.poll() is None:
            self.look()
            if time.monotonic() - self.began > LIMIT_S:
                raise TimeoutError(f"the demo goes on after {LIMIT_S} s")
            time.sleep(LOOK_S)
        return self.process.returncode, self.log.read_text()


@contextmanager
def started(project: Path, largest: int | None = None) -> Iterator[Watched]:
    """A demo; if the block is left while it runs, it is killed."""
    running = Watched(project, largest)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()


class Calm(NamedTuple):
    """The undisturbed run."""

    project: Path
    took: float  # seconds
    times: Times
    made: dict[str, str]  # {path: sha256} of what it wrote
    tiny: Path | None

    def running(self, moment: float) -> set[str]:
        return {name for name, times in self.times.items() if times["before"] <= moment <= times["end"]}

    def ended(self, moment: float) -> set[str]:
        return {name for name, times in self.times.items() if times["end"] < moment}


def clone(folder: Path, tiny: Path | None) -> Path:
    """A clone of the checkout; its demo is that of the tiny models where their checkpoint is given."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if tiny:
        config = SMALL | {"teacher": TINY["teacher"] | {"checkpoint": str(tiny)}}
        (folder / "conf/demo.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def made(project: Path) -> dict[str, str]:
    """{path: sha256} of what a demo made."""
    found = contents(project / DEMO)
    return {name: digest for name, digest in found.items() if KEPT.match(name) and not LEFT_OUT.fullmatch(name)}


def locked(project: Path) -> dict[str, Any]:
    """{stage: what dvc.lock says of it}."""
    return yaml.safe_load((project / DEMO / "dvc.lock").read_text())["stages"]


def objects(cache: Path, outs: list[dict[str, Any]]) -> set[Path]:
    """The objects of DVC's cache that outputs consist of."""
    found = set()
    for out in outs:
        whole = cache / "files/md5" / out["md5"][:2] / out["md5"][2:]
        if whole.is_file():
            found.add(whole)
            if out["md5"].endswith(".dir"):
                digests = [entry["md5"] for entry in json.loads(whole.read_text())]
                found |= {cache / "files/md5" / digest[:2] / digest[2:] for digest in digests}
    return found


def begun(project: Path, calm: Calm, ended: set[str], running: set[str]) -> None:
    """Bring the demo of a new clone to where the undisturbed one was when the stages `running` began.

    Args:
        ended: the stages that had been made by then.
    """
    demo = project / DEMO
    shutil.copytree(calm.project / DEMO, demo, symlinks=True)
    lock = yaml.safe_load((demo / "dvc.lock").read_text())
    stages, cache = lock["stages"], demo / ".dvc/cache"
    others = [out for name, stage in stages.items() if name not in running for out in stage["outs"]]
    own = [out for name in running for out in stages[name]["outs"]]
    for path in objects(cache, own) - objects(cache, others):
        path.unlink()
    commands = {stages[name]["cmd"] for name in running}
    for record in [path for path in (cache / "runs").glob("*/*/*") if path.is_file()]:
        if yaml.safe_load(record.read_text())["cmd"] in commands:
            record.unlink()
            record.parent.rmdir()
    for name in stages.keys() - ended:
        for out in stages.pop(name)["outs"]:
            path = demo / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not any(name.startswith("finetune-teacher") for name in ended):
        shutil.rmtree(demo / "data/.pretrained", ignore_errors=True)
    for name in ("reports", "models", "data/logits"):
        for folder in sorted((demo / name).rglob("*"), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    (demo / "dvc.lock").unlink()
    if stages:
        (demo / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def damaged(cache: Path) -> list[Path]:
    """The objects of DVC's cache that are not what their names say."""
    named = [path for path in (cache / "files/md5").glob("??/*") if re.fullmatch(r"[0-9a-f]{30}(\.dir)?", path.name)]
    return [p for p in named if hashlib.md5(p.read_bytes()).hexdigest() != p.parent.name + p.name.removesuffix(".dir")]


def compared(calm: Calm, project: Path) -> str:
    """In words, what a demo made otherwise than the undisturbed one; nothing if all is alike."""
    found, expected = made(project), calm.made
    if names := sorted(found.keys() ^ expected.keys()):
        return f"{len(names)} files are there in one of the two alone, {names[0]} the first"
    timed = found["reports/latency.json"] != expected["reports/latency.json"]
    different = sorted(name for name in found if found[name] != expected[name])
    different = [name for name in different if not (timed and CLOCK.fullmatch(name))]
    if different:
        return f"{len(different)} files differ, {different[0]} the first"
    lock, other = locked(project), locked(calm.project)
    if stages := [name for name in other if lock.get(name) != other[name] and not (timed and name in TIMED)]:
        return f"dvc.lock says something else of {stages[0]}"
    if paths := damaged(project / DEMO / ".dvc/cache"):
        return f"{len(paths)} objects in DVC's cache are damaged, {paths[0]} the first"
    step = subprocess.run(
        [sys.executable, "-m", "tools.lock"],
        cwd=project / DEMO,
        env=os.environ | {"PYTHONPATH": str(project), "DVC_SITE_CACHE_DIR": str(project.parent / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    return step.stderr[-500:] if step.returncode else ""


def again(calm: Calm, project: Path) -> str:
    """Run a demo to its end. What went wrong, or nothing."""
    with started(project) as running:
        status, log = running.ended()
    return f"run again, it ended with status {status}: {log[-800:]}" if status else compared(calm, project)


class Target(NamedTuple):
    """A moment as `Watched.until` waits for it: it comes with the stages, however fast the machine is."""

    stage: str | None
    phase: str
    delay: float  # seconds since the phase began, or the demo if there is no stage


def target(calm: Calm, moment: float) -> Target:
    """A moment of the undisturbed run."""
    now = calm.running(moment)
    if not now:
        return Target(
            None,
            "",
            moment - max((times["end"] for times in calm.times.values() if times["end"] < moment), default=0.0),
        )
    stage = min(now, key=lambda name: calm.times[name]["before"])
    times = calm.times[stage]
    phase = max((name for name in PHASES if times.get(name, moment + 1) <= moment), key=times.__getitem__)
    return Target(stage, phase, moment - times[phase])


def reach(calm: Calm, folder: Path, moment: float) -> Path:
    """A clone whose demo is where the undisturbed run was when the stages of a moment began."""
    project = clone(folder / "project", calm.tiny)
    begun(project, calm, calm.ended(moment), calm.running(moment))
    return project


def in_words(stages: dict[str, str]) -> str:
    words = {"before": "DVC reads", "program": "runs", "after": "DVC writes"}
    return ", ".join(f"{name} ({words[phase]})" for name, phase in sorted(stages.items())) or "no stage"


def killed(calm: Calm, folder: Path, moment: float) -> tuple[str, str]:
    """Kill a demo at a moment of the undisturbed run and run it again. What was hit, and what went wrong or nothing."""
    project = reach(calm, folder, moment)
    with started(project) as running:
        hit = running.until(*target(calm, moment))
        if hit is None:
            return "", "it had ended before it was killed"
        running.kill()
    return in_words(hit), again(calm, project)


def in_a_row(calm: Calm, folder: Path, moments: list[float]) -> tuple[str, str]:
    """Kill one demo at all these moments, one after the other. What was hit, and what went wrong or nothing."""
    project, kills = clone(folder / "project", calm.tiny), 0
    lock, expected = project / DEMO / "dvc.lock", locked(calm.project)
    for moment in sorted(moments):
        wanted = target(calm, moment)
        if lock.is_file() and wanted.stage in locked(project):  # it was running when another one was hit, and ended
            wanted = Target(None, "", min(wanted.delay, 20))
        with started(project) as running:
            hit = running.until(*wanted)
            if hit is None:  # the stage came from the run cache: it was killed between the two writes of its end
                break
            running.kill()
        kills += 1
        print(f"  {kills}, at {moment:.0f} s: {in_words(hit)}", flush=True)
        try:
            found = locked(project) if lock.is_file() else {}
        except (yaml.YAMLError, KeyError, TypeError) as error:
            return "", f"dvc.lock is torn: {error}"
        if stages := [name for name in found if found[name] != expected[name] and name not in TIMED]:
            return "", f"dvc.lock says something else of {stages[0]}"
        if paths := damaged(project / DEMO / ".dvc/cache"):
            return "", f"{len(paths)} objects in DVC's cache are damaged, {paths[0]} the first"
    return f"{kills} times", again(calm, project)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of its own of so many bytes, in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, size: int | None = None) -> None:
    """Give a small disk another size; None: of what is on it, so that it is full."""
    room = os.statvfs(disk)
    size = size or (room.f_blocks - room.f_bfree) * room.f_frsize
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=False, stderr=subprocess.DEVNULL)


def told(log: str) -> str:
    """What is wrong with the end of a run on a full disk, in words, or nothing."""
    if "Traceback" in log:
        return f"a traceback: {log[log.index('Traceback') :][:3000]}"
    if not re.search(r"^error: .*", log, re.MULTILINE):
        return f"no error in one line: {log[-800:]}"
    if not re.search(r"File too large|No space left", log):
        return f"no line says that there is no room: {log[-800:]}"
    return ""


def filled(calm: Calm, folder: Path, moment: float) -> tuple[str, str]:
    """Fill the disk of a demo at a moment of the undisturbed run, until it ends; run it again with room."""
    used = sum(path.stat().st_size for path in calm.project.rglob("*") if path.is_file())
    with small_disk(folder / "disk", 2 * used + 1500 * MIB) as disk:
        project = reach(calm, disk, moment)
        before, lock = made(project), (project / DEMO / "dvc.lock").is_file() and locked(project)
        with started(project) as running:
            hit = running.until(*target(calm, moment))
            if hit is None:
                return "", "it had ended before the disk was full"
            while running.process.poll() is None:
                resize(disk)
                time.sleep(0.02)
            status, log = running.ended()
        words = in_words(hit)
        resize(disk, 2 * used + 1500 * MIB)
        if not status:
            return words, "it did not fail"
        if wrong := told(log):
            return words, wrong
        if lost := [name for name, digest in before.items() if made(project).get(name) != digest]:
            return words, f"{len(lost)} files are lost, {lost[0]} the first"
        if lock and not lock.items() <= locked(project).items():
            return words, "dvc.lock has lost stages"
        return words, again(calm, project)


def full(calm: Calm, folder: Path, section: str, largest: int) -> tuple[str, str]:
    """Change a setting of a finished demo, run it where no large file can be written, take the change back."""
    project = clone(folder / "project", calm.tiny)
    shutil.copytree(calm.project / DEMO, project / DEMO, symlinks=True)
    config = project / "conf/demo.yaml"
    before = config.read_text()
    content = yaml.safe_load(before)
    section, key = ("prune", "structured") if section == "prune" else (section, "")
    changed = content.setdefault(section, {})
    (changed.setdefault(key, {}) if key else changed)["learning_rate"] = 1e-4
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    with started(project, largest) as running:
        status, log = running.ended()
    if not status:
        return "", "it did not fail"
    if wrong := told(log):
        return "", wrong
    if left := [name for name in contents(project / DEMO) if name.endswith(".part") or ".part/" in name]:
        return "", f"{left[0]} is left"
    config.write_text(before)
    return "", again(calm, project)


def undisturbed(base: Path, tiny: Path | None) -> Calm:
    """The undisturbed run, or that of an earlier call in the same folder."""
    project, seen = base / "calm/project", base / "calm/seen.json"
    if not seen.is_file():
        shutil.rmtree(base / "calm", ignore_errors=True)
        (base / "calm").mkdir()
        clone(project, tiny)
        with started(project) as running:
            status, log = running.ended()
        if status:
            sys.exit(f"error: the undisturbed demo ended with status {status}: {log[-1000:]}")
        seen.write_text(json.dumps([time.monotonic() - running.began, running.times]))
    took, times = json.loads(seen.read_text())
    return Calm(project, took, times, made(project), tiny)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="how often it is killed (default 20)")
    parser.add_argument("--writes", type=int, default=5, help="how often while DVC puts outputs away (default 5)")
    parser.add_argument("--fills", type=int, default=3, help="how often the disk is filled (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--tiny", action="store_true", help="the tests' tiny models")
    parser.add_argument("--warm", action="store_true", help="stages fork a process that has torch loaded (warm.py)")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays; another call there goes on")
    arguments = parser.parse_args()
    base = Path(arguments.keep or tempfile.mkdtemp(prefix="faults-")).resolve()
    base.mkdir(parents=True, exist_ok=True)
    tiny = None
    if arguments.tiny:
        tiny = base / "checkpoint"
        if not tiny.is_dir():
            tiny.mkdir()
            make_checkpoint(tiny)
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    with ExitStack() as stack:
        if arguments.warm:
            path.insert(0, str(stack.enter_context(warm(Path(stack.enter_context(tempfile.TemporaryDirectory()))))))
        os.environ["PATH"] = os.pathsep.join(path)
        bad = attempt_all(arguments, base, tiny)
    if not arguments.keep:
        shutil.rmtree(base)
    sys.exit(f"error: {bad} went wrong" if bad else 0)


def attempt_all(arguments: argparse.Namespace, base: Path, tiny: Path | None) -> int:
    """Try all faults in the folder `base`; how many went wrong."""
    calm = undisturbed(base, tiny)
    print(f"undisturbed: {calm.took:.0f} s, {len(calm.times)} stages, {len(calm.made)} files", flush=True)

    draw = random.Random(arguments.seed)
    moments = [draw.uniform(0, calm.took) for _ in range(arguments.times)]
    spans = [(times["after"], times["end"]) for times in calm.times.values() if "after" in times]
    written = [draw.uniform(*draw.choice(spans)) for _ in range(arguments.writes)]
    fills = [draw.uniform(0.05, 0.95) * calm.took for _ in range(arguments.fills)]
    attempts: dict[str, Callable[[Path], tuple[str, str]]] = {}
    for number, row in enumerate(moments[at : at + ROW] for at in range(0, len(moments), ROW)):
        attempts[f"killed in a row {number + 1}"] = lambda folder, row=row: in_a_row(calm, folder, row)
    for number, moment in enumerate(written):
        name = f"killed in a write {number + 1}, at {moment:.0f} s"
        attempts[name] = lambda folder, moment=moment: killed(calm, folder, moment)
    for number, moment in enumerate(fills):
        attempts[f"filled {number + 1}, at {moment:.0f} s"] = lambda folder, moment=moment: filled(calm, folder, moment)
    for section, largest in FULL:
        attempts[f"no large file, at {section}"] = lambda folder, section=section, largest=largest: full(
            calm, folder, section, largest
        )

    done = base / "well.txt"
    well = done.read_text().splitlines() if done.is_file() else []
    bad = 0
    for name, run in attempts.items():
        if name in well:
            continue
        folder = base / "attempt"
        if (folder / "disk").is_mount():  # this program was killed while it was filled
            subprocess.run(["umount", str(folder / "disk")], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        began = time.monotonic()
        hit, wrong = run(folder)
        bad += bool(wrong)
        print(f"{name}: {hit or 'finished'}: {wrong or 'well'}, {time.monotonic() - began:.0f} s", flush=True)
        if wrong:
            shutil.rmtree(base / f"wrong-{bad}", ignore_errors=True)
            folder.rename(base / f"wrong-{bad}")
        else:
            with done.open("a") as file:
                file.write(name + "\n")
    return bad


if __name__ == "__main__":
    main()
