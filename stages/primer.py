"""primer: the ideas of compression as pictures and a short page, computed from the project's own models.

In:  the first student in PyTorch int8 of the table and the model that it was made from; the teacher's and the student's
     logits, data/clinc/, the timing of products in reports/latency.json and, where it is a variant, the student after
     movement pruning.
Out: reports/primer/README.md and the pictures beside it. No query of the data set is in them.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure
from safetensors import safe_open
from safetensors.numpy import load_file

from intents.core import files, paths, reading, table
from intents.core.errors import PipelineError, program
from intents.core.variants import TEACHER, Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder
from intents.models.weights import widest_layers
from intents.primer import affine_figures, figures, page, softening, tensors
from intents.primer.layer import Layer
from intents.primer.page import Told
from intents.reports.compression import weight_histogram
from intents.reports.results import student_in_int8
from intents.reports.style import STYLE, save

MOVEMENT = "movement"  # the pruning that the page shows
DPI = 120
INPUT_RANGE = (".input_scale", ".input_zero_point")  # how the tensors are named that say where a layer's inputs lie
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)


@torch.inference_mode()
def inputs_of(folder: Path, layers: list[str], text: str) -> dict[str, np.ndarray]:
    """What layers of the model in `folder` are given for one query, each (tokens, inputs)."""
    model, tokenizer = encoder.load_classifier(folder), checkpoints.load_tokenizer(folder)
    caught: dict[str, np.ndarray] = {}
    for name in layers:
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: caught.update({name: inputs[0][0].numpy()})
        )
    model(**tokenizer(text, return_tensors="pt", truncation=True, return_token_type_ids=False))
    return caught


def weights_of(variant: Variant) -> dict[str, np.ndarray]:
    """The tensors of a variant in PyTorch, by name."""
    return load_file(files.require(variant.weights, variant.made_by))


def layer_of(int8: Variant, text: str) -> Layer:
    """The last of the widest layers of a variant in PyTorch int8, with what one query gives it.

    Raises:
        PipelineError: none of them is in int8.
    """
    parent = Variant(int8.model)
    weights, integers = weights_of(parent), weights_of(int8)
    with safe_open(int8.weights, framework="np") as file:
        levels = 128 if file.metadata()["reduce_range"] == "true" else 256
    layers = [name for name in widest_layers(weights) if f"{name}.weight_int8" in integers]
    if not layers:
        raise PipelineError(f"the primer shows a feed-forward layer in int8, and {int8.name} has none")
    name = layers[-1]
    caught = inputs_of(parent.folder, layers, text)
    quantized, scales = integers[f"{name}.weight_int8"], integers[f"{name}.scales"]
    return Layer(name, weights[f"{name}.weight"], quantized, scales, caught, levels)


def bytes_of(variant: Variant) -> dict[str, dict[str, int]]:
    """The bytes of a variant by part and kind; the ranges of a static model's inputs, two numbers a layer, left out."""
    stored = {name: tensor for name, tensor in weights_of(variant).items() if not name.endswith(INPUT_RANGE)}
    return tensors.bytes_by_part(stored)


def pruned_pair(student: str, layer: str, rows: list[Variant]) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """A layer's matrix before and after movement pruning; nothing where the student is not pruned so."""
    pruned = Variant(f"{student}-{MOVEMENT}")
    if pruned not in rows:
        return None, None
    return weights_of(Variant(student))[f"{layer}.weight"], weights_of(pruned)[f"{layer}.weight"]


def drawn(told: Told) -> dict[str, Figure]:
    """The pictures, by name."""
    layer = told.layer
    style.use(STYLE)
    return {
        "affine": affine_figures.affine_maps(layer.maps()),
        "weights": weight_histogram(layer.name, layer.weight, layer.quantized, layer.scales),
        "storage": figures.storage(told.before, told.after),
        "multiply": figures.multiplication(told.multiply),
        "temperature": figures.temperatures(told.queries, told.temperatures),
        "gradient": figures.gradients(told.temperatures, told.pull.plain, told.pull.scaled),
        "pruning": figures.pruning(*told.pair),
    }


def main() -> None:
    torch.set_num_threads(1)  # with more, sums are taken in another order, and a picture has other bytes
    timed = reading.load(paths.LATENCY, "dvc repro benchmark")
    multiply = timed["multiply"]
    rows, data = table.declared(), Corpus()
    int8 = student_in_int8([row.name for row in rows])
    if int8 is None:
        raise PipelineError("the primer shows a student in int8, and `variants.torch_models` names none")
    parent = Variant(int8.model)
    teacher, student = (logits.load(name)["validation"] for name in (TEACHER, parent.name))
    asked, names = data.rows("validation"), data.intents.names

    sure, torn = softening.telling(softening.softened(teacher, [1.0])[0])
    layer = layer_of(int8, asked[sure].text)
    told = Told(
        layer=layer,
        before=bytes_of(parent),
        after=bytes_of(int8),
        on_disk=[variant.weights.stat().st_size for variant in (parent, int8)],
        multiply=multiply,
        machine=timed["machine"],
        temperatures=TEMPERATURES,
        queries=softening.queries((sure, torn), [row.intent for row in asked], names, teacher, student, TEMPERATURES),
        pull=softening.pull(student, teacher, TEMPERATURES),
        labels=len(names),
        pair=pruned_pair(parent.student, layer.name, rows),
    )
    pictures = drawn(told)
    with files.new_folder(paths.PRIMER) as folder:
        for name, figure in pictures.items():
            save(figure, folder / f"{name}.png", DPI)
        files.write_text(folder / "README.md", page.write(told))


if __name__ == "__main__":
    program(main, __doc__)
