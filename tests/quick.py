"""What libraries do again and again with the same outcome, done once for a process: for pytest's, and for warm.py's."""

import copy
import logging
import warnings
from functools import cache, lru_cache
from typing import Any

import torch
from dvc.utils import serialize, strictyaml
from dvc.utils.serialize import _yaml
from torch.onnx._internal.exporter._registration import ONNXRegistry
from tqdm import tqdm
from transformers import BertConfig, BertForSequenceClassification


def keep() -> None:
    """The table of operators that torch's exporter makes for each export, a quarter of its time; and what DVC reads of
    a YAML file, which it does for each stage that has params, and that is most of what it does by itself."""
    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
    parse = _yaml.parse_yaml
    parsed = lru_cache(64)(lambda text, typ: parse(text, "", typ))

    def parse_once(text: str, path: str, typ: str = "safe") -> Any:
        """As DVC's own. What was asked for to be written again is read anew, and so is what cannot be read."""
        try:
            return parse(text, path, typ) if typ == "rt" else copy.deepcopy(parsed(text, typ))
        except _yaml.YAMLFileCorruptedError:
            return parse(text, path, typ)  # the error names the file

    for module in (_yaml, serialize, strictyaml):
        module.parse_yaml = parse_once


def warm_up(opset: int) -> None:
    """Export a model once, in silence: what the exporter loads and looks up at its first use is there then."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=8, attn_implementation="eager", **sizes)).eval()
    names = {"input_ids": torch.ones((2, 7), dtype=torch.int64), "attention_mask": torch.ones((2, 1, 1, 7))}
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=64)
    shapes = {"input_ids": {0: batch, 1: sequence}, "attention_mask": {0: batch, 3: sequence}}
    interval, tqdm.monitor_interval = tqdm.monitor_interval, 0  # else the first bar starts a thread
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, kwargs=names, dynamic_shapes=shapes, opset_version=opset, dynamo=True, verbose=False)
    logging.disable(logging.NOTSET)
    tqdm.monitor_interval = interval
