"""A student in OpenVINO, brought to int8 by NNCF: the same model as ours in another runtime."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from intents.core import files
from intents.core.settings import at_least, seed_number
from intents.data.corpus import Corpus
from intents.peers import common

FILE = "model.xml"  # and model.bin beside it
TOKENIZER = "tokenizer.json"


def inputs_of(names: set[str], ids: list[list[int]]) -> dict[str, np.ndarray]:
    """What a graph reads of queries of one length in tokens."""
    array = np.array(ids, dtype=np.int64)
    return {"input_ids": array} | ({"attention_mask": np.ones_like(array)} if "attention_mask" in names else {})


def names_of(model: Any) -> set[str]:
    return {node.get_any_name() for node in model.inputs}


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """`reads` is the folder of a model as ONNX: of a student, in float32."""

    queries: int = at_least(1)  # training queries that the ranges of activations are taken from
    seed: int = seed_number()

    def train(self, data: Corpus, folder: Path) -> int:
        source = Path(self.reads)
        graph = files.require(source / "model.onnx", f"dvc repro onnx-export@{source.name.removesuffix('-onnx')}")
        with common.packages("openvino"):
            import nncf
            import openvino
        model = openvino.Core().read_model(graph)
        tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
        tokenizer.no_padding()
        texts = data.texts("train")
        drawn = np.random.default_rng(self.seed).choice(len(texts), min(self.queries, len(texts)), replace=False)
        names = names_of(model)
        calibration = [inputs_of(names, [tokenizer.encode(texts[row]).ids]) for row in drawn]
        parameters = sum(
            int(np.prod(node.get_output_shape(0))) for node in model.get_ops() if node.get_type_name() == "Constant"
        )
        quantized = nncf.quantize(
            model, nncf.Dataset(calibration), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration)
        )
        openvino.save_model(quantized, folder / FILE, compress_to_fp16=False)
        shutil.copy(source / TOKENIZER, folder)
        return parameters


def load(folder: Path, threads: int) -> common.Scores:
    with common.packages("openvino"):
        import openvino
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(folder / FILE, "CPU", options)
    names, request = names_of(compiled), compiled.create_infer_request()
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()

    def scores(texts: list[str]) -> np.ndarray:
        encoded = [tokenizer.encode(text).ids for text in texts]
        found: dict[int, np.ndarray] = {}
        for length in {len(ids) for ids in encoded}:  # as in intents.serving: nothing is padded
            rows = [row for row, ids in enumerate(encoded) if len(ids) == length]
            answers = request.infer(inputs_of(names, [encoded[row] for row in rows]))
            found |= dict(zip(rows, next(iter(answers.values())).copy(), strict=True))
        return np.stack([found[row] for row in range(len(texts))])

    return scores
