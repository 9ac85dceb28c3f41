"""dataset: labelled queries of your own become a data set that the pipeline runs on.

python -m tools.dataset nlu.yml --name bank
python -m tools.dataset train.csv test.csv --name bank --text utterance --intent category

FILE is CSV, TSV, JSON Lines, JSON (CLINC150's schema, objects, Rasa's), Parquet, Rasa's YAML or Markdown, a folder (a
Dialogflow export, seq.in and label, files of these kinds) or the id of a data set on the Hugging Face Hub. A file
whose name says train, valid or test is that split; train=FILE says so too. Missing splits are made.

Out: data/own/NAME/ (data.json and domains.json, yours to commit) and conf/dataset/NAME.yaml. What was found is printed,
with file and line.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from intents.core.errors import Parser, PipelineError, run_program
from intents.data.corpus import OUT_OF_SCOPE, SPLITS
from tools.arguments import number
from tools.dataset import findings, formats, splits, writing
from tools.dataset.examples import Example, Options
from tools.dataset.findings import Findings
from tools.dataset.rasa import without_marks

SHARE = number(float, 0, 0.4, above=True)


def arguments() -> argparse.Namespace:
    parser = Parser("tools.dataset", __doc__)
    parser.add_argument("file", nargs="+", metavar="FILE")
    parser.add_argument("--name", required=True, help="of the data set: letters, digits, - and _")
    columns = parser.add_argument_group("tables")
    columns.add_argument("--text", metavar="COLUMN", help="the column of the text, by name or number")
    columns.add_argument("--intent", metavar="COLUMN", help="that of the intent; several, with commas, are joined")
    columns.add_argument("--domain", metavar="COLUMN", help="that of the intent's domain, if there is one")
    columns.add_argument("--split", metavar="COLUMN", help="that of the split")
    columns.add_argument("--delimiter", help="between columns (default: the commonest of , ; tab | in the first line)")
    columns.add_argument("--no-header", dest="header", action="store_false", help="the first line is a row")
    parser.add_argument("--encoding", help="of the files (default: UTF-8, or what their first bytes tell)")
    parser.add_argument("--language", help="of a Dialogflow export that has several")
    parser.add_argument("--config", help="of a data set on the Hub")
    parser.add_argument("--revision", help="of a data set on the Hub")
    parser.add_argument(
        "--entity-marks", action="store_true", help="remove marks such as [paris](city) from tables too"
    )
    parser.add_argument("--retrieval", choices=["full", "base"], default="full", help="base: faq/hours becomes faq")
    parser.add_argument(
        "--out-of-scope", metavar="INTENT", help="what means out of scope; '' for none (default: by name)"
    )
    parser.add_argument("--validation", type=SHARE, default=0.15, help="share of it, where it is missing (0.15)")
    parser.add_argument("--test", type=SHARE, default=0.15, help="share of it, where it is missing (0.15)")
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0, help="of the splits that are made (0)")
    parser.add_argument("--show", type=number(int, 0, 10**6), default=10, help="lines of each kind of finding (10)")
    return parser.parse_args()


def show(found: splits.Splits, seen: Findings, notes: Sequence[str], most: int) -> None:
    """Print sizes, the smallest intents, and what was found."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    table = Table("split", "rows", "in scope", "out of scope", "intents")
    for split in SPLITS:
        rows = found[split]
        outside = sum(one.intent == OUT_OF_SCOPE for one in rows)
        intents = {one.intent for one in rows} - {OUT_OF_SCOPE}
        table.add_row(split, *(str(number) for number in (len(rows), len(rows) - outside, outside, len(intents))))
    console.print(table)
    sizes = Counter(one.intent for rows in found.values() for one in rows if one.intent != OUT_OF_SCOPE)
    few = sorted(sizes.items(), key=lambda item: (item[1], item[0]))[:5]
    console.print(f"{len(sizes)} intents; the smallest: {', '.join(f'{name} ({count})' for name, count in few)}")
    if not any(one.intent == OUT_OF_SCOPE for one in found["validation"]):
        console.print(
            "validation has no out-of-scope rows: a threshold is then a quantile of its scores (out_of_scope.quantile)"
        )
    for note in notes:
        console.print(note)
    for kind, lines in seen.kinds.items():
        console.print(f"\n{kind}: {len(lines)}")
        for line in lines[:most]:
            console.print(f"  {line}")
        if len(lines) > most:
            console.print(f"  ... and {len(lines) - most} more (--show {len(lines)})")


def prepared(asked: argparse.Namespace, options: Options, seen: Findings) -> list[Example]:
    """The rows of all files, ready to be put into splits."""
    examples = findings.cleaned([one for target in asked.file for one in formats.read(target, options)], seen)
    if asked.entity_marks:
        examples = [one._replace(text=without_marks(one.text)) for one in examples]
    if asked.retrieval == "base":
        examples = [one._replace(intent=one.intent.partition("/")[0]) for one in examples]
    examples = findings.in_scope_or_not(examples, asked.out_of_scope, seen)
    findings.check_intents(examples, seen)
    findings.check_texts(examples, seen)
    return examples


def main() -> None:
    asked = arguments()
    writing.check_name(asked.name)
    names = ("text", "intent", "domain", "split", "delimiter", "encoding", "header", "language", "config", "revision")
    options, seen = Options(**{name: getattr(asked, name) for name in names}), Findings()
    if options.delimiter is not None and len(options.delimiter) != 1:
        raise PipelineError(f"--delimiter is {options.delimiter!r}; allowed: one character")
    examples = prepared(asked, options, seen)
    found = splits.make(examples, {"validation": asked.validation, "test": asked.test}, asked.seed)
    findings.check_splits(found, seen)
    written = writing.write(asked.name, found, asked.file)
    show(found, seen, options.notes, asked.show)
    print(f"\nwrote {written.folder}/ and {written.option}; commit both, then: dvc exp run -S dataset={asked.name}")


if __name__ == "__main__":
    run_program(main)
