"""State is a value that the caller holds: it survives saving, moves, copies and detaching, and no module keeps any."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

import spikeseq
from spikeseq import DSN, LIF, PRF, PSN, MaskedPSN, Neuron, SlidingPSN
from spikeseq.neurons import make
from tests.laws import leaves

CAUSAL: dict[str, Callable[[], Neuron]] = {
    "LIF": lambda: LIF(3), "LIF trained": lambda: LIF(3, train_decay=True),
    "PRF": lambda: PRF(3, dt_max=2.0, dt_min=0.5),
    "PRF soft": lambda: PRF(3, dt_max=2.0, dt_min=0.5, reset="soft", train_tau=True), "DSN": lambda: DSN(3),
    "DSN none": lambda: DSN(3, decay="none"), "SlidingPSN": lambda: SlidingPSN(3),
}  # fmt: skip
ALL = {**CAUSAL, "PSN": lambda: PSN(3, steps=9), "MaskedPSN": lambda: MaskedPSN(3, steps=9, order=2)}
causal = pytest.mark.parametrize("name", CAUSAL)
every = pytest.mark.parametrize("name", ALL)


def same(a: Any, b: Any) -> bool:
    pairs = zip(leaves(a), leaves(b), strict=True)
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


@causal
def test_save_and_load(name: str) -> None:
    """weights_only: nothing in a state needs unpickling."""
    neuron, x = CAUSAL[name](), torch.randn(2, 18, 3)
    _, middle = neuron(x[:, :9])
    file = io.BytesIO()
    torch.save(middle, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert same(loaded, middle)
    assert same(neuron(x[:, 9:], loaded), neuron(x[:, 9:], middle))


@every
def test_parameters_save_and_load(name: str) -> None:
    torch.manual_seed(1)
    first = ALL[name]()
    second = ALL[name]()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(2, 9, 3)
    assert same(first(x), second(x))


@every
def test_masking_is_saved(name: str) -> None:
    if name == "MaskedPSN":
        neuron = MaskedPSN(3, steps=9, order=2)
        neuron.set_masking(0.25)
        other = MaskedPSN(3, steps=9, order=2)
        other.load_state_dict(neuron.state_dict())
        assert other.masking.item() == 0.25


@causal
def test_initial_state_is_no_state(name: str) -> None:
    neuron, x = CAUSAL[name](), torch.randn(4, 9, 3)
    assert same(neuron(x, neuron.initial_state(4)), neuron(x))
    wide = neuron.double()
    assert same(wide(x.double(), wide.initial_state(4)), wide(x.double()))
    _, end = wide(x.double())
    assert [s.dtype for s in leaves(wide.initial_state(4))] == [s.dtype for s in leaves(end)]


@causal
def test_moves_between_precisions(name: str) -> None:
    """A state made in float32 goes on in float64 and back."""
    neuron, x = CAUSAL[name](), torch.randn(2, 18, 3)
    _, middle = neuron(x[:, :9])
    narrow, _ = neuron(x[:, 9:], middle)
    wide, wide_end = neuron.double()(x[:, 9:].double(), middle)
    assert wide.dtype == torch.float64
    assert {s.real.dtype for s in leaves(wide_end)} == {torch.float64}
    assert (wide.float() != narrow).float().mean().item() < 0.1
    back, back_end = neuron.float()(x[:, :9], wide_end)
    assert back.dtype == torch.float32
    assert {s.real.dtype for s in leaves(back_end)} == {torch.float32}


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_output_has_the_dtype_of_the_input(name: str, dtype: torch.dtype) -> None:
    for neuron in (ALL[name](), ALL[name]().double()):
        y, end = neuron(torch.randn(2, 9, 3).to(dtype))
        assert y.dtype == dtype
        wanted = torch.float64 if dtype == torch.float64 else torch.float32
        assert all(s.real.dtype == wanted for s in leaves(end))


@every
def test_a_bfloat16_module_runs(name: str) -> None:
    """`model.bfloat16()` is what people do to a whole model."""
    y, end = ALL[name]().bfloat16()(torch.randn(2, 9, 3).bfloat16())
    assert y.dtype == torch.bfloat16
    assert all(s.real.dtype == torch.float32 for s in leaves(end))


@every
def test_autocast_leaves_state_and_membrane_alone(name: str) -> None:
    """bf16 autocast gives a bf16 membrane elsewhere."""
    neuron, x = ALL[name](), torch.randn(2, 9, 3)
    neuron.output = "membrane"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, end = neuron(x)
    assert same((y, end), neuron(x))


@causal
def test_state_of_another_batch(name: str) -> None:
    """Peers reuse it quietly, or zero it."""
    neuron = CAUSAL[name]()
    _, state = neuron(torch.randn(4, 5, 3))
    for batch in (1, 3, 8):
        with pytest.raises(ValueError, match=r"expected state \(.*got \(4, .*state=None"):
            neuron(torch.randn(batch, 5, 3), state)
        with pytest.raises(ValueError, match=r"expected state \(.*got \(4, "):
            neuron.step(torch.randn(batch, 3), state)


@every
def test_modules_keep_no_state(name: str) -> None:
    neuron, x = ALL[name](), torch.randn(2, 9, 3)
    before = set(neuron.__dict__)
    first = neuron(x)
    assert same(neuron(x), first)
    assert set(neuron.__dict__) == before


@every
def test_copies_after_a_training_step(name: str) -> None:
    neuron, x = ALL[name](), torch.randn(2, 9, 3, requires_grad=True)
    y, _ = neuron(x)
    y.sum().backward()
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert same(other(x), neuron(x))


@every
def test_no_registry_keeps_instances_alive(name: str) -> None:
    """A class-level registry leaked every instance in a peer."""
    neuron = ALL[name]()
    x = torch.randn(2, 9, 3, requires_grad=True)
    y, end = neuron(x)
    y.sum().backward()
    alive = [weakref.ref(neuron), *(weakref.ref(s) for s in leaves(end)), weakref.ref(y)]
    del neuron, y, end
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)


@causal
def test_a_detached_state_ends_the_graph(name: str) -> None:
    """spikingjelly#301, #607, snntorch#250: "backward through the graph a second time"."""
    neuron = CAUSAL[name]()
    scale = torch.ones(3, requires_grad=True)
    state = None
    for _ in range(3):
        y, state = neuron(torch.randn(2, 9, 3) * scale, state)
        (y.sum() + sum(s.abs().sum() for s in leaves(state))).backward()
        kept = state
        state = spikeseq.detach(state)
        assert same(state, kept)
        assert not any(s.requires_grad for s in leaves(state))
        assert pytree.tree_structure(state) == pytree.tree_structure(kept)
    _, carried = neuron(torch.randn(2, 9, 3) * scale)
    torch.cat([s.abs().flatten() for s in leaves(carried)]).sum().backward()
    if name != "SlidingPSN":  # its history is the input itself: nothing to free
        y, _ = neuron(torch.randn(2, 9, 3), carried)
        with pytest.raises(RuntimeError, match="second time"):
            (y.sum()).backward()


