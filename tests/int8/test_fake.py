"""fake quantization: what training sees is what int8 gives, and the gradients are the papers'."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from intents.int8 import fake, kernels
from intents.int8.fake import FakeQuantizedInput, FakeQuantizer, fake_quantize_rows
from intents.int8.kernels import Range, Scheme
from intents.training import trainer

BATCH = {
    "input_ids": torch.randint(1000, 2000, (8, 12), generator=torch.Generator().manual_seed(0)),
    "labels": torch.arange(8) % 5,
}


def scheme(**changes: object) -> Scheme:
    return Scheme(**{"per_row": True, "reduce_range": False, "embeddings": True, "float_layers": []} | changes)


@pytest.fixture
def model(tiny_checkpoint: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=5).eval()


def ranges_of(model: PreTrainedModel, chosen: Scheme) -> dict[str, Range]:
    return {name: Range(-2.5, 3.5) for name in kernels.linear_layers(model, chosen)}


@pytest.mark.parametrize(
    "chosen",
    [
        scheme(),
        scheme(per_row=False, embeddings=False),
        scheme(reduce_range=True),
        scheme(float_layers=["classifier"]),
    ],
)
def test_the_int8_model_gives_the_logits_that_training_saw(model: PreTrainedModel, chosen: Scheme) -> None:
    plain = model(**BATCH).logits.detach()
    quantizer = FakeQuantizer.attach(model, chosen, ranges_of(model, chosen))
    seen = model(**BATCH).logits.detach()
    ranges = quantizer.finish()
    assert torch.equal(model(**BATCH).logits, plain)
    converted = kernels.quantize(model, chosen, ranges)(**BATCH).logits.detach()
    # A value next to the middle of two levels may be rounded to either: a step in an input, in a query or two.
    apart = (converted - seen).abs().amax(dim=1)
    assert (apart < 1e-5).sum() >= 6
    assert apart.max() < 0.3 * (plain - seen).abs().max()


def test_finishing_leaves_an_ordinary_model(model: PreTrainedModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    FakeQuantizer.attach(model, scheme(), ranges_of(model, scheme())).finish()
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_gradients_of_weights_pass_straight_through() -> None:
    weight = torch.randn(4, 6, requires_grad=True)
    factors = torch.randn(4, 6)
    fake = fake_quantize_rows(weight, per_row=True)
    (fake * factors).sum().backward()
    assert torch.equal(weight.grad, factors)
    assert 0 < (fake - weight).abs().max() <= weight.abs().max() / 127 * 0.501


def test_every_weight_and_range_learns(model: PreTrainedModel) -> None:
    FakeQuantizer.attach(model, scheme(), ranges_of(model, scheme()))
    model(**BATCH).loss.backward()
    silent = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    # A key's bias shifts all scores of a query alike, which softmax does not see; no input here is beyond all ranges.
    assert [name for name in silent if "key.bias" not in name] == []


def numbers(low: float, high: float, levels: int, inputs: np.ndarray) -> np.ndarray:
    """The quantized inputs, in float64, by NumPy."""
    scale = (high - low) / levels
    zero_point = np.rint(-low / scale)
    return (np.clip(np.rint(inputs / scale) + zero_point, 0, levels) - zero_point) * scale


def test_inputs_are_quantized_and_have_the_gradients_of_learned_steps() -> None:
    low, high, levels = -1.0, 2.0, 15  # the zero point, 5, needs no rounding
    inputs = torch.tensor([-1.7, -0.93, -0.31, 0.0, 0.47, 1.12, 1.83, 2.6, 3.3], requires_grad=True)
    factors = torch.tensor([0.3, -1.0, 0.7, 2.0, 1.1, -0.4, 0.9, -0.6, 0.5])
    module = FakeQuantizedInput(Range(low, high), levels)
    found = module(inputs)
    values = inputs.detach().numpy().astype(np.float64)
    expected = numbers(low, high, levels, values)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)

    (found * factors).sum().backward()
    below, above = values < low, values > high
    within = ~below & ~above
    np.testing.assert_allclose(inputs.grad.numpy(), factors.numpy() * within, atol=1e-6)
    # Esser et al. (2020), equation 3, for the step s: round(x/s) − x/s within, the clipped level outside.
    step = (high - low) / levels
    of_step = np.where(below, -5, np.where(above, 10, np.rint(values / step) - values / step))
    # x̂ = s · level − shift: both ends move the step, and what is clipped moves with its end.
    of_high = np.where(within, of_step / levels, above)
    of_low = np.where(within, -of_step / levels, below)
    scale = (len(values) * levels) ** -0.5
    assert float(module.high.grad) == pytest.approx(scale * (factors.numpy() * of_high).sum(), abs=1e-6)
    assert float(module.low.grad) == pytest.approx(scale * (factors.numpy() * of_low).sum(), abs=1e-6)


def test_a_range_learns_to_take_in_what_it_clipped() -> None:
    torch.manual_seed(0)
    inputs = torch.rand(4000) * 6 - 2
    module = FakeQuantizedInput(Range(-0.5, 1.0), 255)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        ((module(inputs) - inputs) ** 2).mean().backward()
        optimizer.step()
    assert module.range() == pytest.approx((-2, 4), abs=0.15)


def test_a_range_never_leaves_zero_out() -> None:
    module = FakeQuantizedInput(Range(-0.1, 1.0), 255)
    with torch.no_grad():
        module.low.fill_(0.4)
    assert module.range() == (0.0, 1.0)
    inputs = torch.linspace(0, 1, 50)
    assert torch.allclose(module(inputs), inputs, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(("end", "value"), [("low", 0.4), ("high", -0.4)])
def test_an_end_that_a_step_put_beyond_zero_learns_on(end: str, value: float) -> None:
    torch.manual_seed(0)
    inputs = torch.rand(4000) * 4 - 2
    module = FakeQuantizedInput(Range(-1.0, 1.0), 255)
    with torch.no_grad():
        module.get_parameter(end).fill_(value)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        ((module(inputs) - inputs) ** 2).mean().backward()
        optimizer.step()
    assert module.range() == pytest.approx((-2, 2), abs=0.15)


def test_a_layer_that_is_called_twice_in_a_pass_learns_from_both_calls() -> None:
    inputs, grads = torch.tensor([-1.7, 0.4, 2.6]), []
    for calls in (1, 2):
        module = FakeQuantizedInput(Range(-1.0, 1.0), 255)
        sum(module(inputs) for _ in range(calls)).sum().backward()
        grads.append(torch.stack([module.low.grad, module.high.grad]))
    assert grads[0].abs().min() > 0
    assert torch.equal(2 * grads[0], grads[1])


def test_ranges_have_a_learning_rate_of_their_own_and_do_not_decay(model: PreTrainedModel) -> None:
    FakeQuantizer.attach(model, scheme(), ranges_of(model, scheme()))
    groups = trainer.adamw(
        model,
        trainer.Schedule(epochs=1, batch_size=8, learning_rate=1e-4, warmup=0.0, weight_decay=0.1),
        fake.is_range,
        1e-2,
    ).param_groups
    rates = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    layer = model.bert.pooler.dense
    assert rates[id(layer.fake_quantized_input.low)] == (1e-2, 0.0)
    assert rates[id(layer.parametrizations.weight.original)] == (1e-4, 0.1)
    assert rates[id(layer.bias)] == (1e-4, 0.0)


def test_training_state_survives_a_round_trip(model: PreTrainedModel) -> None:
    other = copy.deepcopy(model)
    FakeQuantizer.attach(model, scheme(), ranges_of(model, scheme()))
    with torch.no_grad():
        model.bert.pooler.dense.fake_quantized_input.high.fill_(1.25)
    quantizer = FakeQuantizer.attach(other, scheme(), ranges_of(other, scheme()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(**BATCH).logits, model(**BATCH).logits)
    assert quantizer.finish()["bert.pooler.dense"] == Range(-2.5, 1.25)
