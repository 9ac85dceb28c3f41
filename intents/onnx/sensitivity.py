"""What it costs, node by node, that a graph's weights are int8.

Each node is asked two questions: what does it cost if it alone is int8, and what is left of the whole cost if all but
it are. The first ranks the nodes; the second decides, since what counts is a graph that is int8 but for a few nodes.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm


def cost(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """What separates two arrays of logits (queries, labels): answers changed (0 to 1), mean and largest difference."""
    difference = np.abs(expected - found)
    return {
        "changed": float((expected.argmax(axis=1) != found.argmax(axis=1)).mean()),
        "mean_difference": float(difference.mean()),
        "max_difference": float(difference.max()),
    }


def rank(
    nodes: Sequence[str], expected: np.ndarray, logits: Callable[[Collection[str]], np.ndarray]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The nodes from the costliest to the cheapest, and the cost of all together.

    Args:
        nodes: names of at least two nodes with weights.
        expected: the float graph's logits, (queries, labels).
        logits: those of the graph with the given nodes in int8.

    Returns:
        A row per node, its name the index: the costs if it alone is int8, `spared_changed` and
        `spared_mean_difference` if all but it are, and `spares`, the share of the whole mean difference that goes away
        when it stays float (below 0 where its error happened to offset another's).
    """
    whole = cost(expected, logits(nodes))
    rows: dict[str, dict[str, float]] = {}
    for node in tqdm(nodes, desc="sensitivity", unit="node"):
        spared = cost(expected, logits([other for other in nodes if other != node]))
        rows[node] = cost(expected, logits([node])) | {
            "spared_changed": spared["changed"],
            "spared_mean_difference": spared["mean_difference"],
            "spares": 1 - spared["mean_difference"] / whole["mean_difference"] if whole["mean_difference"] else 0.0,
        }
    table = pd.DataFrame.from_dict(rows, "index").rename_axis("node")
    return table.sort_values("mean_difference", ascending=False, kind="stable"), whole


def summary(
    model: str, method: str, queries: int, table: pd.DataFrame, whole: dict[str, float], worth: float, allowed: float
) -> Any:
    """What the report says: the costs of all together, the nodes in order, and those worth keeping in float32.

    Args:
        worth: share of the whole mean difference that a node must spare to be worth it.
        allowed: the share of answers that may change with all nodes in int8.
    """
    return {
        "model": model,
        "method": method,
        "queries": queries,
        "all": whole,
        "allowed": allowed,
        "worth": worth,
        "ranking": list(table.index),
        "worth_excluding": {node: float(row["spares"]) for node, row in table.iterrows() if row["spares"] >= worth},
    }


def markdown(figures: Any, table: pd.DataFrame, rows: int = 8) -> str:
    """The verdict, and the costliest nodes as a table.

    Args:
        figures: those of `summary`.
    """
    whole, worth = figures["all"], figures["worth_excluding"]
    has_to = "Some nodes have" if whole["changed"] > figures["allowed"] else "No node has"
    named = ", ".join(f"`{node}` (spares {share:.0%})" for node, share in worth.items())
    shown = table.head(rows)
    lines = [
        f"With every node in int8 ({figures['method']}), {figures['model']} changes {whole['changed']:.2%} of "
        f"{figures['queries']:,} validation answers, and its logits by {whole['mean_difference']:.4f} on average. "
        f"{has_to} to stay in float32: up to {figures['allowed']:.0%} of the answers may change "
        f"(`ort_quantize.{figures['method']}.min_agreement`). Worth it would be a node that spares "
        f"{figures['worth']:.0%} of the mean logit difference (`sensitivity.worth`): {named or 'none does'}.",
        "",
        f"The {len(shown)} costliest of {len(table)} nodes:",
        "",
        "| node alone in int8 | answers changed | mean logit difference | largest | spared if it alone stays float32 |",
        "|---|---:|---:|---:|---:|",
    ]
    for node, row in shown.iterrows():
        lines.append(
            f"| `{node}` | {row['changed']:.2%} | {row['mean_difference']:.4f} | {row['max_difference']:.2f} "
            f"| {round(row['spares'], 2) + 0.0:.0%} |"  # + 0.0: no minus before a zero
        )
    return "\n".join(lines) + "\n"
