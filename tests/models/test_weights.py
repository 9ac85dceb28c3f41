"""weights: layers found by their shapes."""

import numpy as np

from intents.models.weights import widest_layers


def test_the_widest_layers_are_linear_and_have_the_most_inputs() -> None:
    shapes = {
        "b.weight": (2, 8),
        "b.bias": (2,),
        "a.weight": (3, 8),
        "a.bias": (3,),
        "c.weight": (9, 2),
        "c.bias": (9,),
    }
    embeddings = {"embeddings.weight": (100, 50)}
    state = {name: np.zeros(shape, np.float32) for name, shape in (shapes | embeddings).items()}
    assert widest_layers(state) == ["a", "b"]
