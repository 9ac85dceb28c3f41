"""ONNX graphs: counted, fused, and their nodes named after the model's modules."""

import ast
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import optimizer

LEAN = "lean"  # the name of a graph of intents/onnx/lean.py
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes which module a node comes from


@contextmanager
def quietly() -> Iterator[None]:
    """Without what the tools log and print: their progress, and advice to do first what was done."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def operators(path: Path) -> dict[str, int]:
    """How often each operator stands in the graph."""
    return dict(sorted(Counter(node.op_type for node in onnx.load(path).graph.node).items()))


def weight_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that multiply by a matrix of weights or look up its rows, in graph order."""
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    kinds = ("Attention", "Gather", "Gemm", "MatMul")
    return [node for node in graph.node if node.op_type in kinds and matrices & set(node.input[:2])]


def _modules(graph: onnx.GraphProto) -> dict[str, str]:
    """The module that made each tensor, as the exporter noted it: {"val_102": "encoder.layer.0.output.dense"}.

    The name of the model within its class (bert.) is left out.
    """
    modules = {}
    for node in graph.node:
        # ["", "model", "model.bert", ..., "model.bert.pooler.dense", "linear_18"]: the last is the node itself.
        scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
        if scopes:
            parts = ast.literal_eval(scopes[0])[-2].split(".")
            modules[node.output[0]] = ".".join(part for part in parts if part not in ("model", "bert", "distilbert"))
    return modules


def _as_fusion_expects(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function, each attention in the words that ONNX Runtime's fusion of it looks for.

    onnxruntime/transformers/fusion_attention.py finds the number of heads in the shape that the query is given, scores
    that are divided by √size, and a mask with one axis added at a time. PyTorch's exporter writes -1 for the number of
    heads, multiplies by 1/√size, and adds both axes at once. Whatever else it writes is left alone, and not fused.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}

    def above(node: onnx.NodeProto, *path: tuple[int, str]) -> onnx.NodeProto | None:
        for place, kind in path:
            found = makers.get(node.input[place])
            if found is None or found.op_type != kind:
                return None
            node = found
        return node

    def constant(array: np.ndarray) -> str:
        name = f"for_fusion_{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    for node in [node for node in graph.node if node.op_type == "Softmax"]:
        scale = above(node, (0, "Add"), (0, "Mul"))
        reshape = above(scale, (0, "MatMul"), (0, "Transpose"), (0, "Reshape")) if scale else None
        bias = above(reshape, (0, "Add")) if reshape else None
        shape = above(reshape, (1, "Concat")) if reshape else None
        axes = above(node, (0, "Add"), (1, "Mul"), (0, "Sub"), (1, "Cast"), (0, "Unsqueeze"))
        if not (scale and reshape and bias and shape and axes):
            continue
        scale.op_type = "Div"
        scale.input[1] = constant(1 / constants[scale.input[1]])
        size = constants[shape.input[3]].item()
        width = next(constants[name].size for name in bias.input if name in constants)
        reshape.input[1] = constant(np.array([0, 0, width // size, size], np.int64))
        del reshape.attribute[:]  # allowzero: a 0 in the shape would be an empty axis, not the axis that is there
        if constants[axes.input[1]].tolist() == [1, 2]:
            first = helper.make_node(
                "Unsqueeze", [axes.input[0], constant(np.array([1], np.int64))], ["mask_for_fusion"]
            )
            axes.input[:] = [first.output[0], constant(np.array([2], np.int64))]
            constants[axes.input[1]] = np.array([2])
            graph.node.insert(list(graph.node).index(axes), first)
    return model


def fuse(source: Path, target: Path) -> dict[str, int]:
    """Write the graph with attention, GELU and normalization subgraphs replaced by single operators.

    Nodes with weights are named after their modules, such as encoder.layer.0.output.dense: the exporter's own numbers
    move with every edit of the model.

    Returns:
        How many operators of each kind the fusion made; kinds it made none of are left out.
    """
    model = onnx.load(source)
    if model.graph.name == LEAN:  # it was written with fused operators, and its nodes are named
        onnx.save(model, target)
        return dict(sorted(Counter(node.op_type for node in model.graph.node if node.domain).items()))
    modules = _modules(model.graph)
    # Heads and hidden size are read off the graph: those of a pruned model are no longer its configuration's.
    # opt_level 0: ONNX Runtime's own optimizations depend on the CPU and belong to the session that serves.
    with quietly():
        worded = _as_fusion_expects(model)
        fused = optimizer.optimize_model(worded, model_type="bert", num_heads=0, hidden_size=0, opt_level=0)
        for node in weight_nodes(fused.model.graph):
            node.name = modules.get(node.output[0], node.name)
        fused.save_model_to_file(str(target))
        # Notes the shape of every tensor, those of fused operators too: what has none cannot be calibrated.
        quant_pre_process(target, target, skip_optimization=True, auto_merge=True)
        return {name: count for name, count in sorted(fused.get_fused_operator_statistics().items()) if count}