def test_detach_takes_any_tree() -> None:
    z = torch.ones(2, requires_grad=True) * 2
    state = {"a": (z, None), "b": [z, 3]}
    found = spikeseq.detach(state)
    assert found["a"][1] is None
    assert found["b"][1] == 3
    assert not found["a"][0].requires_grad
    assert z.requires_grad
    assert spikeseq.detach(None) is None


@every
def test_wrong_inputs(name: str) -> None:
    neuron = ALL[name]()
    kind = type(neuron).__name__
    for shape in ((2, 9, 4), (2, 9), (9,), (2, 9, 3, 1)):
        with pytest.raises(ValueError, match=rf"{kind}: expected x \[batch, time, width = 3\], got \({shape[0]},"):
            neuron(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"expected x of a floating dtype, got .*int64"):
        neuron(torch.zeros(2, 9, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 1"):
        neuron(torch.zeros(0, 9, 3))
    if neuron.causal:
        with pytest.raises(ValueError, match="at least 1"):
            neuron(torch.zeros(2, 0, 3))
        for shape in ((2, 9, 3), (3,)):
            with pytest.raises(ValueError, match=rf"{kind}.step: expected x_t \[batch, width\], got \({shape[0]},"):
                neuron.step(torch.zeros(shape))
        with pytest.raises(ValueError, match=r"expected starts as bool \[batch, time\]"):
            neuron(torch.zeros(2, 9, 3), None, torch.zeros(2, 8, dtype=torch.bool))


@pytest.mark.parametrize("width", [0, -1, 2.0, "3", None, True])
def test_wrong_width(width: Any) -> None:
    for kind in (LIF, PRF, DSN, SlidingPSN):
        with pytest.raises(ValueError, match=f"{kind.__name__}: expected width as a whole number >= 1, got {width!r}"):
            kind(width)


def test_make() -> None:
    assert isinstance(make("PRF", 4, tau=3.0), PRF)
    assert make("DSN", 4, levels=None).levels is None
    assert isinstance(make(LIF, 4, decay=0.5), LIF)
    assert make(lambda width: LIF(width, threshold=2.0), 4).threshold == 2.0
    with pytest.raises(ValueError, match=r"unknown neuron 'GRU': expected one of .*LIF.*PRF.*DSN"):
        make("GRU", 4)
    with pytest.raises(TypeError, match=r"'PRF' with options .*decay"):
        make("PRF", 4, decay=0.5)
    with pytest.raises(TypeError, match="expected a neuron's name or a factory"):
        make(LIF(4), 4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="expected the factory to give a spikeseq Neuron, got Linear"):
        make(lambda width: torch.nn.Linear(width, width), 4)  # pyright: ignore[reportArgumentType]


@every
def test_repr_names_the_neuron(name: str) -> None:
    text = repr(ALL[name]())
    assert text.startswith(type(ALL[name]()).__name__ + "(3")


@every
def test_dynamics_cost(name: str) -> None:
    cost = ALL[name]().dynamics_cost()
    assert set(cost) == {"multiplies", "accumulates"}
    assert all(isinstance(v, int) and v > 0 for v in cost.values())
