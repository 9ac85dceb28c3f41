"""accept: records as unchanged the stages whose code differs in comments, docstrings or layout alone.

DVC compares files by their bytes, so a corrected comment makes every stage that depends on the file run again. This
tool compares what the code does: for each dependency that changed, the syntax trees of the working files with those of
the version that the stage ran with, docstrings aside. Git has that version: it is the one with the digest that dvc.lock
records. If all of them are equal, dvc.lock takes the new digests (`dvc commit`); if anything else changed in any stage,
nothing is recorded.

python -m tools.accept    needs no models: what is missing stays as dvc.lock says
"""

import hashlib
import json
import subprocess
from collections.abc import Container, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from intents.core import source
from intents.core.errors import Parser, PipelineError, run_program
from tools import lock, safe_dvc

VERSIONS = 200  # of a path, newest first, among which the one that a stage ran with is looked for
STAGES_SHOWN = 3  # of those that a message is about


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise PipelineError(f"the code that the stages ran with comes from Git, and Git says: {reason}")
    return done.stdout


@cache
def content(blob: str) -> bytes:
    """A file's content, by its name in Git."""
    return git("cat-file", "blob", blob)


def versions(path: str) -> Iterator[dict[str, str]]:
    """What Git has of a file or folder, newest first: {file: blob}."""
    for commit in git("log", f"--max-count={VERSIONS}", "--format=%H", "--", path).decode().split():
        listed = git("ls-tree", "-r", "-z", commit, "--", path).decode()
        yield {name: kind.split()[2] for kind, name in (entry.split("\t", 1) for entry in listed.split("\0") if entry)}


def digest(path: str, files: Mapping[str, bytes]) -> str:
    """The digest that dvc.lock records of a file or, with .dir at its end, of a folder.

    Args:
        files: the content of each, by its path: `path` itself, or those below it.
    """
    digests = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in files.items()}
    if path in digests:
        return digests[path]
    entries = [{"md5": digests[name], "relpath": name.removeprefix(f"{path}/")} for name in files]
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return f"{hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()}.dir"


def recorded_version(path: str, recorded: str) -> dict[str, bytes] | None:
    """The files of the version whose digest is `recorded`; None if Git does not have it."""
    for version in versions(path):
        files = {name: content(blob) for name, blob in version.items()}
        if digest(path, files) == recorded:
            return files
    return None


def working(repo: Repo, path: str) -> dict[str, bytes]:
    """The files of the working tree, as DVC sees them: those that .dvcignore names are not among them."""
    root = Path(repo.root_dir)
    found = [root / path] if Path(path).is_file() else map(Path, repo.dvcignore.find(repo.fs, str(root / path)))
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in found}


def same(name: str, before: bytes, after: bytes) -> bool:
    """Whether two versions of a file do the same: Python by its syntax tree, all else by its bytes."""
    if before == after:
        return True
    if not name.endswith(".py"):
        return False
    try:
        return source.meaning(before.decode()) == source.meaning(after.decode())
    except (SyntaxError, ValueError):  # also what is no UTF-8
        return False


def obstacle(repo: Repo, path: str, recorded: str | None) -> str | None:
    """Why a stage cannot be recorded as unchanged, although this path changed; None if it can.

    Args:
        recorded: its digest in dvc.lock.
    """
    if path == lock.COMMAND:
        return "its command changed"
    if path.startswith(f"{lock.PARAMS} "):
        return f"{path} changed"
    before = recorded_version(path, recorded) if recorded else None
    if before is None:
        hint = "if it was accepted before and not committed, `git restore dvc.lock` first"
        return f"Git has no version of {path} with the digest in dvc.lock; {hint}"
    after = working(repo, path)
    if names := sorted(after.keys() - before.keys()):
        return f"{names[0]} is new"
    if names := sorted(before.keys() - after.keys()):
        return f"{names[0]} is gone"
    if names := [name for name in sorted(after) if not same(name, before[name], after[name])]:
        return f"{names[0]} changed in more than comments, docstrings and layout"
    return None


def judged(repo: Repo, changed: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """{obstacle: the stages that it keeps from being recorded}; empty if all changes are of words alone."""
    obstacles: dict[str, list[str]] = {}
    obstacle_of = cache(partial(obstacle, repo))  # most stages depend on the same packages
    for stage in repo.index.stages:
        recorded = {str(entry): entry.hash_info.value for entry in (*stage.deps, *stage.outs)}
        for path in changed.get(stage.addressing, []):
            if reason := obstacle_of(path, recorded.get(path)):
                obstacles.setdefault(reason, []).append(stage.addressing)
    return obstacles


def record(repo: Repo, names: Container[str]) -> None:
    """Give dvc.lock the digests that the stages' dependencies have now, and the run-cache an entry for them.

    What `dvc commit` does, which stops at a model that is missing; here it stays as dvc.lock has it.
    """
    with repo.lock, safe_dvc.installed():
        stages = [stage for stage in repo.index.stages if stage.addressing in names]
        for stage in stages:
            complete = all(entry.exists for entry in (*stage.deps, *stage.outs))
            stage.save(allow_missing=True, run_cache=complete)
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def shown(stages: list[str]) -> str:
    """The first of some stages, and how many more there are."""
    more = len(stages) - STAGES_SHOWN
    return ", ".join(stages[:STAGES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def main() -> None:
    Parser("tools.accept", __doc__).parse_args()
    if not Path("dvc.yaml").is_file():
        raise PipelineError(f"dvc.yaml not found in {Path.cwd()}; run from the project's root")
    lock.quiet()
    try:
        with Repo() as repo:
            changed = lock.changed(repo)
            if not changed:
                print("nothing to record: every stage is what dvc.lock says")
                return
            if obstacles := judged(repo, changed):
                reasons = "; ".join(f"{shown(stages)}: {reason}" for reason, stages in obstacles.items())
                raise PipelineError(f"nothing recorded, `make repro` is needed ({reasons})")
            record(repo, changed)
    except DvcException as error:
        raise PipelineError(f"nothing recorded: {lock.one_line(error)}") from None
    paths = ", ".join(sorted({path for reasons in changed.values() for path in reasons}))
    print(f"recorded in dvc.lock as unchanged: {shown(list(changed))}; commit it with the code ({paths})")


if __name__ == "__main__":
    run_program(main)
