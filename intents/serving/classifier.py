"""The model as a product runs it: tokenizers, ONNX Runtime and NumPy, without torch or transformers.

Together or alone, a query has the same answer. A batch holds queries of one length in tokens, so nothing is padded, and
in float and in static int8 each then has its own numbers. In dynamic int8 it would not: there the range of activations
is taken over the whole batch, and of 1,500 queries two or three changed their answers. So such a graph is given one
query at a time.
"""

from math import exp, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from intents.core import files
from intents.core.errors import PipelineError
from intents.serving import rule
from intents.serving.rule import Rule

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
INPUTS = ("input_ids", "attention_mask")
# Characters of a query that are read. A model reads some dozens of tokens, and tokenizing is linear in the text: of
# 20 MB it would take 20 s and 3 GB. The tokens are those of the whole text unless these characters hold fewer of them
# than the model reads: some hundred characters a token, in spaces or characters that the tokenizer drops.
LONGEST = 16_384
BATCH = 32  # queries
DYNAMIC = b"DynamicQuantize"  # the operators DynamicQuantizeLinear and DynamicQuantizeMatMul
POINTER = b"version https://git-lfs"


class OnnxModel:
    """The graph and the tokenizer of a folder (model.onnx, tokenizer.json): a query to its logits.

    Args:
        folder: as the stages onnx-export, ort-quantize and deploy write it.
        threads: cores that one answer may use.
        made_by: the command that makes the folder, for errors to name.

    Raises:
        PipelineError: one of the files is not there, or damaged, or is none of a classifier of text.
    """

    def __init__(self, folder: Path, threads: int = 1, made_by: str = "make repro") -> None:
        for name in (MODEL, TOKENIZER):
            check(folder / name, made_by)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings are about graphs already optimized
        options.enable_mem_reuse = False  # a buffer for each node: 2 to 3 % faster for a small model, and little memory
        self._path = folder / MODEL
        try:
            self._session = onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a dozen classes with no other base in common
            raise damaged(self._path, "ONNX model", error, made_by) from None
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # a plain Exception, whatever is wrong
            raise damaged(folder / TOKENIZER, "tokenizer", error, made_by) from None
        self._tokenizer.no_padding()
        kinds = {node.name: node.type for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        if "input_ids" not in kinds or not set(kinds) <= set(INPUTS) or "logits" not in outputs:
            raise PipelineError(
                f"{self._path} reads {', '.join(kinds)[:80]} and gives {', '.join(outputs)[:80]}; allowed: a graph "
                "that reads input_ids, with or without attention_mask, and gives logits"
            )
        self._integer = np.int32 if kinds["input_ids"] == "tensor(int32)" else np.int64
        self._masked = "attention_mask" in kinds
        # Whether it finds ranges of activations as it runs; the file names its operators as they are. Read now: later
        # another model may lie there.
        self._dynamic = DYNAMIC in self._path.read_bytes()

    def _encode(self, text: str) -> list[int]:
        """The tokens of a query, those that the tokenizer keeps of its first `LONGEST` characters."""
        text = text[:LONGEST]
        try:
            return list(self._tokenizer.encode(text).ids)
        except (UnicodeEncodeError, TypeError):  # half of a surrogate pair, which is no character
            return list(self._tokenizer.encode(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")).ids)

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        try:
            return self._session.run(["logits"], inputs)[0]  # type: ignore[no-any-return]
        except Exception as error:  # as above: the tokenizer gives more tokens, or others, than the graph takes
            raise PipelineError(
                f"{self._path} fails on a query of {inputs['input_ids'].shape[1]} tokens, so it does not fit "
                f"{self._path.with_name(TOKENIZER)}: {one_line(error)}"
            ) from None

    def _inputs(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)} if self._masked else {"input_ids": ids}

    def inputs(self, text: str) -> dict[str, np.ndarray]:
        """What the graph reads for one query: input_ids and, if it has one, attention_mask, integers (1, tokens)."""
        return self._inputs(np.array([self._encode(text)], dtype=self._integer))

    def logits(self, text: str) -> np.ndarray:
        """The logits of one query, shape (intents + 1,), out-of-scope last."""
        return self._run(self.inputs(text))[0]  # type: ignore[no-any-return]

    def logits_by_length(self, texts: list[str]) -> np.ndarray:
        """The logits of several queries, (texts, intents + 1), those of one length in tokens together.

        As `logits` gives them: a graph in dynamic int8 takes them one by one.
        """
        if self._dynamic:
            return np.stack([self.logits(text) for text in texts])
        return self._by_length([self._encode(text) for text in texts])

    def _by_length(self, encodings: list[list[int]]) -> np.ndarray:
        by_length: dict[int, list[int]] = {}
        for row, encoding in enumerate(encodings):
            by_length.setdefault(len(encoding), []).append(row)
        found: dict[int, np.ndarray] = {}
        for rows in by_length.values():
            for batch in (rows[start : start + BATCH] for start in range(0, len(rows), BATCH)):
                ids = np.array([encodings[row] for row in batch], dtype=self._integer)
                found |= dict(zip(batch, self._run(self._inputs(ids)), strict=True))
        return np.stack([found[row] for row in range(len(encodings))])

    def logits_padded(self, texts: list[str]) -> np.ndarray:
        """The logits of several queries in one batch, shape (texts, intents + 1).

        Padded to the longest; a graph without a mask takes those of one length together instead.
        """
        encodings = [self._encode(text) for text in texts]
        if not self._masked:
            return self._by_length(encodings)
        ids = np.zeros((len(texts), max(map(len, encodings))), dtype=self._integer)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding
            mask[row, : len(encoding)] = 1
        return self._run({"input_ids": ids, "attention_mask": mask})


class Answer(NamedTuple):
    intent: str  # the likeliest intent in scope, also when the query is judged out of scope
    probability: float  # of that intent among all answers, 0 to 1, calibrated on validation
    out_of_scope: bool
    score: float  # of the out-of-scope rule, to be read beside the threshold
    alternatives: tuple[tuple[str, float], ...] = ()  # the likeliest intents in scope with their probabilities


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
        """The classifier of a folder that the stage deploy wrote (model.onnx, tokenizer.json, classifier.json).

        Raises:
            PipelineError: a file is not there or damaged, or two of them do not fit together.
        """
        model = OnnxModel(folder, threads, made_by)
        check(folder / rule.FILE, made_by)
        loaded = cls(model, Rule.load(folder, made_by))
        loaded("a")  # one that does not fit is found now, and not at the first query
        return loaded

    def __call__(self, text: str, top: int = 0) -> Answer:
        """The answer to one query.

        Args:
            top: how many of the likeliest intents the answer names.

        Raises:
            PipelineError: the graph does not fit the tokenizer or the names of the intents.
        """
        return self._answer(self.model.logits(text), top)

    def batch(self, texts: list[str], top: int = 0) -> list[Answer]:
        """The answers to several queries, in their order; as `__call__` gives them one by one."""
        return [self._answer(logits, top) for logits in self.model.logits_by_length(texts)] if texts else []

    def _answer(self, logits: np.ndarray, top: int) -> Answer:
        names = self.rule.intents
        if logits.shape != (len(names),):
            raise PipelineError(
                f"the model gives logits of shape {logits.shape} a query, {rule.FILE} names {len(names)} intents; "
                "allowed: one logit for each intent"
            )
        if not isfinite(logits.sum()):
            raise PipelineError("the model gives logits that are not finite: it is damaged")
        best, out_of_scope, score, total = rule.judge(logits, self.rule.threshold, self.rule.temperature)
        named = []
        for label in np.argsort(-logits[:-1], kind="stable")[:top] if top else ():
            lower = float(logits[label]) - float(logits[best])
            named.append((names[label], exp(lower / self.rule.temperature) / total))
        return Answer(names[best], 1 / total, out_of_scope, score, tuple(named))


def check(path: Path, made_by: str) -> None:
    """Raise a PipelineError if a file of the model is not there, cannot be read, or is a pointer of Git LFS."""
    try:
        with files.require(path, made_by).open("rb") as file:
            begin = file.read(len(POINTER))
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    if begin == POINTER:
        raise PipelineError(f"{path} is a pointer of Git LFS and not the file itself; run `git lfs pull`")


def damaged(path: Path, kind: str, error: Exception, made_by: str) -> PipelineError:
    return PipelineError(f"{path} is no {kind} that can be read: {one_line(error)}; `{made_by}` makes it again")


def one_line(error: Any) -> str:
    return " ".join(str(error).split())[:160]
