"""The step without gradients, by a prepared kernel: it gives what the operation gives, and never a stale answer."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
import torch.nn.utils.parametrize
from hypothesis import given
from hypothesis import strategies as st

import spikeseq
from spikeseq import DSN, LIF, PRF, SlidingPSN
from spikeseq.ops.native import step as native_step

MADE = {
    "lif": lambda width: LIF(width, decay=0.8, threshold=0.5),
    "lif hard": lambda width: LIF(width, reset="hard", strict=True),
    "lif trained": lambda width: LIF(width, train_decay=True, levels=3, rho=0.3),
    "lif per channel": lambda width: LIF(width, decay=torch.linspace(0.1, 0.9, width)),
    "lif membrane": lambda width: LIF(width, reset="none", output="membrane"),
    "lif gain": lambda width: LIF(width, input_gain=0.5),
    "prf": lambda width: PRF(width, dt_max=1.0, threshold=0.2),
    "prf soft": lambda width: PRF(width, dt_max=1.0, train_tau=True, reset="soft", threshold=0.2),
    "dsn": lambda width: DSN(width),
    "dsn one lag": lambda width: DSN(width, kernel_size=1, levels=None),
    "dsn long": lambda width: DSN(width, kernel_size=9),
    "dsn linear": lambda width: DSN(width, decay="linear"),
    "sliding": lambda width: SlidingPSN(width),
    "sliding one": lambda width: SlidingPSN(width, order=1),
    "sliding integer": lambda width: SlidingPSN(width, order=3, levels=3),
    "sliding membrane": lambda width: SlidingPSN(width, output="membrane"),
}

if spikeseq.backends()["native"] is not None:
    pytest.skip(f"native backend: {spikeseq.backends()['native']}", allow_module_level=True)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def by_operation(neuron, x_t, state):
    spikes, state = neuron(x_t.unsqueeze(1), state)
    return spikes.squeeze(1), state


def same(got, wanted) -> bool:
    return torch.equal(got[0], wanted[0]) and all(
        torch.equal(g, w) for g, w in zip(parts(got[1]), parts(wanted[1]), strict=True)
    )


@pytest.mark.parametrize("name", MADE)
@given(st.integers(1, 70), st.integers(1, 4), st.integers(0, 2**31))
def test_bit_for_bit_the_operation(name: str, width: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    neuron = MADE[name](width)
    state = wanted_state = None
    with torch.no_grad():
        for _ in range(12):
            x_t = torch.randn(batch, width)
            got, wanted = neuron.step(x_t, state), by_operation(neuron, x_t, wanted_state)
            assert same(got, wanted)
            state, wanted_state = got[1], wanted[1]


@pytest.mark.parametrize("name", MADE)
def test_on_every_instruction_set(isa: str, name: str) -> None:  # noqa: ARG001
    neuron, state = MADE[name](83), None
    with torch.no_grad():
        for x_t in torch.randn(6, 3, 83):
            wanted = by_operation(neuron, x_t, state)
            got = neuron.step(x_t, state)
            assert same(got, wanted)
            state = got[1]


@pytest.mark.parametrize("name", ["lif trained", "lif per channel", "prf", "prf soft", "dsn", "sliding"])
def test_parameters_changed_behind_its_back(name: str) -> None:
    """`.data` leaves no mark on a tensor's version, and target networks are updated through it."""
    neuron, x_t = MADE[name](9), torch.randn(2, 9)
    tensors = [*neuron.parameters(), *neuron.buffers()]
    assert tensors
    with torch.no_grad():
        _, state = neuron.step(x_t)
        for tensor in tensors:
            tensor.data.mul_(0.9)
            assert same(neuron.step(x_t, state), by_operation(neuron, x_t, state))
            tensor.data = tensor.data + 0.01
            assert same(neuron.step(x_t, state), by_operation(neuron, x_t, state))


def test_settings_changed() -> None:
    neuron, x_t = LIF(5), torch.full((1, 5), 0.7)
    with torch.no_grad():
        assert neuron.step(x_t)[0].sum() == 0
        neuron.threshold = 0.5
        assert neuron.step(x_t)[0].sum() == 5


def test_it_is_the_prepared_step_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = native_step.Prepared.__call__
    monkeypatch.setattr(native_step.Prepared, "__call__", lambda self, *a: calls.append(1) or original(self, *a))
    neuron, x_t = PRF(5), torch.randn(2, 5)
    neuron.step(x_t)
    assert not calls, "with gradients the operation must serve"
    with torch.inference_mode():
        neuron.step(x_t)
    with torch.no_grad():
        neuron.step(x_t)
        with spikeseq.backend("reference"):
            neuron.step(x_t)
        neuron.step(x_t.double())
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["lif trained", "prf", "dsn", "sliding"])
def test_the_module_carries_nothing_of_it(name: str) -> None:
    neuron, x_t = MADE[name](5), torch.randn(2, 5)
    with torch.no_grad():
        wanted = neuron.step(x_t)
        for twin in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
            assert same(twin.step(x_t), wanted)
    gone = weakref.ref(neuron)
    del neuron, twin
    gc.collect()
    assert gone() is None


