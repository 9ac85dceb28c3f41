"""The classifier as a product would run it: tokenizers, ONNX Runtime and NumPy, without torch or transformers."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from stages.library import artifacts, out_of_scope

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"


class Answer(NamedTuple):
    intent: str  # the likeliest intent in scope, also when the query is judged out of scope
    score: float  # its probability, 0 to 1
    out_of_scope: bool


class OnnxClassifier:
    """Answers queries with the model of a folder (model.onnx, tokenizer.json, classifier.json: intents and threshold).

    Args:
        folder: as the stages onnx-export and ort-quantize write it.
        threads: cores that one answer may use.

    Raises:
        PipelineError: one of the files is not there.
    """

    def __init__(self, folder: Path, threads: int = 1, made_by: str = "make repro") -> None:
        for name in (MODEL, TOKENIZER, out_of_scope.RULE):
            artifacts.require(folder / name, made_by)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings are about graphs already optimized
        self._session = onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        described = json.loads((folder / out_of_scope.RULE).read_text(encoding="utf-8"))
        self.intents: list[str] = described["intents"]
        self.threshold: float = described["threshold"]

    def inputs(self, text: str) -> dict[str, np.ndarray]:
        """What the graph reads for one query: input_ids and attention_mask, int64 (1, tokens)."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def logits(self, text: str) -> np.ndarray:
        """The logits of one query, shape (intents + 1,), out-of-scope last."""
        return self._session.run(["logits"], self.inputs(text))[0][0]

    def logits_padded(self, texts: list[str]) -> np.ndarray:
        """The logits of several queries in one padded batch, shape (texts, intents + 1)."""
        encodings = [self._tokenizer.encode(text).ids for text in texts]
        ids = np.zeros((len(texts), max(map(len, encodings))), dtype=np.int64)
        for row, encoding in zip(ids, encodings, strict=True):
            row[: len(encoding)] = encoding
        mask = np.zeros_like(ids)
        for row, encoding in zip(mask, encodings, strict=True):
            row[: len(encoding)] = 1
        return self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

    def __call__(self, text: str) -> Answer:
        found = self.logits(text)
        best = int(found[:-1].argmax())
        odds = np.exp(found - found.max())
        decided = int(out_of_scope.decide(found[None], self.threshold)[0])
        return Answer(self.intents[best], float(odds[best] / odds.sum()), decided == len(found) - 1)
