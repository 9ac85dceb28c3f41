"""The words that are nearest to each word in a model's word vectors: what can stand in for it in an augmented query.

A small student that starts from its teacher's word vectors has seen only the words of the training queries in use.
Words that a pretrained model holds to be alike, put in their place, show it what the teacher makes of the others. (Jiao
et al., "TinyBERT", 2020, section 3.3, replace words by their neighbours in GloVe, and by what BERT predicts.)
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

COMMON = 4000
NEAREST = 20
DECIMALS = 6  # of a cosine: differences below them are rounding, and must not decide which word comes first


def near_words(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    common: int = COMMON,
    nearest: int = NEAREST,
) -> dict[str, list[str]]:
    """{word: its nearest words, the nearest first}, by the cosine of their centred vectors.

    The words are those of ASCII letters, two or more, that are one piece of the vocabulary: the first `common` of it
    (BERT's vocabulary is sorted by frequency) and those that the texts hold.

    Args:
        texts: the training queries.
        nearest: how many words for each, if there are so many.
    """
    words = _words(tokenizer)
    kept = set(list(words)[:common]) | {word for text in texts for word in text.split() if word in words}
    names = [word for word in words if word in kept]
    if len(names) < 2:
        return {}
    table = model.get_input_embeddings().get_parameter("weight").detach().double().cpu().numpy()
    vectors = table[[words[name] for name in names]]
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
    cosines = np.round(vectors @ vectors.T, DECIMALS)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(nearest, len(names) - 1)]
    return {name: [names[place] for place in row] for name, row in zip(names, order, strict=True)}


def _words(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """{word: id of its piece}, in the order of the vocabulary."""
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words: dict[str, int] = {}
    for piece, number in pieces:
        word = tokenizer.convert_tokens_to_string([piece]).strip()
        if len(word) > 1 and word.isascii() and word.isalpha():
            words.setdefault(word, number)
    return words
