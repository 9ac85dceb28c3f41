"""What the stages made in the current folder, read without the library that wrote it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer, PreTrainedModel

LABELS = np.repeat([0, 1, 3, 2], 10)  # of validation and test alike: ten queries each of alarm, music, oos, weather


def read(path: str) -> Any:
    return json.loads(Path(path).read_text())


def figures(name: str) -> dict[str, Any]:
    """What the stage that made a variant says of it."""
    return read(f"reports/models/{name}.json")[name]


def saved(name: str) -> dict[str, np.ndarray]:
    """The tensors of a variant in PyTorch, float or int8."""
    file = "int8" if "-torch-" in name else "model"
    return load_file(f"models/{name}/{file}.safetensors")


def logits_of(name: str) -> dict[str, np.ndarray]:
    """The logits of a variant by split, each (queries, labels)."""
    return load_file(f"data/logits/{name}.safetensors")


def matrices(name: str) -> dict[str, np.ndarray]:
    """The weight matrices of a float model's encoder, by layer."""
    found = {key.removeprefix("model."): tensor for key, tensor in saved(name).items() if tensor.ndim == 2}
    return {key.removesuffix(".weight"): tensor for key, tensor in found.items() if key.startswith("encoder.")}


def zeros(name: str) -> tuple[float, int]:
    """(share of zeros in the encoder's matrices, number of weights in them)"""
    flat = np.concatenate([weights.ravel() for weights in matrices(name).values()])
    return float((flat == 0).mean()), len(flat)


def pruning_schedule(name: str) -> list[dict[str, float]]:
    with Path(f"reports/pruning/{name}-schedule.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def answers_one_by_one(model: PreTrainedModel, folder: Path, split: str) -> np.ndarray:
    """The logits that `model` gives with the folder's tokenizer, one query at a time, (queries, labels)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        found = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts(split)]
    return np.stack(found)


def texts(split: str) -> list[str]:
    lines = Path(f"data/clinc/{split}.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]