def test_threads_do_not_share_it() -> None:
    neuron, inputs = DSN(300), torch.randn(200, 4, 300)

    def run() -> torch.Tensor:
        with torch.no_grad():
            state, steps = None, []
            for x_t in inputs:
                spikes, state = neuron.step(x_t, state)
                steps.append(spikes)
            return torch.stack(steps)

    wanted, got = run(), []
    threads = [threading.Thread(target=lambda: got.append(run())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(torch.equal(g, wanted) for g in got)


@pytest.mark.parametrize("name", ["lif", "prf", "dsn", "sliding"])
def test_hooks_see_the_step(name: str) -> None:
    neuron, x_t, seen = MADE[name](9), torch.randn(2, 9), []
    hooks = (
        neuron.register_forward_hook(lambda _, __, output: seen.append(output[0].shape)),
        neuron.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape)),
        torch.nn.modules.module.register_module_forward_hook(lambda _, __, output: seen.append(output[0].shape)),
    )
    try:
        with torch.no_grad():
            neuron.step(x_t)
    finally:
        for hook in hooks:
            hook.remove()
    assert seen == [(2, 1, 9)] * 3


@pytest.mark.parametrize(("name", "parameter"), [("prf", "log_dt"), ("dsn", "weight"), ("lif trained", "decay_logit")])
def test_parametrized_parameters(name: str, parameter: str) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return 2 * value

    neuron, x_t, state = MADE[name](9), torch.randn(2, 9), None
    torch.nn.utils.parametrize.register_parametrization(neuron, parameter, Doubled(), unsafe=True)
    with torch.no_grad():
        for _ in range(3):
            original = neuron.parametrizations[parameter].original
            original.add_(torch.randn_like(original))
            wanted = by_operation(neuron, x_t, state)
            got = neuron.step(x_t, state)
            assert same(got, wanted)
            state = got[1]


def test_a_subclass_steps_as_its_own_forward() -> None:
    class Louder(LIF):
        def forward(self, x, state=None, starts=None):
            spikes, state = super().forward(x, state, starts)
            return spikes + 1, state

    with torch.no_grad():
        assert Louder(5).step(torch.zeros(1, 5))[0].eq(1).all()


@pytest.mark.parametrize("name", MADE)
def test_after_moves_of_dtype_and_device(name: str) -> None:
    neuron, x_t = MADE[name](9), torch.randn(2, 9)
    with torch.no_grad():
        neuron.step(x_t)
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            neuron.to(dtype).float()
            assert same(neuron.step(x_t), by_operation(neuron, x_t, None))
        neuron.to("meta")
        if list(neuron.parameters()) or neuron.decay_values.ndim:  # one number does without its buffer
            with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
                neuron.step(x_t)


@pytest.mark.parametrize("name", ["lif", "prf", "dsn", "sliding"])
def test_under_other_defaults_of_torch(name: str) -> None:
    neuron, x_t = MADE[name](300), torch.rand(2, 300)
    with torch.no_grad():
        wanted = by_operation(neuron, x_t, None)
        twin = copy.deepcopy(neuron)
        with torch.device("meta"):
            assert same(neuron.step(x_t, wanted[1]), by_operation(neuron, x_t, wanted[1]))
        try:
            torch.set_default_dtype(torch.bfloat16)
            got = twin.step(x_t)
        finally:
            torch.set_default_dtype(torch.float32)
    assert same(got, wanted)


def test_another_forward_from_elsewhere() -> None:
    class Loud:
        def forward(self, x, state=None, starts=None):
            spikes, state = super().forward(x, state, starts)  # pyright: ignore[reportAttributeAccessIssue]
            return spikes + 1, state

    class Mixed(Loud, LIF):  # pyright: ignore[reportIncompatibleMethodOverride]
        pass

    class Other(PRF):
        def coefficients(self):
            return tuple(0 * part for part in super().coefficients())

    class Plain(LIF):
        """Without a way of its own: it keeps the kernel."""

        def extra_repr(self) -> str:
            return "plain"

    own, x_t = LIF(5), torch.full((1, 5), 100.0)
    own.forward = lambda x, state=None, *_: (x + 1, state)  # pyright: ignore
    with torch.no_grad():
        assert Mixed(5).step(x_t)[0].eq(2).all()
        assert Other(5).step(x_t)[0].eq(0).all()
        assert own.step(x_t)[0].eq(101).all()
    assert Plain._step_plan is LIF._step_plan


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch itself, in forward mode
def test_a_tangent_is_not_lost() -> None:
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(torch.rand(2, 5), torch.ones(2, 5))
        for call in (lambda: LIF(5).step(dual), lambda: spikeseq.ops.spike(dual, 1.0)):
            with pytest.raises(NotImplementedError):
                call()
