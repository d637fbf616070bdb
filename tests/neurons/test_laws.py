"""The laws of tests/laws.py, for every configuration of every causal neuron on every backend, at awkward sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import spikeseq
from spikeseq import DSN, LIF, PRF, Neuron, SlidingPSN
from tests import laws

# dt around 1 instead of 0.01: at the default a run this short would hold no spike at all
FAST: dict[str, Any] = {"dt_min": 0.3, "dt_max": 1.5}
CONFIGS: dict[str, Callable[[int], Neuron]] = {
    "lif-soft": lambda w: LIF(w, decay=0.9),
    "lif-hard": lambda w: LIF(w, decay=0.9, reset="hard"),
    "lif-none": lambda w: LIF(w, decay=0.9, reset="none"),
    "lif-strict-rho": lambda w: LIF(w, decay=0.8, rho=1.25, strict=True, threshold=0.7),
    "lif-trained": lambda w: LIF(w, decay=torch.linspace(0.3, 0.97, w), train_decay=True),
    "lif-hard-trained": lambda w: LIF(w, decay=0.85, reset="hard", train_decay=True, surrogate="sigmoid"),
    "lif-levels": lambda w: LIF(w, decay=0.9, levels=3),
    "lif-leakless": lambda w: LIF(w, decay=1.0, surrogate="atan"),
    "lif-gain": lambda w: LIF(w, decay=0.5, input_gain=1.7, surrogate="triangle"),
    "prf-none": lambda w: PRF(w, **FAST),
    "prf-soft": lambda w: PRF(w, reset="soft", **FAST),
    "prf-zoh": lambda w: PRF(w, discretization="zoh", **FAST),
    "prf-trained": lambda w: PRF(w, train_tau=True, reset="soft", **FAST),
    "prf-levels": lambda w: PRF(w, levels=2, **FAST),
    "dsn-conv": lambda w: DSN(w),
    "dsn-conv-binary": lambda w: DSN(w, kernel_size=2, levels=None, threshold=0.5),
    "dsn-conv-1": lambda w: DSN(w, kernel_size=1, tau=2.0),
    "dsn-conv-8": lambda w: DSN(w, kernel_size=8, levels=None, threshold=0.5),
    "dsn-conv-12": lambda w: DSN(w, kernel_size=12, tau=0.7),
    "dsn-linear": lambda w: DSN(w, decay="linear", levels=None, threshold=0.5),
    "dsn-none": lambda w: DSN(w, decay="none", levels=2, tau=1.0),
    "sliding-1": lambda w: SlidingPSN(w, order=1),
    "sliding-4": lambda w: SlidingPSN(w, order=4),
    "sliding-levels": lambda w: SlidingPSN(w, order=3, levels=2),
}
FFT = [name for name in CONFIGS if name.startswith(("lif", "prf")) and "hard" not in name and "levels" not in name]
MIXES_CHANNELS = ("dsn-linear",)

TIMES = st.one_of(st.sampled_from([1, 2, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65]), st.integers(1, 70))
WIDTHS = st.one_of(st.sampled_from([1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 64, 65]), st.integers(1, 70))
OUTPUTS = st.sampled_from(["spikes", "membrane"])
SEEDS = st.integers(0, 2**31)
# few, because the laws run for each configuration on each backend; --hypothesis-profile=hunt draws as many as it says
examples = settings() if settings.get_current_profile_name() == "hunt" else settings(max_examples=6)


def pairs(fft: bool) -> list:
    found = [(c, b) for c in CONFIGS for b in ("reference", "torch", "native")]
    found += [(c, "fft") for c in FFT] if fft else []
    return [pytest.param(c, b, id=f"{c}-{b}") for c, b in found]


def need(backend: str) -> None:
    """Skip where the backend is missing; tests/ops/test_backends.py fails where it should not be."""
    reason = spikeseq.backends()[backend]
    if reason is not None:
        pytest.skip(reason)


def dtypes(backend: str) -> st.SearchStrategy[torch.dtype]:
    # FFTs in float32 are good to 1e-6 of the largest membrane only, which is the reason why they are not the default
    both = [torch.float64, torch.float32]
    return st.sampled_from({"native": [torch.float32], "fft": [torch.float64]}.get(backend, both))


def build(config: str, width: int, dtype: torch.dtype, output: str, seed: int) -> Neuron:
    torch.manual_seed(seed)
    neuron = CONFIGS[config](width).to(dtype)
    neuron.output = output
    return neuron


def draw(data: st.DataObject, config: str, backend: str) -> tuple[Neuron, Tensor, object]:
    """A neuron, an input that drives it to some spikes, and a state to begin with."""
    dtype = data.draw(dtypes(backend), "dtype")
    batch, time, width = data.draw(st.integers(1, 3), "batch"), data.draw(TIMES, "time"), data.draw(WIDTHS, "width")
    neuron = build(config, width, dtype, data.draw(OUTPUTS, "output"), data.draw(SEEDS, "seed"))
    x = torch.randn(batch, time, width, dtype=dtype) * 2 + 0.3
    return neuron, x, laws.random_state(neuron, batch, dtype)


@pytest.mark.parametrize(("config", "backend"), pairs(fft=True))
@examples
@given(data=st.data())
def test_parallel_equals_steps(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, state = draw(data, config, backend)
    assume(laws.generic(neuron, x, state))
    with spikeseq.backend(backend):
        laws.parallel_equals_steps(neuron, x, state)


@pytest.mark.parametrize(("config", "backend"), pairs(fft=True))
@examples
@given(data=st.data())
def test_cut_anywhere(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, state = draw(data, config, backend)
    at = data.draw(st.lists(st.integers(0, x.shape[1]), min_size=1, max_size=3), "cuts")
    assume(laws.generic(neuron, x, state))
    with spikeseq.backend(backend):
        laws.chunks_equal_whole(neuron, x, state, at)


@st.composite
def start_masks(draw: st.DrawFn, batch: int, time: int) -> Tensor:
    """Several starts; often at step 0, at the last step, and at steps in a row."""
    starts = torch.zeros(batch, time, dtype=torch.bool)
    for b in range(batch):
        steps = draw(st.sets(st.integers(0, time - 1), max_size=6))
        steps |= draw(st.sets(st.sampled_from([0, time - 1, time // 2, max(time // 2 - 1, 0)]), max_size=4))
        starts[b, sorted(steps)] = True
    return starts


@pytest.mark.parametrize(("config", "backend"), pairs(fft=False))
@examples
@given(data=st.data())
def test_starts_equal_fresh_states(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, state = draw(data, config, backend)
    starts = data.draw(start_masks(x.shape[0], x.shape[1]), "starts")
    assume(laws.generic(neuron, x, state, starts))
    at = data.draw(st.integers(0, x.shape[1]), "cut")
    with spikeseq.backend(backend):
        laws.starts_equal_fresh_states(neuron, x, state, starts)
        laws.chunks_equal_whole(neuron, x, state, [at], starts)


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("config", CONFIGS)
def test_steps_with_starts(config: str, backend: str) -> None:
    """The last link: the parallel form with starts is the serial form with rows of its state set to zero."""
    need(backend)
    dtype = torch.float32 if backend == "native" else torch.float64
    neuron = build(config, 5, dtype, "membrane", 4)
    x = torch.randn(2, 33, 5, dtype=dtype)
    starts = torch.rand(2, 33) < 0.2
    starts[0, 0] = starts[1, -1] = starts[1, 15] = starts[1, 16] = True
    with spikeseq.backend(backend):
        laws.parallel_equals_steps(neuron, x, laws.random_state(neuron, 2, dtype), starts)


@pytest.mark.parametrize(("config", "backend"), pairs(fft=True))
@examples
@given(data=st.data())
def test_causal(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, _ = draw(data, config, backend)
    t = data.draw(st.integers(0, x.shape[1] - 1), "t")
    with spikeseq.backend(backend):
        laws.causal(neuron, x, t, exact=backend != "fft")


@pytest.mark.parametrize(("config", "backend"), pairs(fft=True))
@examples
@given(data=st.data())
def test_rows_and_channels_are_independent(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, _ = draw(data, config, backend)
    with spikeseq.backend(backend):
        laws.rows_independent(neuron, x, data.draw(st.integers(0, x.shape[0] - 1), "row"))
        if config not in MIXES_CHANNELS:
            laws.channels_independent(neuron, x, data.draw(st.integers(0, x.shape[2] - 1), "channel"))


@pytest.mark.parametrize(("config", "backend"), [p for p in pairs(fft=True) if p.values[1] != "reference"])
@examples
@given(data=st.data())
def test_every_backend_gives_the_reference(config: str, backend: str, data: st.DataObject) -> None:
    need(backend)
    neuron, x, state = draw(data, config, backend)
    starts = None
    if backend != "fft" and data.draw(st.booleans(), "with starts"):
        starts = data.draw(start_masks(x.shape[0], x.shape[1]), "starts")
    assume(laws.generic(neuron, x, state, starts))
    with spikeseq.backend("reference"):
        wanted = laws.record(laws.whole, neuron, x, state, starts)
    with spikeseq.backend(backend):
        got = laws.record(laws.whole, neuron, x, state, starts)
    laws.assert_same(got, wanted, spikes=neuron.output == "spikes")


@pytest.mark.parametrize("config", CONFIGS)
@examples
@given(data=st.data())
def test_bfloat16_is_float32_rounded_at_the_end(config: str, data: st.DataObject) -> None:
    """bf16 in -> bf16 out; the state and everything in between is float32."""
    neuron, x, state = draw(data, config, "native")
    starts = data.draw(st.none() | start_masks(x.shape[0], x.shape[1]), "starts")
    narrow = x.bfloat16()
    y, end = neuron(narrow, state, starts)
    wide, wide_end = neuron(narrow.float(), state, starts)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, wide.bfloat16())
    for a, b in zip(laws.leaves(end), laws.leaves(wide_end), strict=True):
        assert a.dtype == b.dtype == (torch.complex64 if a.is_complex() else torch.float32)
        assert torch.equal(a, b)


# A leak without reset can reach max|x| / (1 - decay); PRF the same with |A| and its gain; a reset only lowers the top.
@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ("lif-soft", 10.0), ("lif-hard", 10.0), ("lif-none", 10.0), ("lif-strict-rho", 5.0 + 1.25 / 0.2),
        ("prf-none", 12.0), ("prf-soft", 24.0), ("prf-zoh", 12.0), ("dsn-conv", 1.0), ("dsn-none", 1.0),
        ("dsn-conv-binary", 1.0), ("sliding-4", 1.875),
    ],
)  # fmt: skip
def test_a_million_steps_stay_bounded(config: str, limit: float) -> None:
    row_by_row = spikeseq.backends()["native"] is not None and config in (
        "lif-soft",
        "lif-hard",
        "lif-strict-rho",
        "prf-soft",
    )
    steps = 40_000 if row_by_row else 1_000_000
    laws.bounded(build(config, 2, torch.float32, "membrane", 1), limit * (1 + 1e-4), steps=steps)


@pytest.mark.parametrize("config", ["lif-none", "prf-none", "prf-soft", "dsn-conv"])
def test_a_million_steps_stay_bounded_on_the_torch_backend(config: str) -> None:
    """What `auto` takes where no compiler is present. A reset runs row by row there, so fewer steps of it."""
    steps = 40_000 if config == "prf-soft" else 1_000_000
    with spikeseq.backend("torch"):
        laws.bounded(build(config, 1, torch.float32, "membrane", 1), 24.0, steps=steps)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_laws_see_spikes(config: str) -> None:
    """A suite of silent neurons would prove nothing."""
    neuron = build(config, 33, torch.float64, "spikes", 0)
    rate = neuron(torch.randn(3, 64, 33, dtype=torch.float64) * 2 + 0.3)[0].mean().item()
    assert 0.02 < rate < (neuron.levels or 1) * 0.98
