"""A WordPiece vocabulary cut down to what a set of queries needs, and the rows of the embedding table that go with it.

Pieces that are rare in the queries are spelt with shorter ones instead, down to single characters: nothing that can be
typed in ASCII becomes [UNK]. A model trained with the smaller tokenizer learns to read these spellings; one that was
trained before does not know them. (Abdaoui et al., "Load What You Need", 2020, cut a vocabulary to the pieces seen;
Gee et al., "Fast Vocabulary Transfer", 2022, retrain after it.)
"""

import json
from collections import Counter
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from intents.core.errors import PipelineError

WORDPIECE = "WordPiece"  # the type of vocabulary that can be cut
ASCII = [chr(code) for code in range(33, 127)]  # printable, and no space


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
    words = sorted(
        place for piece, place in vocabulary.items() if piece.isascii() and piece.isalpha() and len(piece) > 1
    )
    return sorted(kept | set(words[:common]))


def cut_tokenizer(tokenizer: PreTrainedTokenizerFast, kept: Sequence[int]) -> PreTrainedTokenizerFast:
    """The same tokenizer with those pieces alone; piece kept[i] gets the id i.

    Words are then split greedily, longest piece first, over what is left, as WordPiece always does; a word all of whose
    pieces were kept keeps its pieces wherever no longer piece was dropped.

    Raises:
        PipelineError: the tokenizer is no WordPiece tokenizer, or a special token is not kept.
    """
    if missing := sorted(set(tokenizer.all_special_ids) - set(kept)):
        raise PipelineError(f"the pieces to keep lack the special token {tokenizer.convert_ids_to_tokens(missing[0])}")
    _wordpiece(tokenizer)
    old = tokenizer.convert_ids_to_tokens(list(kept))
    new_ids = {piece: place for place, piece in enumerate(old)}
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["model"]["vocab"] = new_ids
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
    names = {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return type(tokenizer)(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), model_max_length=tokenizer.model_max_length, **names
    )


def cut_rows(table: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """The rows of an embedding table (pieces, hidden) for the cut tokenizer, (len(kept), hidden); a copy."""
    return table.detach()[torch.as_tensor(list(kept))].clone()


def kind(tokenizer: PreTrainedTokenizerFast) -> str:
    """The type of a tokenizer's vocabulary: WordPiece, which can be cut, BPE or Unigram."""
    return str(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"])


def _wordpiece(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    if (found := kind(tokenizer)) != WORDPIECE:
        raise PipelineError(f"a vocabulary of type {found} cannot be cut; allowed: {WORDPIECE}, or `vocabulary` null")
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]  # type: ignore[no-any-return]
