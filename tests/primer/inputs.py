"""All that the stage primer reads: an untrained student, its int8 weights, logits drawn at random, a quick timing."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from conftest import micro_data_set
from safetensors.numpy import load_file, save_file

from intents.data import corpus
from intents.int8 import kernels
from intents.models import checkpoints
from intents.timing import product

LAYER = "bert.encoder.layer.3.output.dense"
INTENTS = corpus.Intents(["alarm", "music", "weather", "oos"], dict.fromkeys(["alarm", "music", "weather"], "daily"))
NOTHING: dict[str, object] = {
    "rows": {},
    "teachers": {"teacher": "teacher"},
    "answers": "teacher",
    "controls": {},
    "onnx_models": [],
    "onnx_methods": [],
    "qat": [],
    "augmented": [],
    "peers": [],
}
VARIANTS = NOTHING | {
    "student": "half",
    "models": ["teacher", "half"],
    "torch_models": ["half"],
    "torch_methods": ["dynamic"],
}


def make(folder: Path, checkpoint: Path) -> None:
    rows = {
        split: corpus.canonical([corpus.Row(*row) for name in names for row in micro_data_set()[name]])
        for split, names in {
            "train": ["train", "oos_train"],
            "validation": ["val", "oos_val"],
            "test": ["test", "oos_test"],
        }.items()
    }
    corpus.save(folder / "data/clinc", rows, INTENTS)
    (folder / "params.yaml").write_text(yaml.safe_dump({"variants": VARIANTS}))
    torch.manual_seed(0)
    student = checkpoints.load_classifier(checkpoint, INTENTS)
    student.save_pretrained(folder / "models/half")
    checkpoints.load_tokenizer(checkpoint).save_pretrained(folder / "models/half")
    (folder / "models/half-torch-dynamic").mkdir()
    scheme = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
    kernels.save(kernels.quantize(student, scheme), folder / "models/half-torch-dynamic")
    (folder / "data/logits").mkdir()
    draw = np.random.default_rng(0)
    for name in ("teacher", "half"):
        logits = 3 * draw.normal(size=(len(rows["validation"]), 4))
        save_file({"validation": logits.astype(np.float32)}, folder / f"data/logits/{name}.safetensors")
    weight = load_file(folder / "models/half/model.safetensors")[f"{LAYER}.weight"]
    timings = product.multiply_timings(weight, calls=3, seed=0, samples=100)
    (folder / "reports").mkdir()
    (folder / "reports/latency.json").write_text(
        json.dumps({"machine": {"cpu": "a CPU", "threads": 1}, "multiply": timings})
    )
