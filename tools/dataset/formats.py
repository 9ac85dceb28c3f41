"""Which reader a file, a folder or a name is for."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from intents.core.errors import PipelineError
from tools.arguments import exists
from tools.dataset import folders, rasa, tabular
from tools.dataset.examples import Example, Options

Reader = Callable[[Path, Options], Iterator[Example]]
READERS: dict[str, Reader] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), tabular.read_csv),
    **dict.fromkeys((".jsonl", ".ndjson"), tabular.read_json_lines),
    ".json": tabular.read_json,
    ".parquet": tabular.read_parquet,
    **dict.fromkeys((".yml", ".yaml"), rasa.read_yaml),
    ".md": rasa.read_markdown,
}
GIVEN = re.compile(r"(train|validation|test)=(.+)", re.DOTALL)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def read(target: str, options: Options) -> Iterator[Example]:
    """The examples of a file, a folder or a data set on the Hub; `train=FILE` says which split all of it is.

    Raises:
        PipelineError: it is not there, of no known format, or what its reader raises.
    """
    if (given := GIVEN.fullmatch(target)) and not exists(Path(target)):
        for example in read(given[2], options):
            yield example._replace(split=given[1])
        return
    path = Path(target)
    if (there := exists(path)) and path.is_dir():
        yield from _folder(path, options)
    elif there and path.is_file():
        if path.suffix.casefold() not in READERS:
            raise PipelineError(f"{path} ends in {path.suffix!r}; allowed: {', '.join(READERS)}")
        yield from READERS[path.suffix.casefold()](path, options)
    elif HUB_ID.fullmatch(target) and path.suffix.casefold() not in READERS:
        yield from tabular.read_hub(target, options)
    else:
        raise PipelineError(f"{target} is no file and no folder here")


def _folder(folder: Path, options: Options) -> Iterator[Example]:
    if folders.is_dialogflow(folder):
        yield from folders.read_dialogflow(folder, options)
        return
    found = folders.sequences(folder)
    for inner in found:
        yield from folders.read_sequences(inner, options)
    files = [path for path in sorted(folder.iterdir()) if path.suffix.casefold() in READERS and path.is_file()]
    if not found and not files:
        folders.none_known(folder)
    for path in [] if found else files:
        reader = READERS[path.suffix.casefold()]
        if reader in (rasa.read_yaml, rasa.read_markdown) and not rasa.is_training_data(path, options.encoding):
            options.notes.append(f"{path} passed over, it holds no intents")
            continue
        yield from reader(path, options)
