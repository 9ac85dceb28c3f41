"""Rasa's training data: YAML, and the older Markdown. What holds no query is passed over, and said."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from intents.core.errors import PipelineError
from tools.dataset.examples import Example, Options, read_text, split_named

# [paris](city), [paris](city:Paris), [paris]{"entity": "city"}, [paris][{"entity": "city"}, {...}]
MARK = re.compile(r"\[([^\]\n]+)\](?:\([^)\n]*\)|\{[^}\n]*\}|\[\s*\{[^\]\n]*\}\s*\])")
HEADING = re.compile(r"##\s*(intent|synonym|regex|lookup)\s*:\s*(.*)")
PASSED_OVER = ("synonym", "regex", "lookup")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def without_marks(text: str) -> str:
    """A query without the marks of its entities: their text stays."""
    return MARK.sub(r"\1", text)


def domain_of(intent: str) -> str | None:
    """Of a retrieval intent such as faq/opening_hours, the group."""
    group, slash, _ = intent.partition("/")
    return group if slash else None


def is_training_data(path: Path, encoding: str | None) -> bool:
    """Whether a file of a folder has queries: stories, rules and the domain lie beside them."""
    pattern = HEADING.pattern if path.suffix == ".md" else r"nlu\s*:"
    return re.search(rf"^{pattern}", read_text(path, encoding), re.MULTILINE) is not None


def read_markdown(path: Path, options: Options) -> Iterator[Example]:
    """`## intent:NAME`, then a `- query` a line."""
    kind = intent = ""
    blocks: Counter[str] = Counter()
    comment = False
    for number, line in enumerate(read_text(path, options.encoding).split("\n"), 1):
        stripped = line.strip()
        if comment or stripped.startswith("<!--"):
            comment = "-->" not in stripped
        elif heading := HEADING.fullmatch(stripped):
            kind, intent = heading[1], heading[2].strip()
            blocks[kind] += 1
        elif stripped.startswith("#"):
            kind = ""
        elif kind == "intent" and stripped[:1] in "-*+" and stripped:
            text = without_marks(stripped[1:].strip())
            yield Example(text, intent, f"{path}:{number}", split_named(path.stem), domain_of(intent))
        elif kind == "intent" and stripped:
            raise PipelineError(
                f"{path}:{number} is {stripped[:40]!r}, below an intent; allowed: `- query`, or a heading"
            )
    if not blocks["intent"]:
        raise PipelineError(f"{path} has no heading `## intent:NAME`, so it is no training data of Rasa's")
    _tell(path, blocks, options)


def read_yaml(path: Path, options: Options) -> Iterator[Example]:
    """The section `nlu`: a list of intents, each with its examples, a `- query` a line."""
    text = read_text(path, options.encoding)
    try:
        root = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}," if mark else ""
        raise PipelineError(
            f"{path}{where} is not valid YAML: {getattr(error, 'problem', None) or 'bad character'}"
        ) from None
    sections = _mapping(root)
    if "nlu" not in sections:
        raise PipelineError(f"{path} has no section `nlu`, so it is no training data of Rasa's")
    blocks: Counter[str] = Counter()
    for item in _items(sections["nlu"], f"{path}: `nlu`"):
        block = _mapping(item)
        place = f"{path}:{item.start_mark.line + 1}"
        kind = next((name for name in ("intent", *PASSED_OVER) if name in block), None)
        if kind is None:
            raise PipelineError(f"{place} is no block; allowed: intent, {', '.join(PASSED_OVER)}")
        blocks[kind] += 1
        if kind != "intent":
            continue
        intent = _scalar(block["intent"], "intent", place)
        if "examples" not in block:
            raise PipelineError(f"{place}: intent {intent[:60]!r} has no examples")
        for query, line in _queries(block["examples"], path):
            yield Example(without_marks(query), intent, f"{path}:{line}", split_named(path.stem), domain_of(intent))
    _tell(path, blocks, options)


def _queries(node: Any, path: Path) -> Iterator[tuple[str, int]]:
    """The queries of an intent, each with its line: a text of lines `- query`, or a list of texts or {text: ...}."""
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        block = node.style in ("|", ">")
        for number, row in enumerate(node.value.split("\n"), line + 1 if block else line):
            stripped = row.strip()
            if not stripped or stripped.startswith("#"):
                continue
            if not stripped.startswith("-"):
                raise PipelineError(f"{path}:{number} is {stripped[:40]!r}; allowed: `- query`")
            yield stripped[1:].strip(), number
        return
    for item in _items(node, f"{path}:{line}: `examples`"):
        place = item.start_mark.line + 1
        inner = _mapping(item).get("text") if isinstance(item, yaml.MappingNode) else item
        if inner is None:
            raise PipelineError(f"{path}:{place} is an example without `text`")
        text = _scalar(inner, "text", f"{path}:{place}").strip()
        yield text.removeprefix("- "), place


def _mapping(node: Any) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _items(node: Any, what: str) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise PipelineError(f"{what} is no list")
    return node.value


def _scalar(node: Any, what: str, place: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise PipelineError(f"{place} has {what} that is no text")
    return node.value


def _tell(path: Path, blocks: Counter[str], options: Options) -> None:
    others = [f"{blocks[kind]} {kind}" for kind in PASSED_OVER if blocks[kind]]
    if others:
        options.notes.append(f"{path}: blocks passed over, they hold no queries: {', '.join(others)}")


def is_rasa_mark(text: str) -> bool:
    """Whether a text of a table still has marks of entities."""
    return MARK.search(text) is not None
