"""A narrow student: a standard BERT classifier of any shape, which starts from its teacher's word vectors alone.

Layers of another width cannot be taken over from a teacher, but its word vectors can: their principal components keep
most of what tells words apart, and the student need not learn from a few thousand queries which words are alike. Half
of the width is for the vectors that the teacher looks up, half for what it makes of each word (pieces.py).

The matrices of its layers are drawn with a standard deviation of 1/√inputs, which keeps the size of what goes through
them (LeCun et al., "Efficient BackProp", 1998, section 4.6). BERT's own 0.02 fits widths of 768 and a long pretraining:
at a width of 256, the first token hears nearly nothing of the others when training begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from intents.core.errors import PipelineError


def principal_components(table: torch.Tensor, size: int) -> torch.Tensor:
    """Vectors (pieces, width) in their first `size` principal components, (pieces, size); their mean is taken off.

    Raises:
        PipelineError: there are fewer components than that.
    """
    if not 1 <= size <= min(table.shape):
        raise PipelineError(
            f"{size} components of {table.shape[0]} word vectors of width {table.shape[1]} were asked for; "
            f"allowed: 1 to {min(table.shape)}"
        )
    centred = table.detach().double() - table.detach().double().mean(dim=0)
    _, axes = torch.linalg.eigh(
        centred.T @ centred
    )  # by increasing variance; as many as the width, however many pieces
    axes = axes.flip(dims=(1,))[:, :size]
    # The direction of an axis is arbitrary; a fixed choice makes the student the same on every machine.
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    return (centred @ axes).to(table.dtype)


def word_vectors(tables: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    """Vectors to start from, (pieces, size): principal components of each table, (pieces, width), side by side.

    The tables have equal shares of the size. Their components are scaled to the spread of the first table's.
    """
    share, rest = divmod(size, len(tables))
    parts = [principal_components(table, share + (place < rest)) for place, table in enumerate(tables)]
    spread = parts[0].square().mean().sqrt()
    return torch.cat([part * (spread / part.square().mean().sqrt()) for part in parts], dim=1)


def narrow(
    labels: Mapping[int, str],
    *,
    hidden: int,
    layers: int,
    heads: int,
    feed_forward: int,
    words: torch.Tensor,
    padding: int = 0,
    positions: int = 64,
    dropout: float = 0.1,
    attention: str = "eager",
) -> BertForSequenceClassification:
    """A BERT classifier of the given shape, to be trained.

    All but its word vectors is drawn from torch's generator: seed it.

    Args:
        labels: the intents by their number.
        hidden: size of the token vectors, a multiple of `heads`.
        layers, heads, feed_forward: of the encoder.
        words: word vectors to start from, (pieces, hidden).
        padding: the piece that fills up a batch.
        positions: the longest query, in tokens.
        dropout: share of the activations that training drops.
        attention: sdpa or eager; on one core and short queries, eager trains a tenth faster.

    Raises:
        PipelineError: the hidden size is no multiple of the heads.
    """
    if hidden % heads:
        raise PipelineError(f"a hidden size of {hidden} is no multiple of {heads} heads; allowed: equal parts")
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=padding,
        id2label=dict(labels),
        label2id={name: label for label, name in labels.items()},
    )
    student: Any = BertForSequenceClassification._from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)
        student.get_input_embeddings().weight.copy_(words)
    return student.train()  # type: ignore[no-any-return]
