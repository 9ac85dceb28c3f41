"""primer: every number on the page is computed again here, in NumPy, from the files that it tells of."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import contents, run
from made import texts
from primer.inputs import INTENTS, LAYER, VARIANTS
from safetensors.numpy import load_file, save_file

from intents.int8 import kernels
from intents.models import checkpoints
from intents.primer import affine, tensors
from stages import primer


def read_page() -> str:
    return Path("reports/primer/README.md").read_text()


def prose(text: str) -> str:
    """The text with line breaks taken for the spaces they are."""
    return " ".join(text.split())


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    odds = np.exp(logits.astype(np.float64) / temperature)
    return odds / odds.sum(axis=-1, keepdims=True)


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the Markdown table whose header begins with `first`."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_scales_and_zero_points_are_those_that_torch_chooses(page: str) -> None:
    text = prose(page)
    probabilities = softmax(load_file("data/logits/teacher.safetensors")["validation"], 1)
    sure = np.argsort(probabilities.max(axis=1), kind="stable")[len(probabilities) // 2]
    values = primer.inputs_of(Path("models/half"), [LAYER], texts("validation")[sure])[LAYER]
    weight = load_file("models/half/model.safetensors")[f"{LAYER}.weight"]
    chosen = torch.quantize_per_tensor_dynamic(torch.from_numpy(values), torch.quint8, reduce_range=False)
    assert f"from −{-values.min():.2f} to {values.max():.2f}" in text
    assert f"$Z = {chosen.q_zero_point()}$" in text
    assert affine.Affine.asymmetric(values.min(), values.max()).scale == pytest.approx(chosen.q_scale(), rel=1e-6)
    assert f"In the row shown $S$ is {np.abs(weight[0]).max() / 127:.4g}" in text
    limit = np.quantile(values, 0.999)
    assert f"{(values > limit + (limit - values.min()) / 510).sum()} of {values.size:,} values" in text


def test_a_layer_is_given_what_its_predecessors_give(inputs: Path) -> None:
    """The inputs of a feed-forward layer are GELU of the layer before it."""
    text = texts("validation")[0]
    before = LAYER.replace("output", "intermediate")
    caught = primer.inputs_of(Path("models/half"), [LAYER, before], text)
    state = {name: torch.from_numpy(value) for name, value in load_file("models/half/model.safetensors").items()}
    linear = torch.from_numpy(caught[before]) @ state[f"{before}.weight"].T + state[f"{before}.bias"]
    assert caught[LAYER] == pytest.approx(torch.nn.functional.gelu(linear).numpy(), abs=1e-5)


def declare(**variants: object) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"variants": VARIANTS | variants}))


@pytest.mark.usefixtures("inputs")
def test_an_int8_model_is_set_against_the_one_it_was_made_from() -> None:
    run(primer)
    expected = contents(Path("reports/primer"))
    for path in ("models/half", "models/half-torch-dynamic", "data/logits/half.safetensors"):
        Path(path).rename(path.replace("half", "half-qat"))
    declare(models=["teacher", "half-qat"], torch_models=["half-qat"])
    run(primer)
    assert contents(Path("reports/primer")) == expected


@pytest.mark.usefixtures("inputs")
def test_the_teacher_in_int8_is_passed_over_for_the_student() -> None:
    run(primer)
    expected = contents(Path("reports/primer"))
    declare(torch_models=["teacher", "half"])
    run(primer)
    assert contents(Path("reports/primer")) == expected


def test_seven_bit_activations_are_drawn_as_such(inputs: Path) -> None:
    student = checkpoints.load_classifier(Path("models/half"))
    scheme = kernels.Scheme(per_row=True, reduce_range=True, embeddings=True, float_layers=[])
    kernels.save(kernels.quantize(student, scheme), Path("models/half-torch-dynamic"))
    run(primer)
    assert r"$S = (\max - \min) / 127$" in read_page()


@pytest.mark.usefixtures("inputs")
def test_a_static_model_is_drawn_as_well() -> None:
    student = checkpoints.load_classifier(Path("models/half"))
    scheme = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
    ranges = dict.fromkeys(kernels.linear_layers(student, scheme), kernels.Range(-1.0, 1.0))
    run(primer)
    of_dynamic = read_page()
    kernels.save(kernels.quantize(student, scheme, ranges), Path("models/half-torch-dynamic"))
    run(primer)
    # The same weights; only the size of the file, which the ranges are a part of, may be told otherwise.
    assert [line for line in of_dynamic.splitlines() if "MiB" not in line] == [
        line for line in read_page().splitlines() if "MiB" not in line
    ]


def test_rounding_is_told_as_it_is(page: str) -> None:
    text = prose(page)
    weight = load_file("models/half/model.safetensors")[f"{LAYER}.weight"].astype(np.float64)
    step = np.abs(weight).max(axis=1, keepdims=True) / 127
    error = np.round(weight / step) * step - weight
    everywhere = np.abs(weight).max() / 127
    coarse = np.round(weight / everywhere) * everywhere - weight

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt((values**2).mean()))

    assert f"The {weight.size:,} weights" in text
    assert f"{len(np.unique(np.round(weight / step)))} distinct integers" in text
    assert f"root mean square is {rms(error / step):.3f} of a step" in text
    assert f"That is {100 * rms(error) / rms(weight):.2f} %" in text
    assert f"{rms(coarse) / rms(error):.1f} times as large" in text


def test_storage_is_that_of_the_files(page: str) -> None:
    *parts, whole = table(page, "MiB")
    kinds = {"int8": 0, "scales": 0, "float32": 0}
    for name, tensor in load_file("models/half-torch-dynamic/int8.safetensors").items():
        kinds["scales" if name.endswith(".scales") else str(tensor.dtype)] += tensor.size * tensor.itemsize
    floats = sum(4 * tensor.size for tensor in load_file("models/half/model.safetensors").values())
    assert whole == ["all", *(f"{count / 2**20:.2f}" for count in (floats, *kinds.values()))]
    assert [part for part, *_ in parts] == list(tensors.PARTS)
    for column in range(1, 5):
        assert sum(float(row[column]) for row in parts) == pytest.approx(float(whole[column]), abs=0.03)
    assert f"Scales cost {100 * kinds['scales'] / kinds['int8']:.2f} %" in prose(page)
    assert f"shrink {floats / sum(kinds.values()):.2f} times" in prose(page)
    sizes = [Path(f"models/{name}.safetensors").stat().st_size for name in ("half/model", "half-torch-dynamic/int8")]
    assert "from {:.2f} to {:.2f} MiB".format(*(size / 2**20 for size in sizes)) in prose(page)


def test_the_product_is_that_of_the_benchmark(page: str) -> None:
    measured = json.loads(Path("reports/latency.json").read_text())["multiply"]["tokens"]
    rows = table(page, "tokens")
    assert [row[0] for row in rows] == ["1", "4", "16", "64"]
    for tokens, floats, integers, faster in rows:
        row = measured[tokens]
        low, high = row["speedup_interval"]
        assert (floats, integers) == (f"{row['float32_us']:.0f}", f"{row['int8_us']:.0f}")
        assert faster == f"{row['speedup']:.1f} × [{low:.1f}, {high:.1f}]"


def test_temperatures_soften_the_teachers_own_answers(page: str) -> None:
    text = prose(page)
    logits = load_file("data/logits/teacher.safetensors")["validation"]
    top, second = np.sort(softmax(logits, 1), axis=1)[:, ::-1][:, :2].T
    torn = second.argmax()
    sure = np.argsort(top, kind="stable")[len(top) // 2]
    first, next_ = np.argsort(-logits[sure])[:2]
    at_1, at_4 = softmax(logits[sure], 1), softmax(logits[sure], 4)
    assert (
        f"`{INTENTS.names[first]}` has {100 * at_1[first]:.2f} % at $T = 1$ and {100 * at_4[first]:.2f} % at $T = 4$; "
        f"the next, `{INTENTS.names[next_]}`, goes from {100 * at_1[next_]:.2f} % to {100 * at_4[next_]:.2f} %"
    ) in text
    assert f"have {100 * top[torn]:.2f} % and {100 * second[torn]:.2f} %" in text


def test_divergence_and_gradients_are_those_of_the_formula(page: str) -> None:
    rows = table(page, "T")
    teacher, student = (load_file(f"data/logits/{name}.safetensors")["validation"] for name in ("teacher", "half"))
    assert [float(row[0]) for row in rows] == [1, 2, 4, 8]
    for step, divergence, plain, scaled in (map(float, row) for row in rows):
        p, q = softmax(teacher, step), softmax(student, step)
        norm = np.linalg.norm((q - p) / step, axis=1).mean()
        assert divergence == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), abs=6e-5)
        assert plain == pytest.approx(norm, abs=6e-6)
        assert scaled == pytest.approx(step**2 * norm, abs=6e-5)


def test_pruned_weights_are_told_of_where_there_are_some(
    inputs: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    assert "Middle and right" not in page
    state = load_file("models/half/model.safetensors")
    weight = state[f"{LAYER}.weight"]
    weight[:, ::4] = 0
    Path("models/half-movement").mkdir()
    save_file(state, "models/half-movement/model.safetensors")
    declare(models=["teacher", "half", "half-movement"])
    run(primer)
    told = f"the weights of `{LAYER}` before and after movement pruning, which left 75.00 % of them"
    assert told in prose(read_page())
