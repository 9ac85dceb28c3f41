"""primer: every number on the page is computed again here, in NumPy, from the files that it tells of."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents, micro_data_set, run
from safetensors.numpy import load_file, save_file

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.int8 import kernels
from intents.models import checkpoints
from intents.primer import affine, figures, page, softening, tensors
from intents.timing import product
from stages import primer

PICTURES = {"affine", "weights", "storage", "multiply", "temperature", "gradient", "pruning"}
LAYER = "bert.encoder.layer.3.output.dense"
VARIANTS = {
    "teacher": {"folder": "data/teacher"},
    "student-torch-dynamic": {"folder": "data/quantized/dynamic", "parity": {"parent": "student"}},
}
INTENTS = corpus.Intents(["alarm", "music", "weather", "oos"], dict.fromkeys(["alarm", "music", "weather"], "daily"))
ROWS = {
    split: corpus.canonical([corpus.Row(*row) for name in names for row in micro_data_set()[name]])
    for split, names in {
        "train": ["train", "oos_train"],
        "validation": ["val", "oos_val"],
        "test": ["test", "oos_test"],
    }.items()
}


@pytest.fixture(scope="module")
def inputs_once(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the stage reads: an untrained student, its int8 weights, logits drawn at random, a quick timing."""
    folder = tmp_path_factory.mktemp("primer")
    data = folder / "data"
    corpus.save(data / "clinc", ROWS, INTENTS)
    torch.manual_seed(0)
    student = checkpoints.load_classifier(tiny_checkpoint, INTENTS)
    student.save_pretrained(data / "student")
    checkpoints.load_tokenizer(tiny_checkpoint).save_pretrained(data / "student")
    (data / "quantized/dynamic").mkdir(parents=True)
    scheme = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
    kernels.save(kernels.quantize(student, scheme), data / "quantized/dynamic")
    (data / "logits").mkdir()
    draw = np.random.default_rng(0)
    for name in ("teacher", "student"):
        logits = 3 * draw.normal(size=(len(ROWS["validation"]), 4))
        save_file({"validation": logits.astype(np.float32)}, data / f"logits/{name}.safetensors")
    weight = load_file(data / "student/model.safetensors")[f"{LAYER}.weight"]
    timings = product.multiply_timings(weight, calls=3, seed=0, samples=100)
    (folder / "reports").mkdir()
    (folder / "reports/benchmark.json").write_text(
        json.dumps({"machine": {"cpu": "a CPU", "threads": 1}, "multiply": timings, "variants": VARIANTS})
    )
    return folder


