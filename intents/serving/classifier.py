"""The model as a product runs it: tokenizers, ONNX Runtime and NumPy, without torch or transformers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from intents.core import files
from intents.serving import rule
from intents.serving.rule import Rule

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"


class OnnxModel:
    """The graph and the tokenizer of a folder (model.onnx, tokenizer.json): a query to its logits.

    Args:
        folder: as the stages onnx-export, ort-quantize and deploy write it.
        threads: cores that one answer may use.
        made_by: the command that makes the folder, for errors to name.

    Raises:
        PipelineError: one of the files is not there.
    """

    def __init__(self, folder: Path, threads: int = 1, made_by: str = "make repro") -> None:
        for name in (MODEL, TOKENIZER):
            files.require(folder / name, made_by)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings are about graphs already optimized
        self._session = onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        kinds = {node.name: node.type for node in self._session.get_inputs()}
        self._integer = np.int32 if kinds["input_ids"] == "tensor(int32)" else np.int64
        self._masked = "attention_mask" in kinds

    def inputs(self, text: str) -> dict[str, np.ndarray]:
        """What the graph reads for one query: input_ids and, if it has one, attention_mask, integers (1, tokens)."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=self._integer)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)} if self._masked else {"input_ids": ids}

    def logits(self, text: str) -> np.ndarray:
        """The logits of one query, shape (intents + 1,), out-of-scope last."""
        return self._session.run(["logits"], self.inputs(text))[0][0]

    def logits_padded(self, texts: list[str]) -> np.ndarray:
        """The logits of several queries in one batch, shape (texts, intents + 1).

        Padded to the longest; a graph without a mask takes those of one length together instead.
        """
        encodings = [self._tokenizer.encode(text).ids for text in texts]
        if not self._masked:
            by_length: dict[int, list[int]] = {}
            for row, encoding in enumerate(encodings):
                by_length.setdefault(len(encoding), []).append(row)
            found: dict[int, np.ndarray] = {}
            for rows in by_length.values():
                ids = np.array([encodings[row] for row in rows], dtype=self._integer)
                found |= dict(zip(rows, self._session.run(["logits"], {"input_ids": ids})[0], strict=True))
            return np.stack([found[row] for row in range(len(texts))])
        ids = np.zeros((len(texts), max(map(len, encodings))), dtype=self._integer)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding
            mask[row, : len(encoding)] = 1
        return self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


class Answer(NamedTuple):
    intent: str  # the likeliest intent in scope, also when the query is judged out of scope
    probability: float  # of that intent among all answers, 0 to 1
    out_of_scope: bool


class Classifier:
    """A model with its rule: a query to an answer.

    Args:
        model: gives the logits.
        rule: turns them into an answer.
    """

    def __init__(self, model: OnnxModel, rule: Rule) -> None:
        self.model, self.rule = model, rule

    @classmethod
    def load(cls, folder: Path, threads: int = 1, made_by: str = "make repro") -> "Classifier":
        """The classifier of a folder that the stage deploy wrote (model.onnx, tokenizer.json, classifier.json)."""
        return cls(OnnxModel(folder, threads, made_by), Rule.load(folder, made_by))

    def __call__(self, text: str) -> Answer:
        logits = self.model.logits(text)
        best = int(logits[:-1].argmax())
        odds = np.exp(logits - logits.max())
        label = int(rule.decide(logits[None], self.rule.threshold)[0])
        return Answer(self.rule.intents[best], float(odds[best] / odds.sum()), label == len(logits) - 1)
