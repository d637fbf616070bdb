"""The laws of the recurrent core."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.neurons import Neuron
from spikeseq_agents import SpikingCore
from spikeseq_agents.layers import DRIVE

NEURONS = ("PRF", "LIF", "DSN")


@given(
    neuron=st.sampled_from(NEURONS),
    kind=st.sampled_from(
        [{}, {"readout": "membrane"}, {"sdtcm": {}}, {"sdtcm": {"norm": "none", "outer_residual": True}}]
    ),
    layers=st.integers(1, 3),
    time=st.integers(1, 20),
    envs=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_all_steps_at_once_equal_one_step_after_another(neuron, kind, layers, time, envs, seed):
    torch.manual_seed(seed)
    core = SpikingCore(3, 8, layers, neuron=neuron, **kind)
    x, starts = torch.randn(time, envs, 3), torch.rand(time, envs) < 0.2
    state = (torch.randn(layers, envs, core.hidden_size), torch.randn(layers, envs, core.hidden_size))
    with torch.no_grad():
        whole, end = core(x, state, starts)
        steps = []
        for t in range(time):
            out, state = core(x[t : t + 1], state, starts[t : t + 1])
            steps.append(out)
    serial = torch.cat(steps)
    # a membrane on the threshold may fall to either side in float32
    assert (serial - whole).abs().gt(1e-4).float().mean() <= 1e-3
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(end, state, strict=True))


@pytest.mark.parametrize("sdtcm", [None, {}])
@pytest.mark.parametrize("neuron", NEURONS)
def test_a_start_forgets_everything_before(neuron, sdtcm):
    core = SpikingCore(3, 8, 2, neuron=neuron, sdtcm=sdtcm)
    x, starts = torch.randn(10, 4, 3), torch.zeros(10, 4, dtype=torch.bool)
    starts[6] = True
    noise = [torch.randn(2, 4, core.hidden_size) for _ in range(2)]
    out, end = core(x, (noise[0], noise[1]), starts)
    fresh, fresh_end = core(x[6:])
    assert torch.equal(out[6:], fresh)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(end, fresh_end, strict=True))
    assert not torch.equal(core(x, (noise[0], noise[1]))[0][6:], fresh)


@pytest.mark.parametrize("sdtcm", [None, {}])
def test_starts_in_the_middle_cost_no_loop_over_time(sdtcm):
    core = SpikingCore(3, 8, 2, sdtcm=sdtcm)
    calls = []
    for module in core.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda *_: calls.append(1))
    core(torch.randn(50, 4, 3), None, torch.rand(50, 4) < 0.5)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("neuron", "options", "planes"),
    [("PRF", {}, 1), ("LIF", {}, 1), ("DSN", {"kernel_size": 4}, 2), ("DSN", {"kernel_size": 1}, 1)],
)
def test_the_state_fits_two_tensors(neuron, options, planes):
    core = SpikingCore(3, 8, 2, neuron=neuron, neuron_options=options)
    assert core.hidden_size == 8 * planes
    out, state = core(torch.randn(5, 4, 3))
    assert out.shape == (5, 4, 8)
    assert [tuple(part.shape) for part in state] == [(2, 4, 8 * planes)] * 2
    assert all(part.dtype == torch.float32 for part in state)


def test_a_prf_state_is_its_complex_membrane():
    core = SpikingCore(3, 8, readout="membrane")
    x = torch.randn(5, 4, 3)
    _, (real, imaginary) = core(x)
    _, membrane = core.layers[0](x.transpose(0, 1))
    assert torch.equal(torch.complex(real[0], imaginary[0]), membrane)


@pytest.mark.parametrize("neuron", NEURONS)
def test_time_constants_lie_where_asked(neuron):
    core = SpikingCore(3, 500, neuron=neuron, time_constants=(3.0, 90.0))
    steps = core.time_constants()
    assert steps.min() >= 2.99
    assert steps.max() <= 90.5
    assert steps.log().std() > 0.5  # log-uniform: log(30) / sqrt(12) = 0.98


@pytest.mark.parametrize("neuron", NEURONS)
def test_noise_of_variance_one_gives_membranes_of_one_size(neuron):
    options = {"reset": "none"} if neuron == "LIF" else {"decay": "none"} if neuron == "DSN" else {}
    core = SpikingCore(16, 200, neuron=neuron, neuron_options=options, time_constants=(2, 20), readout="membrane")
    with torch.no_grad():
        core.get_parameter("layers.0.mixer.bias").zero_()
        membranes, _ = core(torch.randn(400, 20, 16))
    # of a rotating membrane the real part holds half, of a slowly rotating one all
    variances = membranes[100:].var((0, 1)) / DRIVE**2
    assert 0.5 < variances.mean() < 1.2
    steps = core.time_constants()[0]
    fast, slow = (variances[chosen].mean() for chosen in (steps < 5, steps > 10))
    assert 0.5 < fast / slow < 2


def test_the_backward_can_be_differentiated_again():
    """TRPO needs products with the Hessian of the KL divergence: here against differences of the gradient."""
    core = SpikingCore(3, 4, readout="membrane").double()
    x, starts = torch.randn(6, 2, 3, dtype=torch.double), torch.rand(6, 2) < 0.2
    parameters = list(core.parameters())
    direction = [torch.randn_like(p) for p in parameters]

    def gradient(graph):
        return torch.autograd.grad(core(x, None, starts)[0].square().mean(), parameters, create_graph=graph)

    dot = torch.stack([(g * d).sum() for g, d in zip(gradient(True), direction, strict=True)]).sum()
    product = torch.autograd.grad(dot, parameters)
    difference, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(sign * step * d)
        difference.append(gradient(False))
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(sign * step * d)
    for found, up, down in zip(product, *difference, strict=True):
        assert torch.allclose(found, (up - down) / (2 * step), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neuron": "PSN"}, "one of"),
        ({"readout": "voltage"}, "readout"),
        ({"time_constants": (5, 1)}, "shortest <= longest"),
        ({"time_constants": 5}, "shortest, longest"),
        ({"neuron_options": {"dt_min": 0.1}}, "time_constants sets"),
        ({"neuron_options": {"output": "spikes"}}, "readout"),
        ({"neuron_options": {"colour": 1}}, "colour"),
        ({"width": 0}, "width"),
        ({"sdtcm": {"norm": "batch"}}, "batch statistics of training are not those of acting"),
        ({"sdtcm": {"bidirectional": True}}, "cannot see the future"),
        ({"sdtcm": {}, "readout": "membrane"}, "expected no readout"),
        ({"sdtcm": {"colour": 1}}, "colour"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SpikingCore(**{"input_size": 3, "width": 8, **arguments})


def test_wrong_inputs_are_named():
    core = SpikingCore(3, 8)
    with pytest.raises(ValueError, match="input_size = 3"):
        core(torch.randn(5, 4, 2))
    with pytest.raises(ValueError, match="one number of environments"):
        core(torch.randn(5, 4, 3), core.initial_state(3))
    x = torch.randn(5, 4, 3)
    x[2, 1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"finite features, got nan at .* = \[1, 2, 0\]"):
        core(x)


@pytest.mark.parametrize("other", [{"neuron": "LIF"}, {"readout": "membrane"}, {"sdtcm": {}}])
def test_weights_of_another_architecture_are_refused(other):
    with pytest.raises(ValueError, match="another architecture"):
        SpikingCore(3, 8).load_state_dict(SpikingCore(3, 8, **other).state_dict(), strict=False)
