"""A sequence classifier that reads a pooled vector of its encoder, with a cosine or a linear head.

BERT's own classifier reads the first token through a dense layer and tanh. Sentence encoders such as all-MiniLM-L6-v2
and all-mpnet-base-v2 were trained on the mean over tokens instead (their 1_Pooling/config.json says so), and that layer
was never trained. This classifier reads what was.

The rows of a cosine head (intents/models/heads.py) can begin at the class means of the untrained encoder's vectors
(`class_means`), so that it is a nearest-mean classifier before the first step (Qi, Brown and Lowe, "Low-Shot Learning
with Imprinted Weights", 2018).

Importing this module makes AutoConfig and AutoModelForSequenceClassification know the model. Of this
project it needs the heads, and the check of what it reads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import SequenceClassifierOutput

from intents.models import reading
from intents.models.heads import CosineHead, FoldedHead, unit

HEAD_RATE = 5.0  # how much faster the head learns than the encoder


@strict
class PooledConfig(PreTrainedConfig):
    """The configuration of a `PooledClassifier`: that of its encoder, and how vectors become logits."""

    model_type = "pooled"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}  # noqa: RUF012

    encoder_config: dict[str, Any] | PreTrainedConfig | None = None
    pooling: Literal["mean", "cls"] = "mean"  # over the unmasked tokens, or the first token's vector
    head: Literal["cosine", "linear"] = "cosine"
    scale: float = 20.0  # of a cosine head when its training begins

    def _encoder(self) -> PreTrainedConfig:
        assert isinstance(self.encoder_config, PreTrainedConfig)
        return self.encoder_config

    # What code for plain BERT models asks a configuration for. Only the encoder's is saved.
    @property
    def hidden_size(self) -> int:
        return int(self._encoder().hidden_size)

    @property
    def num_hidden_layers(self) -> int:
        return int(self._encoder().num_hidden_layers)

    @num_hidden_layers.setter
    def num_hidden_layers(self, layers: int) -> None:
        self._encoder().num_hidden_layers = layers

    @property
    def num_attention_heads(self) -> int:
        return int(self._encoder().num_attention_heads)

    @property
    def max_position_embeddings(self) -> int:
        return int(self._encoder().max_position_embeddings)

    @property
    def vocab_size(self) -> int:
        return int(self._encoder().vocab_size)

    @vocab_size.setter
    def vocab_size(self, size: int) -> None:
        self._encoder().vocab_size = size


class PooledClassifier(PreTrainedModel):
    """An encoder of transformers, the mean over its tokens (or its first token's vector), and a head.

    The encoder is under `model`, so that its parts have the names they have in the encoder alone.
    """

    config_class = PooledConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        encoder, hidden, labels = config._encoder(), config.hidden_size, int(config.num_labels or 0)
        kind: Any = MODEL_MAPPING[type(encoder)]
        if not kind._supports_sdpa:  # MPNet adds its position bias to the scores
            encoder._attn_implementation = "eager"
        self.model = AutoModel.from_config(encoder)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # BERT's dense layer over the first token: not read here
        if config.head == "cosine":
            self.head: nn.Module = CosineHead(hidden, labels, config.scale)
        else:
            self.head = nn.Linear(hidden, labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, CosineHead):
            nn.init.normal_(module.weight, std=self.config.hidden_size**-0.5)
            nn.init.zeros_(module.bias)
            nn.init.constant_(module.scale, self.config.scale)
        else:
            super()._init_weights(module)

    @classmethod
    def from_encoder(cls, folder: Path | str, **settings: Any) -> "PooledClassifier":
        """A classifier on the pretrained encoder of a folder (config.json, model.safetensors), in float32.

        The head is drawn from torch's generator: seed it.

        Args:
            settings: of `PooledConfig`, such as pooling, head, num_labels, id2label, label2id.
        """
        options: Any = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
        encoder, found = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
        # Weights of another model give way to random ones, silently; a pooler is not read here.
        reading.check_loaded(encoder, Path(folder), {name for name in reading.lost(found) if "pooler." not in name})
        encoder.config._name_or_path = ""  # config.json would tell where this machine keeps the checkpoint
        attention = settings.pop("attn_implementation", "sdpa")
        config = PooledConfig(encoder_config=encoder.config, **settings)
        config._attn_implementation = attention
        model = cls(config)
        model.model.load_state_dict(encoder.state_dict(), strict=False)  # the pooler is left behind
        return model.eval()

    def folded(self) -> "PooledClassifier":
        """The same function, in place, with a cosine head's scale and normalization folded into its weights.

        For export and quantization; a folded model is not saved.
        """
        if isinstance(self.head, CosineHead):
            self.head = FoldedHead(self.head).train(self.training)
        return self

    def vectors(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The pooled vectors, (batch, hidden); arguments as in `forward`."""
        # BERT has token types; DistilBERT and MPNet have none.
        types = {"token_type_ids": token_type_ids} if hasattr(self.config.encoder_config, "type_vocab_size") else {}
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **types
        ).last_hidden_state
        if self.config.pooling == "cls":
            return states[:, 0]
        if attention_mask is None:
            return states.mean(dim=1)
        return mean_over_tokens(states, attention_mask)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels), and the mean cross-entropy where there are labels (batch,).

        Args:
            input_ids: (batch, sequence); or `inputs_embeds`, (batch, sequence, hidden).
            attention_mask: (batch, sequence), 1 for a token and 0 for padding; or, as it is added to the scores of
                attention, (batch, 1, 1, sequence) in floats, 0 for a token.
            token_type_ids: (batch, sequence), for encoders that have token types; zeros if None.
        """
        logits = self.head(self.vectors(input_ids, attention_mask, token_type_ids, inputs_embeds))
        loss = None if labels is None else functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def mean_over_tokens(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The mean of (batch, sequence, hidden) over the tokens that the mask keeps; it is as in `forward`."""
    kept = attention_mask[:, 0, 0] == 0 if attention_mask.dim() == 4 else attention_mask
    weights = kept.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def in_head(name: str) -> bool:
    """Whether a parameter of a `PooledClassifier` is the head's, which learns `HEAD_RATE` times faster."""
    return name.startswith("head.")


