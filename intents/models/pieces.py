"""Vectors of a vocabulary's pieces, which say what they are like: as the encoder looks them up, and as it reads them.

The embedding table knows a piece by itself; what the encoder makes of it, as a query of this piece alone, knows what
the model has learnt to answer. (Tulkens and van Dongen, "Model2Vec", 2024, make static embeddings of such outputs.)
"""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

AT_ONCE = 512


def looked_up(model: PreTrainedModel) -> torch.Tensor:
    """The embedding table, (pieces, its width); a copy."""
    return model.get_input_embeddings().get_parameter("weight").detach().clone()


@torch.inference_mode()
def as_read(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The mean over the encoder's last vectors for each piece between the special tokens, (pieces, hidden size)."""
    encoder = model.base_model.eval()
    rows = model.get_input_embeddings().get_parameter("weight").shape[0]
    first, *last = tokenizer("")["input_ids"]  # the special tokens
    found = []
    for start in range(0, rows, AT_ONCE):
        ids = torch.tensor([[first, piece, *last] for piece in range(start, min(start + AT_ONCE, rows))])
        found.append(encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(dim=1))
    return torch.cat(found).float()


def directions(tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """For each piece its vectors in the tables, (pieces, width) each, centred, of length 1 and side by side."""
    centred = [table - table.mean(dim=0) for table in tables]
    return functional.normalize(torch.cat([functional.normalize(table) for table in centred], dim=1))