@pytest.fixture
def inputs(inputs_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the current folder; a copy, so a test may change it."""
    shutil.copytree(inputs_once, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="module")
def written_once(inputs_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "project"
    shutil.copytree(inputs_once, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        run(primer)
    return folder


@pytest.fixture
def page(written_once: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, with the folder that it was written in as the current one; a test leaves that as it was."""
    monkeypatch.chdir(written_once)
    return read_page()


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


# The stage.


def test_pictures_and_page_are_written_and_the_page_shows_each(
    inputs_once: Path, written_once: Path, page: str
) -> None:
    written = contents(written_once).keys() - contents(inputs_once).keys()
    assert written == {"reports/primer/README.md", *(f"reports/primer/{name}.png" for name in PICTURES)}
    assert set(re.findall(r"!\[[^]]+\]\((\w+)\.png\)", page)) == PICTURES
    for name in PICTURES:
        assert (written_once / f"reports/primer/{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_same_inputs_give_the_same_bytes(inputs: Path, written_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(primer)
    assert contents(inputs) == contents(written_once)


def test_no_query_is_on_the_page(page: str) -> None:
    assert [row.text for rows in ROWS.values() for row in rows if row.text in page] == []


def test_formulas_have_no_escapes_that_markdown_would_take_for_its_own(page: str) -> None:
    assert re.findall(r"\\[^A-Za-z]", page) == []


@pytest.mark.parametrize(
    ("gone", "made_by"),
    [
        ("data/student/model.safetensors", "dvc repro"),
        ("data/quantized/dynamic/int8.safetensors", "dvc repro quantize"),
        ("data/logits/teacher.safetensors", "dvc repro finetune-teacher"),
        ("data/logits/student.safetensors", "dvc repro distill"),
        ("data/clinc/validation.jsonl", "dvc repro fetch-clinc"),
        ("reports/benchmark.json", "dvc repro benchmark"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run_and_writes_nothing(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, gone: str, made_by: str
) -> None:
    (inputs / gone).unlink()
    before = contents(inputs)
    with pytest.raises(PipelineError, match=f"{gone} not found; run `{made_by}`"):
        run(primer)
    assert contents(inputs) == before


def test_a_benchmark_without_the_product_is_refused(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inputs / "reports/benchmark.json").write_text('{"machine": {}}')
    with pytest.raises(PipelineError, match=r"benchmark.json has no `multiply`; run `dvc repro benchmark`"):
        run(primer)


def told_of(variants: dict[str, dict[str, str]]) -> None:
    path = Path("reports/benchmark.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"variants": variants}))


@pytest.mark.usefixtures("inputs")
def test_without_a_student_in_int8_it_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    told_of({"teacher": {"folder": "data/teacher"}})
    with pytest.raises(PipelineError, match="`quantize` makes none: add dynamic to it"):
        run(primer)


# The numbers on the page.


def test_scales_and_zero_points_are_those_that_torch_chooses(page: str) -> None:
    text = prose(page)
    probabilities = softmax(load_file("data/logits/teacher.safetensors")["validation"], 1)
    sure = np.argsort(probabilities.max(axis=1), kind="stable")[len(probabilities) // 2]
    values = primer.inputs_of(Path("data/student"), [LAYER], ROWS["validation"][sure].text)[LAYER]
    weight = load_file("data/student/model.safetensors")[f"{LAYER}.weight"]
    chosen = torch.quantize_per_tensor_dynamic(torch.from_numpy(values), torch.quint8, reduce_range=False)
    assert f"from −{-values.min():.2f} to {values.max():.2f}" in text
    assert f"$Z = {chosen.q_zero_point()}$" in text
    assert affine.Affine.asymmetric(values.min(), values.max()).scale == pytest.approx(chosen.q_scale(), rel=1e-6)
    assert f"In the row shown $S$ is {np.abs(weight[0]).max() / 127:.4g}" in text
    limit = np.quantile(values, 0.999)
    assert f"{(values > limit + (limit - values.min()) / 510).sum()} of {values.size:,} values" in text


def test_a_layer_is_given_what_its_predecessors_give(inputs: Path) -> None:
    """The inputs of a feed-forward layer are GELU of the layer before it."""
    text = ROWS["validation"][0].text
    before = LAYER.replace("output", "intermediate")
    caught = primer.inputs_of(Path("data/student"), [LAYER, before], text)
    state = {name: torch.from_numpy(value) for name, value in load_file("data/student/model.safetensors").items()}
    linear = torch.from_numpy(caught[before]) @ state[f"{before}.weight"].T + state[f"{before}.bias"]
    assert caught[LAYER] == pytest.approx(torch.nn.functional.gelu(linear).numpy(), abs=1e-5)


def test_an_int8_model_is_set_against_the_one_it_was_made_from(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(primer)
    expected = contents(Path("reports/primer"))
    (inputs / "data/student").rename(inputs / "data/qat")
    path = inputs / "reports/benchmark.json"
    path.write_text(path.read_text().replace('"parent": "student"', '"parent": "qat"'))
    run(primer)
    assert contents(Path("reports/primer")) == expected


def test_seven_bit_activations_are_drawn_as_such(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = checkpoints.load_classifier(Path("data/student"))
    scheme = kernels.Scheme(per_row=True, reduce_range=True, embeddings=True, float_layers=[])
    kernels.save(kernels.quantize(student, scheme), Path("data/quantized/dynamic"))
    run(primer)
    assert r"$S = (\max - \min) / 127$" in read_page()


@pytest.mark.usefixtures("inputs")
def test_a_static_model_is_drawn_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    student = checkpoints.load_classifier(Path("data/student"))
    scheme = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
    ranges = dict.fromkeys(kernels.linear_layers(student, scheme), kernels.Range(-1.0, 1.0))
    run(primer)
    of_dynamic = read_page()
    kernels.save(kernels.quantize(student, scheme, ranges), Path("data/quantized/dynamic"))
    run(primer)
    # The same weights; only the size of the file, which the ranges are a part of, may be told otherwise.
    assert [line for line in of_dynamic.splitlines() if "MiB" not in line] == [
        line for line in read_page().splitlines() if "MiB" not in line
    ]


def test_rounding_is_told_as_it_is(page: str) -> None:
    text = prose(page)
    weight = load_file("data/student/model.safetensors")[f"{LAYER}.weight"].astype(np.float64)
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
    for name, tensor in load_file("data/quantized/dynamic/int8.safetensors").items():
        kinds["scales" if name.endswith(".scales") else str(tensor.dtype)] += tensor.size * tensor.itemsize
    floats = sum(4 * tensor.size for tensor in load_file("data/student/model.safetensors").values())
    assert whole == ["all", *(f"{count / 2**20:.2f}" for count in (floats, *kinds.values()))]
    assert [part for part, *_ in parts] == list(tensors.PARTS)
    for column in range(1, 5):
        assert sum(float(row[column]) for row in parts) == pytest.approx(float(whole[column]), abs=0.03)
    assert f"Scales cost {100 * kinds['scales'] / kinds['int8']:.2f} %" in prose(page)
    assert f"shrink {floats / sum(kinds.values()):.2f} times" in prose(page)
    sizes = [Path(f"data/{name}.safetensors").stat().st_size for name in ("student/model", "quantized/dynamic/int8")]
    assert "from {:.2f} to {:.2f} MiB".format(*(size / 2**20 for size in sizes)) in prose(page)


def test_the_product_is_that_of_the_benchmark(page: str) -> None:
    measured = json.loads(Path("reports/benchmark.json").read_text())["multiply"]["tokens"]
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
    teacher, student = (load_file(f"data/logits/{name}.safetensors")["validation"] for name in ("teacher", "student"))
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
    state = load_file("data/student/model.safetensors")
    weight = state[f"{LAYER}.weight"]
    weight[:, ::4] = 0
    Path("data/pruned-movement").mkdir()
    save_file(state, "data/pruned-movement/model.safetensors")
    told_of(VARIANTS | {"pruned-movement": {"folder": "data/pruned-movement"}})
    run(primer)
    told = f"the weights of `{LAYER}` before and after movement pruning, which left 75.00 % of them"
    assert told in prose(read_page())


# The pieces, on matrices whose answers are known.


@pytest.mark.parametrize(
    ("found", "scale", "zero_point"),
    [
        (affine.Affine.symmetric(12.7), 0.1, 0),
        (affine.Affine.asymmetric(-1.0, 1.55), 0.01, 100),
        (affine.Affine.asymmetric(2.0, 5.1), 0.02, 0),  # the range is widened down to zero
        (affine.Affine.asymmetric(-5.1, -1.0), 0.02, 255),  # and up
        (affine.Affine.asymmetric(-0.27, 1.0, levels=128), 0.01, 27),
    ],
)
def test_scale_and_zero_point(found: affine.Affine, scale: float, zero_point: int) -> None:
    assert found.scale == pytest.approx(scale)
    assert found.zero_point == zero_point
    assert found.restore(np.array(zero_point)) == 0


def test_values_go_to_the_nearest_integer_and_beyond_the_range_to_the_last() -> None:
    found = affine.Affine(0.5, 10, 0, 15)
    values = np.array([-5.0, -5.3, -1.2, 0.0, 0.2, 0.3, 2.5, 9.0])
    assert found.quantize(values).tolist() == [0, 0, 8, 10, 10, 11, 15, 15]
    assert found.clipped(values).tolist() == [False, True, *[False] * 5, True]
    assert found.rms_error(np.array([0.0, 0.2, 9.0])) == pytest.approx(np.sqrt((0.2**2 + 6.5**2) / 3))


def test_parts_and_bytes_of_either_family() -> None:
    names = {
        "bert.embeddings.word_embeddings.weight_int8": "embeddings",
        "bert.embeddings.word_embeddings.scales": "embeddings",
        "bert.encoder.layer.0.attention.output.LayerNorm.weight": "attention",
        "distilbert.transformer.layer.0.sa_layer_norm.bias": "attention",
        "distilbert.transformer.layer.0.attention.q_lin.weight": "attention",
        "bert.encoder.layer.0.output.LayerNorm.weight": "feed-forward",
        "distilbert.transformer.layer.0.ffn.lin2.weight": "feed-forward",
        "bert.pooler.dense.weight": "head",
        "pre_classifier.bias": "head",
        "classifier.weight": "head",
    }
    assert {name: tensors.part_of(name) for name in names} == names
    state = {name: np.zeros((2, 3), np.int8 if name.endswith("_int8") else np.float32) for name in names}
    assert tensors.bytes_by_part(state) == {
        "embeddings": {"int8": 6, "scales": 24, "float32": 0},
        "attention": {"int8": 0, "scales": 0, "float32": 72},
        "feed-forward": {"int8": 0, "scales": 0, "float32": 48},
        "head": {"int8": 0, "scales": 0, "float32": 72},
    }


def test_the_widest_layers_are_linear_and_have_the_most_inputs() -> None:
    shapes = {
        "b.weight": (2, 8),
        "b.bias": (2,),
        "a.weight": (3, 8),
        "a.bias": (3,),
        "c.weight": (9, 2),
        "c.bias": (9,),
    }
    embeddings = {"embeddings.weight": (100, 50)}
    state = {name: np.zeros(shape, np.float32) for name, shape in (shapes | embeddings).items()}
    assert tensors.widest_layers(state) == ["a", "b"]


def test_the_telling_queries() -> None:
    probabilities = np.array([[0.9, 0.06, 0.04], [0.5, 0.45, 0.05], [0.8, 0.1, 0.1], [0.99, 0.01, 0], [0.6, 0.3, 0.1]])
    assert softening.telling(probabilities) == (2, 1)


BEFORE = np.array([[0.1, -0.2, 0.3, -0.4], [0.5, -0.6, 0.7, -0.8]])
AFTER = np.array([[0.2, 0.0, 0.0, -0.5], [0.0, -0.5, 0.0, -0.9]])  # four of eight are kept


def test_what_movement_keeps_is_told_by_size_and_direction() -> None:
    text = prose(page.pruning("layer", np.tile(BEFORE, (3, 1)), np.tile(AFTER, (3, 1))))
    assert "which left 50.00 % of them" in text
    assert "50.00 % of those it kept are so small" in text  # 0.1 and 0.4 of 0.1, 0.4, 0.6 and 0.8
    assert "75.00 % of the kept weights ended further from zero" in text  # all but −0.6


def test_shares_kept_by_size() -> None:
    kept = AFTER != 0
    assert figures.kept_by_size(BEFORE, kept, groups=4).tolist() == [0.5, 0.5, 0.5, 0.5]
    assert figures.kept_by_size(BEFORE, kept, groups=8).tolist() == [1, 0, 0, 1, 0, 1, 0, 1]
