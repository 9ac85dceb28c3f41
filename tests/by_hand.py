"""A project in which no model was trained: logits drawn at random, and files of models that no library could load."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from conftest import compose
from made import LABELS, read
from safetensors.numpy import save_file

from intents.data import corpus
from intents.data.corpus import Intents, Row

ROWS = (
    *("second_teacher=none", "student=[half,labels]", "prune=structured", "qat=none"),
    *("quantize=dynamic", "ort_quantize=static"),
)
VARIANTS = [
    *("teacher", "half", "labels", "half-structured", "half-torch-dynamic"),
    *(f"{model}-{form}" for model in ("teacher", "half", "half-structured") for form in ("onnx", "ort-static")),
]
MODELS = VARIANTS[:4]


def answers(seed: int) -> dict[str, np.ndarray]:
    """Logits of both splits, mostly right in scope and low out of it."""
    draw = np.random.default_rng(seed)
    found = {}
    for split in ("validation", "test"):
        logits = draw.normal(size=(40, 4)).astype(np.float32)
        logits[np.arange(40), LABELS] += np.where(LABELS == 3, 0.5, 2.5)
        found[split] = logits
    return found


def weights(name: str) -> tuple[dict[str, np.ndarray], int]:
    """Tensors of a model, another number of them for each, and how many numbers they hold."""
    place = MODELS.index(name)
    return {"matrix": np.zeros((3 + place, 4), np.float32), "bias": np.ones(5, np.float32)}, 4 * (3 + place) + 5


def file_of(name: str) -> str:
    if name in MODELS:
        return "model.safetensors"
    return "int8.safetensors" if "-torch-" in name else "model.onnx"


def lay_out() -> None:
    """In the current folder all that evaluate reads: files of models that no library could load, and random logits."""
    compose(*ROWS)
    intents = Intents.of({"daily": ["alarm", "music", "weather"]})
    rows = [Row(f"query {place}", intents.names[label]) for place, label in enumerate(LABELS)]
    corpus.save(Path("data/clinc"), dict.fromkeys(corpus.SPLITS, rows), intents)
    for folder in ("data/logits", "reports/models"):
        Path(folder).mkdir(parents=True)
    for place, name in enumerate(VARIANTS):
        path = Path("models") / name / file_of(name)
        path.parent.mkdir(parents=True)
        if name in MODELS:
            save_file(weights(name)[0], path)
        else:
            path.write_bytes(name.encode() * (place + 1) * 1000)
        save_file(answers(place), f"data/logits/{name}.safetensors")
        facts = {"validation": {"accuracy": -1.0}, "operators": {"MatMul": place}}
        Path(f"reports/models/{name}.json").write_text(json.dumps({name: facts}))


def evaluated() -> dict[str, dict[str, Any]]:
    return read("reports/evaluation.json")["variants"]
