"""primer: the ideas of compression as pictures and a short page, computed from the project's own models.

In:  the first student in PyTorch int8 of the table and the model that it was made from; the teacher's and the student's
     logits, data/clinc/, the timing of products in reports/latency.json and, where it is a variant, the student after
     movement pruning.
Out: reports/primer/README.md and the pictures beside it. No query of the data set is in them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import style
from safetensors import safe_open
from safetensors.numpy import load_file

from intents.core import files, paths, table
from intents.core.errors import PipelineError, program
from intents.core.variants import TEACHER, Form, Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder
from intents.models.weights import widest_layers
from intents.primer import figures, page, softening, tensors
from intents.primer.affine import Affine
from intents.primer.figures import Mapped, Softened
from intents.reports.compression import weight_histogram
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


def main() -> None:
    torch.set_num_threads(1)  # with more, sums are taken in another order, and a picture has other bytes
    timed: dict[str, Any] = files.read_json(paths.LATENCY, "dvc repro benchmark")
    rows = table.declared()
    chosen = next((row for row in rows if row.form is Form.TORCH_INT8 and row.model != TEACHER), None)
    if chosen is None:
        raise PipelineError("the primer shows a student in int8, and `variants.torch_models` names none")
    parent = Variant(chosen.model)
    weights = load_file(files.require(parent.weights, parent.made_by))
    integers = load_file(files.require(chosen.weights, chosen.made_by))
    with safe_open(chosen.weights, framework="np") as file:
        levels = 128 if file.metadata()["reduce_range"] == "true" else 256
    data = Corpus()
    teacher, student = (logits.load(name)["validation"] for name in (TEACHER, parent.name))
    intents, queries_asked = data.intents, data.rows("validation")

    probabilities, answers = (softening.softened(array, TEMPERATURES) for array in (teacher, student))
    sure, torn = softening.telling(probabilities[0])
    queries = []
    for row in (sure, torn):
        likeliest = np.argsort(-teacher[row], kind="stable")[:6]
        names = [intents.names[label] for label in likeliest]
        queries.append(
            Softened(queries_asked[row].intent, names, probabilities[:, row, likeliest], answers[:, row, likeliest])
        )
    pull = softening.pull(student, teacher, TEMPERATURES)

    layers = [name for name in widest_layers(weights) if f"{name}.weight_int8" in integers]
    if not layers:
        raise PipelineError(f"the primer shows a feed-forward layer in int8, and {chosen.name} has none")
    layer = layers[-1]
    matrix = weights[f"{layer}.weight"]
    quantized, scales = integers[f"{layer}.weight_int8"], integers[f"{layer}.scales"]
    caught = inputs_of(parent.folder, layers, queries_asked[sure].text)
    inputs = caught[layer]
    lowest, highest = float(inputs.min()), float(inputs.max())
    maps = (
        Mapped("Weights of one row, symmetric", matrix[0], Affine(float(scales[0, 0]), 0, -127, 127)),
        Mapped("Activations of one query, asymmetric", inputs, Affine.asymmetric(lowest, highest, levels)),
        Mapped(
            "The same with a narrower range, clipped",
            inputs,
            Affine.asymmetric(lowest, float(np.quantile(inputs, 0.999)), levels),
        ),
    )
    # The ranges of a static model's inputs are left out: two numbers a layer, less than a kilobyte in all.
    stored = {name: tensor for name, tensor in integers.items() if not name.endswith(INPUT_RANGE)}
    before, after = tensors.bytes_by_part(weights), tensors.bytes_by_part(stored)
    on_disk = [path.stat().st_size for path in (parent.weights, chosen.weights)]
    multiply = timed["multiply"]
    pair: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None)
    pruned = Variant(f"{parent.student}-{MOVEMENT}")
    if pruned in rows:
        dense = load_file(Variant(parent.student).weights)
        sparse = load_file(files.require(pruned.weights, pruned.made_by))
        pair = (dense[f"{layer}.weight"], sparse[f"{layer}.weight"])

    style.use(STYLE)
    pictures = {
        "affine": figures.affine_maps(maps),
        "weights": weight_histogram(layer, matrix, quantized, scales),
        "storage": figures.storage(before, after),
        "multiply": figures.multiplication(
            multiply["outputs"], multiply["inputs"], {int(tokens): row for tokens, row in multiply["tokens"].items()}
        ),
        "temperature": figures.temperatures(queries, TEMPERATURES),
        "gradient": figures.gradients(TEMPERATURES, pull.plain, pull.scaled),
        "pruning": figures.pruning(*pair),
    }
    sections = [
        page.OPENING,
        page.affine_map(layer, *maps, caught),
        page.rounding(matrix, quantized, scales),
        page.storage(before, after, on_disk),
        page.multiplication(multiply, timed["machine"]),
        page.temperature(queries, TEMPERATURES, len(intents.names)),
        page.divergence(TEMPERATURES, pull),
        page.pruning(layer, *pair),
    ]
    with files.new_folder(paths.PRIMER) as folder:
        for name, figure in pictures.items():
            save(figure, folder / f"{name}.png", DPI)
        files.write_text(folder / "README.md", "\n".join(sections))


if __name__ == "__main__":
    program(main, __doc__)
