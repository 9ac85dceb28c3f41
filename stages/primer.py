"""primer: the ideas of compression as pictures and a short page, computed from the project's own models.

In:  an int8 model of PyTorch (the first in the table) and what it was made from, data/student/ most likely; the
     teacher's and the student's logits, data/clinc/, the timing of products in reports/benchmark.json and, where it is
     a variant, data/pruned-movement/.
Out: reports/primer/README.md and the pictures beside it. No query of the data set is in them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import style
from safetensors import safe_open
from safetensors.numpy import load_file

from stages.library import (
    artifacts,
    checkpoints,
    figures,
    logits,
    primer_figures,
    primer_page,
    softening,
    splits,
    tensors,
)
from stages.library.affine import Affine
from stages.library.errors import PipelineError, run_program
from stages.library.primer_figures import Mapped, Softened

CLINC = Path("data/clinc")
DATA = Path("data")
STUDENT, PRUNED = "student", "pruned-movement"
BENCHMARK = Path("reports/benchmark.json")
PRIMER = Path("reports/primer")
DPI = 120
INPUT_RANGE = (".input_scale", ".input_zero_point")  # how the tensors are named that say where a layer's inputs lie
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)


@torch.inference_mode()
def inputs_of(folder: Path, layers: list[str], text: str) -> dict[str, np.ndarray]:
    """What layers of the model in `folder` are given for one query, each (tokens, inputs)."""
    model, tokenizer = checkpoints.load_classifier(folder), checkpoints.load_tokenizer(folder)
    caught: dict[str, np.ndarray] = {}
    for name in layers:
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: caught.update({name: inputs[0][0].numpy()})
        )
    model(**tokenizer(text, return_tensors="pt", truncation=True, return_token_type_ids=False))
    return caught


def main() -> None:
    torch.set_num_threads(1)  # with more, sums are taken in another order, and a picture has other bytes
    benchmark: dict[str, Any] = artifacts.read_json(BENCHMARK, "dvc repro benchmark")
    if "multiply" not in benchmark:
        raise PipelineError(f"{BENCHMARK} has no `multiply`; run `dvc repro benchmark`")
    folders = {name: Path(row["folder"]) for name, row in benchmark["variants"].items()}
    int8_in_torch = [row for name, row in benchmark["variants"].items() if name.startswith("student-torch-")]
    if not int8_in_torch:
        raise PipelineError("the primer shows the student in int8, and `quantize` makes none: add dynamic to it")
    chosen = int8_in_torch[0]
    student_folder = DATA / chosen["parity"]["parent"]
    weights = load_file(artifacts.require(student_folder / checkpoints.WEIGHTS, "dvc repro"))
    quantized_file = artifacts.require(Path(chosen["folder"]) / tensors.INT8, "dvc repro quantize")
    integers = load_file(quantized_file)
    with safe_open(quantized_file, framework="np") as file:
        levels = 128 if file.metadata()["reduce_range"] == "true" else 256
    teacher = logits.load("teacher", "dvc repro finetune-teacher")["validation"]
    student = logits.load(STUDENT, "dvc repro distill")["validation"]
    intents, rows = splits.load_intents(CLINC), splits.load(CLINC, "validation")

    probabilities, answers = (softening.softened(array, TEMPERATURES) for array in (teacher, student))
    sure, torn = softening.telling(probabilities[0])
    queries = []
    for row in (sure, torn):
        likeliest = np.argsort(-teacher[row], kind="stable")[:6]
        names = [intents.names[label] for label in likeliest]
        queries.append(Softened(rows[row].intent, names, probabilities[:, row, likeliest], answers[:, row, likeliest]))
    pull = softening.pull(student, teacher, TEMPERATURES)

    layers = [name for name in tensors.widest_layers(weights) if f"{name}.weight_int8" in integers]
    if not layers:
        raise PipelineError(f"the primer shows a feed-forward layer in int8, and {chosen['folder']} has none")
    layer = layers[-1]
    matrix = weights[f"{layer}.weight"]
    quantized, scales = integers[f"{layer}.weight_int8"], integers[f"{layer}.scales"]
    caught = inputs_of(student_folder, layers, rows[sure].text)
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
    files = [path.stat().st_size for path in (student_folder / checkpoints.WEIGHTS, quantized_file)]
    multiply = benchmark["multiply"]
    pair: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None)
    if PRUNED in folders:
        pruned = load_file(artifacts.require(folders[PRUNED] / checkpoints.WEIGHTS, "dvc repro prune"))
        student_weights = load_file(artifacts.require(DATA / STUDENT / checkpoints.WEIGHTS, "dvc repro distill"))
        pair = (student_weights[f"{layer}.weight"], pruned[f"{layer}.weight"])

    style.use(figures.STYLE)
    pictures = {
        "affine": primer_figures.affine_maps(maps),
        "weights": figures.weight_histogram(layer, matrix, quantized, scales),
        "storage": primer_figures.storage(before, after),
        "multiply": primer_figures.multiplication(
            multiply["outputs"], multiply["inputs"], {int(tokens): row for tokens, row in multiply["tokens"].items()}
        ),
        "temperature": primer_figures.temperatures(queries, TEMPERATURES),
        "gradient": primer_figures.gradients(TEMPERATURES, pull.plain, pull.scaled),
        "pruning": primer_figures.pruning(*pair),
    }
    sections = [
        primer_page.OPENING,
        primer_page.affine_map(layer, *maps, caught),
        primer_page.rounding(matrix, quantized, scales),
        primer_page.storage(before, after, files),
        primer_page.multiplication(multiply, benchmark["machine"]),
        primer_page.temperature(queries, TEMPERATURES, len(intents.names)),
        primer_page.divergence(TEMPERATURES, pull),
        primer_page.pruning(layer, *pair),
    ]
    with artifacts.new_folder(PRIMER) as folder:
        for name, figure in pictures.items():
            figures.save(figure, folder / f"{name}.png", DPI)
        artifacts.write_text(folder / "README.md", "\n".join(sections))


if __name__ == "__main__":
    run_program(main)
