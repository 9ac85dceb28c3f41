"""prune: what a run is given, how it goes on after an interruption, and what is refused."""

import zlib
from pathlib import Path

import interruption
import numpy as np
import pytest
import yaml
from conftest import compose, contents, run
from made import figures, matrices, pruning_schedule, zeros

from intents.core import techniques
from intents.core.errors import PipelineError
from stages import prune

METHODS = ("magnitude", "movement", "structured")
OUTPUTS = (
    *(f"models/half-{method}" for method in METHODS),
    *("data/logits", "reports/models", "reports/training", "reports/pruning"),
)


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_within_each_layer_both_methods_reach_the_sparsity(overrides: list[str], method: str) -> None:
    compose(*overrides, *(f"prune.{method}.{key}" for key in ("scope=layer", "sparsity=0.6", "epochs=1")))
    run(prune, method)
    for weights in matrices(f"half-{method}").values():
        assert (weights == 0).mean() == pytest.approx(0.6, abs=1 / weights.size)


@pytest.mark.usefixtures("built")
def test_a_run_shorter_than_an_interval_is_pruned_all_the_same(overrides: list[str]) -> None:
    compose(*overrides, "prune.movement.epochs=1", "prune.movement.interval=1000", "prune.movement.sparsity=0.5")
    run(prune, "movement")
    share, count = zeros("half-movement")
    assert share == pytest.approx(0.5, abs=1 / count)
    assert figures("half-movement")["encoder_sparsity"] == pytest.approx(0.5, abs=1e-4)
    assert [row["step"] for row in pruning_schedule("half-movement")] == [0, 10]


@pytest.mark.parametrize("method", ["movement", "structured"])
def test_an_interrupted_run_goes_on_with_what_it_has_cut_and_ends_with_the_same_bytes(
    built: Path, built_once: Path, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    with interruption.in_epoch(2), pytest.raises(KeyboardInterrupt):
        run(prune, method)
    assert outputs(built) == outputs(built_once)
    for made in (f"models/half-{method}/*", f"reports/*/half-{method}.*", f"reports/pruning/half-{method}-*"):
        for path in built.glob(made):
            path.unlink()
    with caplog.at_level("INFO"):
        run(prune, method)
    assert any(message.startswith(f"resuming from data/.training/half-{method}-") for message in caplog.messages)
    assert outputs(built) == outputs(built_once)


@pytest.mark.usefixtures("built")
def test_each_technique_prunes_the_student_that_its_section_names(overrides: list[str]) -> None:
    # At so low a rate, the weights that are kept stay those of the student that they come from.
    short = ("prune.magnitude.epochs=1", "prune.magnitude.end=0.2", "prune.magnitude.learning_rate=1.0e-8")
    compose(*overrides, "prune.magnitude.student=labels", *short)
    before = contents(Path("models/half-magnitude"))
    run(prune, "magnitude")
    kept = matrices("labels-magnitude")
    apart = {
        student: np.mean([np.abs(kept[name] - weights)[kept[name] != 0].mean() for name, weights in theirs.items()])
        for student, theirs in {"labels": matrices("labels"), "half": matrices("half")}.items()
    }
    assert apart["labels"] < apart["half"]
    content = Path("models/labels/model.safetensors").read_bytes()
    assert figures("labels-magnitude")["compressed_mb_before"] == pytest.approx(
        len(zlib.compress(content)) / 2**20, abs=1e-6
    )
    assert contents(Path("models/half-magnitude")) == before


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.7, 0.1)])
def test_a_ramp_that_does_not_rise_is_refused(built: Path, overrides: list[str], start: float, end: float) -> None:
    before = outputs(built)
    compose(*overrides, f"prune.movement.start={start}", f"prune.movement.end={end}")
    named = f"`prune.movement.start` is {start}; allowed: below `prune.movement.end`, which is {end}"
    with pytest.raises(PipelineError, match=named):
        run(prune, "movement")
    assert outputs(built) == before


@pytest.mark.usefixtures("project")
def test_the_techniques_are_the_modules_with_settings_and_each_has_its_section() -> None:
    assert techniques.names("intents.pruning") == list(METHODS)
    assert set(yaml.safe_load(Path("params.yaml").read_text())["prune"]) == set(METHODS)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["lottery", "masks", "common"])
def test_another_technique_is_refused_and_all_are_named(name: str) -> None:
    allowed = "allowed: magnitude, movement, structured"
    with pytest.raises(PipelineError, match=f"'{name}' is no technique of intents.pruning; {allowed}"):
        run(prune, name)


def test_a_technique_that_params_yaml_does_not_choose_is_refused(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    del params["prune"]["magnitude"]
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(PipelineError, match=r"params.yaml has no section `prune.magnitude`"):
        run(prune, "magnitude")
