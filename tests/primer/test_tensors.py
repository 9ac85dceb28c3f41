"""tensors: the parts of a model and their bytes."""

import numpy as np

from intents.primer import tensors


def test_parts_and_bytes_of_either_family() -> None:
    names = {
        "bert.embeddings.word_embeddings.weight_int8": "embeddings",
        "bert.embeddings.word_embeddings.scales": "embeddings",
        "bert.encoder.layer.0.attention.output.LayerNorm.weight": "attention",
        "distilbert.transformer.layer.0.sa_layer_norm.bias": "attention",
        "distilbert.transformer.layer.0.attention.q_lin.weight": "attention",
        "bert.encoder.layer.0.output.LayerNorm.weight": "feed-forward",
        "distilbert.transformer.layer.0.ffn.lin2.weight": "feed-forward",
        "bert.pooler.dense.weight": "head",
        "pre_classifier.bias": "head",
        "classifier.weight": "head",
    }
    assert {name: tensors.part_of(name) for name in names} == names
    state = {name: np.zeros((2, 3), np.int8 if name.endswith("_int8") else np.float32) for name in names}
    assert tensors.bytes_by_part(state) == {
        "embeddings": {"int8": 6, "scales": 24, "float32": 0},
        "attention": {"int8": 0, "scales": 0, "float32": 72},
        "feed-forward": {"int8": 0, "scales": 0, "float32": 48},
        "head": {"int8": 0, "scales": 0, "float32": 72},
    }
