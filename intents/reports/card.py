"""The model card of what is deployed, with the front matter that the Hugging Face Hub reads, and its notice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intents.core.variants import Variant
from intents.reports.markdown import TEMPLATES, render

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
APACHE = "apache-2.0"  # its section 4: whoever receives the work must receive the licence too
LOCAL = "local"  # the `dataset.config` of a data set of your own


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the card says of the training data: a part of the section `dataset`."""

    config: str
    hub_dataset: str | None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the card says of the checkpoint that the teacher starts from: a part of the section `teacher`."""

    checkpoint: str
    revision: str | None
    licence: str | None


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The graph in ONNX's own operators, and how it answers validation queries beside the one that is deployed."""

    size_mb: float
    queries: int
    changed: int  # answers by arg-max, one query at a time
    difference: float  # of a logit, the largest
    batch: int  # queries in a padded batch
    changed_in_batches: int


def pages(
    benchmark: Mapping[str, Any],
    variant: Variant,
    intents: int,
    rate: float | None,
    data: Data,
    origin: Origin,
    plain: Plain | None,
) -> dict[str, str]:
    """The texts of README.md and NOTICE, and of the checkpoint's licence where that asks to be passed on.

    Args:
        benchmark: the content of reports/benchmark.json.
        variant: the one that is deployed.
        intents: the number of intents in scope.
        rate: the share of out-of-scope queries that the rule is calibrated for; None: there were none.
        plain: None if the graph has no such form.
    """
    values = {
        "variant": variant,
        "row": benchmark["variants"][variant.name],
        "machine": benchmark["machine"],
        "batch_size": benchmark.get("batch_size"),  # none in a benchmark without batches
        "intents": intents,
        "rate": rate,
        "clinc": data.config != LOCAL,
        "data": data,
        "origin": origin,
        "plain": plain,
        "hub": HUB_ID.fullmatch(origin.checkpoint) is not None,
    }
    found = {"README.md": render("card.md.j2", **values), "NOTICE": render("notice.md.j2", **values)}
    if values["hub"] and origin.licence == APACHE:
        found["LICENSE-APACHE"] = (TEMPLATES / "apache-2.0.txt").read_text(encoding="utf-8")
    return found
