"""A BERT classifier's last layer, computed for the first token alone: the only one that the classifier reads.

Keys and values come from all tokens; queries, the attention's output and the feed-forward layer are needed for one. The
logits and the gradients are the same; a training step of a student of one layer takes little more than half as long.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import BertForSequenceClassification
from transformers.models.bert.modeling_bert import BertLayer


class FirstTokenLayer(nn.Module):
    """A `BertLayer` from (batch, sequence, hidden) to (batch, 1, hidden); it takes over the parts of that layer."""

    def __init__(self, layer: BertLayer) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> torch.Tensor:
        """The first token's states after the layer, (batch, 1, hidden).

        Args:
            hidden_states: (batch, sequence, hidden).
            attention_mask: as transformers hands it to its layers, (batch, 1, 1 or sequence, sequence): added to the
                scores, or booleans, True for what is seen.
        """
        part: Any = self.attention.self
        first = hidden_states[:, :1]

        def split(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (part.num_attention_heads, part.attention_head_size)).transpose(1, 2)

        attended = functional.scaled_dot_product_attention(
            split(part.query(first)),
            split(part.key(hidden_states)),
            split(part.value(hidden_states)),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=part.dropout.p if self.training else 0.0,
        )
        states = self.attention.output(attended.transpose(1, 2).flatten(2), first)
        return self.output(self.intermediate(states), states)


def read_first_token(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """The same model, its last layer a `FirstTokenLayer`, in place; saved, it is a plain BERT classifier again.

    Its hidden states and attentions are no longer to be asked for.
    """
    layers: Any = model.bert.encoder.layer
    if isinstance(layers[-1], BertLayer):
        layers[-1] = FirstTokenLayer(layers[-1]).train(layers[-1].training)
    return model
