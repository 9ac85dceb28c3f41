"""The canonical file, its domains, and the option of conf/dataset/ that names both with their digests."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from yaml import safe_dump, safe_load

from intents.core import files, paths
from intents.core.errors import PipelineError
from intents.data import corpus, sources
from intents.data.corpus import OUT_OF_SCOPE, SPLITS, Row
from tools.dataset.splits import Splits

OWN = paths.DATA / "own"
CONF = Path("conf/dataset")
DATA, DOMAINS = "data.json", "domains.json"
MADE = "# Written by `python -m tools.dataset`"


class Written(NamedTuple):
    folder: Path
    option: Path


def check_name(name: str) -> None:
    """Raise a PipelineError unless a data set of your own can have this name."""
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or not isinstance(safe_load(name), str):
        raise PipelineError(f"--name is {name!r}; allowed: a letter, then letters, digits, - or _")
    option = CONF / f"{name}.yaml"
    if option.exists() and not option.read_text(encoding="utf-8").startswith(MADE):
        raise PipelineError(f"--name is {name!r}, but {option} is there already and not of your own; give another name")
    if not CONF.is_dir():
        raise PipelineError(f"{CONF} not found in {Path.cwd()}; run from the project's root")


def domains_of(splits: Splits, name: str) -> dict[str, list[str]]:
    """{domain: [intent, ...]}: what a row says first; else what the domains file says that is there; else one."""
    kept: dict[str, str] = {}
    path = OWN / name / DOMAINS
    if path.is_file():
        there = files.read_json(path, "python -m tools.dataset")
        kept = {intent: domain for domain, intents in there.items() for intent in intents}
    rows = [one for split in SPLITS for one in splits[split] if one.intent != OUT_OF_SCOPE]
    found = {one.intent: kept.get(one.intent, name) for one in rows}
    found |= {one.intent: one.domain for one in reversed(rows) if one.domain}
    domains: dict[str, list[str]] = {}
    for intent, domain in sorted(found.items()):
        domains.setdefault(domain, []).append(intent)
    return dict(sorted(domains.items()))


def write(name: str, splits: Splits, origins: Sequence[str]) -> Written:
    """data/own/NAME/ and conf/dataset/NAME.yaml."""
    rows = {split: corpus.canonical([Row(one.text, one.intent) for one in splits[split]]) for split in SPLITS}
    text = published(rows)
    assert {split: corpus.canonical(of) for split, of in sources.parse(text.encode(), DATA).items()} == rows
    folder = OWN / name
    domains = domains_of(splits, name)
    files.write_text(folder / DATA, text)  # file by file: what else lies in the folder is not ours
    files.write_json(folder / DOMAINS, domains)
    option = CONF / f"{name}.yaml"
    settings = {
        "config": "local",
        "file": (folder / DATA).as_posix(),
        "file_sha256": files.sha256(text.encode()),
        "rows_sha256": corpus.digest(rows),
        "domains": (folder / DOMAINS).as_posix(),
        "watched": folder.as_posix(),
        "hub_dataset": None,
        "hub_revision": None,
        "upstream_url": None,
    }
    came = " ".join(" ".join(origins).split())
    counts = f"{sum(map(len, domains.values()))} intents, {sum(map(len, rows.values()))} rows"
    files.write_text(option, f"{MADE} from {came}\n# {counts}\n{safe_dump(settings, sort_keys=False)}")
    return Written(folder, option)


def published(rows: dict[str, list[Row]]) -> str:
    """The rows in CLINC150's schema, a row a line: edits are then seen line by line."""
    parts = []
    for ours, theirs in sources.UPSTREAM_SPLITS.items():
        for key, outside in ((theirs, False), (f"{OUT_OF_SCOPE}_{theirs}", True)):
            of = [
                json.dumps(list(row), ensure_ascii=False)
                for row in rows[ours]
                if (row.intent == OUT_OF_SCOPE) is outside
            ]
            parts.append(f'  "{key}": [' + ("\n    " + ",\n    ".join(of) + "\n  " if of else "") + "]")
    return "{\n" + ",\n".join(parts) + "\n}\n"
