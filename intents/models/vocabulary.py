"""A WordPiece vocabulary cut down to what a set of queries needs, and the rows of the embedding table that go with it.

A piece that is not kept is either read as the kept piece that is nearest to it (it has that piece's id, so the table
needs no row for it), or spelt with shorter pieces, down to single characters: nothing that can be typed in ASCII
becomes [UNK]. A model trained with the smaller tokenizer learns to read its pieces; one that was trained before does
not know them. (Abdaoui et al., "Load What You Need", 2020, cut a vocabulary to the pieces seen; Gee et al., "Fast
Vocabulary Transfer", 2022, retrain after it. Rows that several pieces share are the weight sharing of Han et al., "Deep
Compression", 2016, section 3, by whole rows.)
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.models import checkpoints

TOKENIZER = "tokenizer.json"
WORDPIECE = "WordPiece"  # the type of vocabulary that can be cut
ASCII = [chr(code) for code in range(33, 127)]  # printable, and no space
AT_ONCE = 2000  # pieces whose cosines with all kept ones are held at a time
DECIMALS = 5  # of a cosine


def needed(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], at_least: int = 1, common: int = 0) -> list[int]:
    """The ids of the pieces to keep, in increasing order.

    They are the special tokens, each printable ASCII character that the vocabulary has, alone and as the continuation
    of a word, each piece that `texts` hold at least so often, and common words. A word that training never saw is not
    learnt, but its vector says which words it is like; its letters do not.

    Args:
        texts: the training queries.
        at_least: how often they hold a piece that is kept.
        common: how many words of ASCII letters to keep from the beginning of the vocabulary, seen or not. BERT's
            vocabulary is sorted by frequency.

    Raises:
        PipelineError: the tokenizer is no WordPiece tokenizer.
    """
    prefix = _wordpiece(tokenizer)["continuing_subword_prefix"]
    counts = Counter(piece for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"] for piece in ids)
    vocabulary = tokenizer.get_vocab()
    kept = {piece for piece, count in counts.items() if count >= at_least} | set(tokenizer.all_special_ids)
    kept |= {vocabulary[form] for sign in ASCII for form in (sign, prefix + sign) if form in vocabulary}
    words = sorted(place for piece, place in vocabulary.items() if _letters(piece))
    return sorted(kept | set(words[:common]))


def nearest(tokenizer: PreTrainedTokenizerFast, vectors: torch.Tensor, kept: Sequence[int]) -> dict[str, int]:
    """{piece: i}: pieces that are not kept, each with the place in `kept` of the kept piece that is nearest to it.

    They are the pieces of two ASCII letters or more. The beginning of a word goes to such a beginning, and its
    continuation to a continuation.

    Args:
        vectors: of all pieces, (pieces, width); the cosine of two says how near they are.

    Raises:
        PipelineError: the tokenizer is no WordPiece tokenizer.
    """
    prefix = _wordpiece(tokenizer)["continuing_subword_prefix"]
    places = {number: place for place, number in enumerate(kept)}
    found: dict[str, int] = {}
    for before in ("", prefix):
        all_of_kind = {
            number: piece
            for piece, number in tokenizer.get_vocab().items()
            if piece.startswith(before) and _letters(piece.removeprefix(before))
        }
        stay = sorted(set(all_of_kind) & set(places))
        others = sorted(set(all_of_kind) - set(places))
        if not stay:
            continue
        for start in range(0, len(others), AT_ONCE):
            some = others[start : start + AT_ONCE]
            # Rounded: differences below it are the processor's, and must not decide.
            cosines = (vectors[some] @ vectors[stay].T).round(decimals=DECIMALS)
            for number, best in zip(some, cosines.argmax(dim=1).tolist(), strict=True):
                found[all_of_kind[number]] = places[stay[best]]
    return found


def cut_tokenizer(
    tokenizer: PreTrainedTokenizerFast, kept: Sequence[int], others: Mapping[str, int] | None = None
) -> PreTrainedTokenizerFast:
    """The same tokenizer with those pieces alone; piece kept[i] gets the id i.

    Words are then split greedily, longest piece first, over what is left, as WordPiece always does; a word all of whose
    pieces were kept keeps its pieces wherever no longer piece was dropped.

    Args:
        others: {piece: id}, further pieces, which share the ids of kept ones (`nearest`).

    Raises:
        PipelineError: the tokenizer is no WordPiece tokenizer, or a special token is not kept.
    """
    if missing := sorted(set(tokenizer.all_special_ids) - set(kept)):
        raise PipelineError(f"the pieces to keep lack the special token {tokenizer.convert_ids_to_tokens(missing[0])}")
    _wordpiece(tokenizer)
    old = tokenizer.convert_ids_to_tokens(list(kept))
    new_ids = {piece: place for place, piece in enumerate(old)}
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["model"]["vocab"] = new_ids | dict(others or {})
    for added in state["added_tokens"]:
        added["id"] = new_ids[added["content"]]
    for special in (state["post_processor"] or {}).get("special_tokens", {}).values():  # of a TemplateProcessing
        special["ids"] = [new_ids[piece] for piece in special["tokens"]]
    for end in ("sep", "cls"):  # of a BertProcessing
        if end in (state["post_processor"] or {}):
            content = state["post_processor"][end][0]
            state["post_processor"][end] = [content, new_ids[content]]
    if state["padding"]:
        state["padding"]["pad_id"] = new_ids[state["padding"]["pad_token"]]
    with tempfile.TemporaryDirectory() as scratch:
        # From a file: `tokenizers` keeps all pieces of one that it reads, and one for each id when it copies itself.
        tokenizer.save_pretrained(scratch)
        (Path(scratch) / TOKENIZER).write_text(json.dumps(state), encoding="utf-8")
        return checkpoints.load_tokenizer(Path(scratch), tokenizer.model_max_length)


def cut_rows(table: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """The rows of an embedding table (pieces, hidden) for the cut tokenizer, (len(kept), hidden); a copy."""
    return table.detach()[torch.as_tensor(list(kept))].clone()


def write_all(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Put the pieces that share an id with others into a saved tokenizer.json: `tokenizers` writes one for each id."""
    pieces = tokenizer.get_vocab()
    if len(set(pieces.values())) == len(pieces):
        return
    file = folder / TOKENIZER
    state = json.loads(file.read_text(encoding="utf-8"))
    state["model"]["vocab"] = dict(sorted(pieces.items(), key=lambda item: (item[1], item[0])))
    file.write_text(json.dumps(state, ensure_ascii=False, indent=2), encoding="utf-8")


def kind(tokenizer: PreTrainedTokenizerFast) -> str:
    """The type of a tokenizer's vocabulary: WordPiece, which can be cut, BPE or Unigram."""
    return str(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"])


def _wordpiece(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    if (found := kind(tokenizer)) != WORDPIECE:
        raise PipelineError(f"a vocabulary of type {found} cannot be cut; allowed: {WORDPIECE}, or `vocabulary` null")
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]  # type: ignore[no-any-return]


def _letters(piece: str) -> bool:
    return len(piece) > 1 and piece.isascii() and piece.isalpha()
