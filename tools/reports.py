"""What one revision says of itself: its parameters, and the reports that are committed with them."""

import io
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from intents.core import paths, reading
from intents.core.errors import PipelineError
from intents.core.settings import PARAMS
from tools import params

ROWS = "dataset.rows_sha256"  # which queries the reports are of
COMPARED = ("accuracy_with_rule", "size_mb", "p50_ms", "speedup_vs_teacher")


@dataclass(frozen=True)
class Reports:
    """What one revision says of itself."""

    params: dict[str, Any]  # leaves: {"distill.alpha": 0.2, ...}
    benchmark: dict[str, Any]
    correct: pd.DataFrame  # a row per test query: its intent, and per variant 1 where the answer with the rule is right
    timings: pd.DataFrame  # measure, variant, call, test_row, ms

    @classmethod
    def at(cls, revision: str | None) -> "Reports":
        """The reports committed at a revision; None for those in the working tree."""
        return cls(
            _params(revision),
            reading.table(_read(paths.BENCHMARK, revision), paths.BENCHMARK, "make repro", COMPARED),
            _table(paths.CORRECT, revision, "test_row").set_index("test_row"),
            _table(paths.TIMINGS, revision, "measure", "variant", "ms"),
        )

    @property
    def variants(self) -> Mapping[str, Mapping[str, Any]]:
        return self.benchmark["variants"]

    def real_ms(self, variant: str) -> np.ndarray:
        """The times of the real queries, in milliseconds, (queries,)."""
        rows = self.timings[(self.timings["measure"] == "real") & (self.timings["variant"] == variant)]
        return rows["ms"].to_numpy()


def _read(path: Path, revision: str | None) -> str:
    if revision is None:
        return reading.text(path, "make repro")
    shown = subprocess.run(["git", "show", f"{revision}:{path}"], capture_output=True, text=True, check=False)
    if shown.returncode:
        raise PipelineError(f"{path} at {revision}: {' '.join(shown.stderr.split())}")
    return shown.stdout


def _params(revision: str | None) -> dict[str, Any]:
    """The leaves of params.yaml."""
    try:
        found = params.leaves(OmegaConf.to_container(OmegaConf.create(_read(PARAMS, revision))))
    except (YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())[:160]
        raise PipelineError(f"{PARAMS} ({revision or 'here'}) is no YAML that can be read: {reason}") from None
    if ROWS not in found:
        raise PipelineError(f"{PARAMS} ({revision or 'here'}) has no `{ROWS}`; run `make params`")
    return found


def _table(path: Path, revision: str | None, *columns: str) -> pd.DataFrame:
    """A CSV that has these columns."""
    try:
        found = pd.read_csv(io.StringIO(_read(path, revision)))
    except ValueError as error:  # of which pandas' own are
        raise PipelineError(f"{path} ({revision or 'here'}) is no table ({error}); run `make repro`") from None
    if missing := [column for column in columns if column not in found]:
        raise PipelineError(f"{path} ({revision or 'here'}) has no column `{missing[0]}`; run `make repro`")
    return found
