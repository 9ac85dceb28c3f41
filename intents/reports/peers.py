"""The table of peers: what other tools make of the same data."""

from intents.reports import tables
from intents.reports.markdown import percent, table


def beside(variants: tables.Rows, deployed: str) -> str:
    """Each peer beside the deployed variant, and in what it is better.

    Returns:
        Nothing where there is no peer.
    """
    ours = variants[deployed]
    rows = []
    for name, row in variants.items():
        if tables.is_peer(name):
            better = {
                "accuracy": row["accuracy_with_rule"] > ours["accuracy_with_rule"],
                "size": row["size_mb"] < ours["size_mb"],
                "latency": row["p50_ms"] < ours["p50_ms"],
                "throughput": row["queries_per_second"] > ours["queries_per_second"],
            }
            rows.append(
                [
                    name,
                    percent(row["accuracy_with_rule"]),
                    percent(row["oos_recall_with_rule"]),
                    f"{row['size_mb']:.1f}",
                    f"{row['p50_ms']:.2f}",
                    f"{row['queries_per_second']:,.0f}",
                    ", ".join(measure for measure, found in better.items() if found) or "nothing",
                ]
            )
    header = ["peer", "test, rule", "out of scope recalled, rule", "MiB", "median ms", "queries per second"]
    return table([*header, f"better than {deployed} in"], rows) if rows else ""
