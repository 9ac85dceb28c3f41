"""Which families of pretrained encoders the stages can take, checked before one is trained for an hour."""

from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from intents.core.errors import PipelineError

# Those whose layers can be taken apart (intents/models/encoder.py), exported, fused and made int8 (intents/onnx).
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra")
# Which stage cannot take others, and why.
UNFIT = {
    "albert": "distill cannot take layers of it, since all its layers are one",
    "mpnet": "prune does not know its layers, and ort-quantize cannot fuse their attention",
    "deberta": "prune does not know its layers, and ort-quantize cannot fuse their attention",
    "deberta-v2": "prune does not know its layers, and ort-quantize cannot fuse their attention",
}
# Families that number positions from the padding's on, as fairseq did.
BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
LEAST = 0.5  # of a model's word vectors, the share that its tokenizer must have pieces for


def encoder_of(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the encoder itself, also of a `PooledClassifier`."""
    found = getattr(config, "encoder_config", None)
    return found if isinstance(found, PreTrainedConfig) else config


def positions(config: PreTrainedConfig) -> int | None:
    """The longest input of a model, in tokens; None if it has no table of positions."""
    config = encoder_of(config)
    rows = getattr(config, "max_position_embeddings", None)
    if rows is None or rows <= 0:
        return None
    behind = int(config.pad_token_id or 0) + 1 if config.model_type in BEHIND_PADDING else 0
    return int(rows) - behind


def check_family(config: PreTrainedConfig, key: str, also: str = "") -> None:
    """Look at the family of a checkpoint that is to go through all stages.

    Args:
        key: of the setting that names the checkpoint.
        also: what else may be done with one of another family, for the error to say.

    Raises:
        PipelineError: a later stage cannot take it; the message says which.
    """
    family = str(encoder_of(config).model_type)
    if family not in FAMILIES:
        reason = UNFIT.get(family, "distill, prune, onnx-export and ort-quantize do not know its layers")
        raise PipelineError(
            f"`{key}` is a model of the family {family[:40]!r}: {reason}; allowed: {', '.join(FAMILIES)}{also}"
        )


def check_length(config: PreTrainedConfig, max_length: int, key: str, checkpoint: str) -> None:
    """Raise a PipelineError if a model has no positions for queries of `max_length` tokens, set by `key`."""
    longest = positions(config)
    if longest is not None and max_length > longest:
        raise PipelineError(
            f"`{key}` is {max_length}, but {checkpoint[-120:]} reads {longest} tokens; allowed: up to {longest}"
        )


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Raise a PipelineError if a tokenizer is not that of the model: its pieces are too many, or far too few.

    A tokenizer may have a few pieces less than there are word vectors, since tables are padded to round numbers.
    """
    rows, pieces = int(model.get_input_embeddings().get_parameter("weight").shape[0]), len(tokenizer)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows or pieces < LEAST * rows:
        raise PipelineError(
            f"the tokenizer of {folder} has {pieces} pieces, numbered to {largest}, and the model {rows} word vectors: "
            f"it is not the model's own; allowed: {int(LEAST * rows)} to {rows} pieces, numbered to {rows - 1} at most"
        )
    if tokenizer.pad_token_id is None:
        raise PipelineError(f"the tokenizer of {folder} has no padding token, which queries in batches need")