@torch.inference_mode()
def class_means(
    model: PooledClassifier,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    batch_size: int = 64,
) -> torch.Tensor:
    """The initial rows of a cosine head, (labels, hidden): the normalized mean of each class's normalized vectors.

    Args:
        model: untrained, but for its encoder's pretraining.
        texts, labels: the training queries, and the number of the class of each. Every class has one, but for the last,
            out of scope: without a text, its row begins opposite to all others.

    Raises:
        ValueError: a class has no text.
    """
    was_training = model.training
    model.eval()
    encodings = tokenizer(list(texts), truncation=True, return_token_type_ids=False)["input_ids"]
    by_length = sorted(range(len(texts)), key=lambda row: len(encodings[row]))
    sums = torch.zeros(int(model.config.num_labels or 0), model.config.hidden_size, device=model.device)
    for start in range(0, len(texts), batch_size):
        rows = by_length[start : start + batch_size]
        batch = tokenizer.pad({"input_ids": [encodings[row] for row in rows]}, return_tensors="pt").to(model.device)
        vectors = model.vectors(batch["input_ids"], batch["attention_mask"])
        classes = torch.as_tensor([int(labels[row]) for row in rows], device=model.device)
        sums.index_add_(0, classes, unit(vectors))
    model.train(was_training)
    missing = sorted(set(range(len(sums))) - {int(label) for label in labels})
    if missing == [len(sums) - 1]:
        sums[-1] = -unit(sums[:-1]).sum(dim=0)
    elif missing:
        raise ValueError(f"class {missing[0]} has no text, so it has no mean")
    return unit(sums).clone()


AutoConfig.register(PooledConfig.model_type, PooledConfig)
AutoModelForSequenceClassification.register(PooledConfig, PooledClassifier)
