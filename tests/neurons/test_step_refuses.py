"""The prepared step refuses what the operation refuses: values, parameters and settings."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spikeseq
from spikeseq import DSN, LIF, PRF, SlidingPSN
from tests.neurons.test_prepared_step import MADE, parts

if spikeseq.backends()["native"] is not None:
    pytest.skip(f"native backend: {spikeseq.backends()['native']}", allow_module_level=True)


@pytest.mark.parametrize("name", ["lif", "prf", "dsn", "sliding", "sliding one"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_same_errors(name: str, bad: float) -> None:
    neuron, x_t = MADE[name](5), torch.randn(2, 5)
    x_bad = x_t.clone()
    x_bad[1, 3] = bad
    with torch.no_grad():
        _, state = neuron.step(x_t)
        with pytest.raises(ValueError, match="expected finite x"):
            neuron.step(x_bad, state)
        with pytest.raises(ValueError, match="width = 5"):
            neuron.step(torch.randn(2, 6), state)
        with pytest.raises(ValueError, match="state"):
            neuron.step(torch.randn(3, 5), state)


@pytest.mark.parametrize("name", ["lif", "prf", "dsn", "sliding"])
@given(st.integers(1, 150), st.data())
def test_no_value_that_is_not_finite_slips_through(name: str, width: int, data: st.DataObject) -> None:
    neuron, x_t = MADE[name](width), torch.randn(2, width)
    with torch.no_grad():
        _, state = neuron.step(x_t)
        bad = data.draw(st.sampled_from([x_t, *parts(state)]))
        bad.view(-1)[data.draw(st.integers(0, bad.numel() - 1))] = data.draw(st.sampled_from([math.nan, math.inf]))
        with pytest.raises(ValueError, match="finite"):
            neuron.step(x_t, state)


WRONG = {
    "lif decay": (lambda: LIF(5, train_decay=True), "decay_logit", math.nan),
    "prf rate": (lambda: PRF(5), "log_dt", math.inf),
    "dsn weight": (lambda: DSN(5), "weight", math.inf),
    "dsn bias": (lambda: DSN(5), "bias", math.inf),
    "sliding weight": (lambda: SlidingPSN(5), "weight", math.nan),
    "sliding weight that overflows": (lambda: SlidingPSN(5), "weight", 3e38),
    "sliding threshold": (lambda: SlidingPSN(5), "threshold", math.nan),
    "sliding integers": (lambda: SlidingPSN(5, levels=4), "threshold", 0.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_parameters_that_the_operation_refuses(name: str) -> None:
    make, parameter, value = WRONG[name]
    neuron, x_t = make(), torch.rand(2, 5) * 10
    with torch.no_grad():
        neuron.step(x_t)
        getattr(neuron, parameter).data.fill_(value)
        with pytest.raises(ValueError, match=r"finite|overflowed|threshold"):
            neuron.step(x_t)


CHANGED = {
    "threshold": (LIF, math.nan), "integer threshold": (lambda n: LIF(n, levels=3), 1e-39), "reset": (LIF, "foo"),
    "output": (LIF, "foo"), "prf threshold": (PRF, math.nan), "dsn tau": (DSN, -1.0), "dsn threshold": (DSN, 1e-39),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_settings_that_the_operation_refuses(name: str) -> None:
    make, value = CHANGED[name]
    neuron, x_t = make(5), torch.rand(2, 5)
    with torch.no_grad():
        neuron.step(x_t)
        setattr(neuron, name.rpartition(" ")[2], value)
        with pytest.raises(ValueError, match="expected"):
            neuron.step(x_t)
