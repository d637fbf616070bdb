"""The operations under torch.compile, torch.export and torch.func."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

import spikeseq
from spikeseq import ops
from spikeseq.blocks import Backbone

X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
STARTS = torch.arange(10).view(2, 5) % 4 == 2
SURE = {"PRF": {"dt_min": 0.05, "dt_max": 1.0}}


def wants(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    values = torch.linspace(0.2, 0.9, max(1, torch.Size(shape).numel())).reshape(shape)
    return values.to(dtype).requires_grad_()


FIRE, INTEGER = ("atan", 2.0), ("integer", 4.0)
NODES = {
    "lif": ("lif", (wants(4), wants(), None, None, "soft", None, False, *FIRE, "spikes", True)),
    "lif with all": ("lif", (wants(4), wants(4), wants(2, 4), STARTS, "hard", wants(4).detach(), True, *FIRE,
                             "membrane", True)),
    "prf": ("prf", (wants(4, dtype=torch.complex64), wants(), wants(), wants(2, 4, dtype=torch.complex64), STARTS,
                    "soft", None, False, *FIRE, "spikes", True)),
    "dsn": ("dsn", (wants(2, 5, 4), 0.25, wants(), None, STARTS, *INTEGER, False, "spikes")),
    "conv_dsn": ("conv_dsn", (wants(4, 3), None, 0.25, wants(), None, None, None, *INTEGER, False, "spikes")),
    "conv_dsn with all": ("conv_dsn", (wants(4, 3), wants(4), 0.25, wants(), wants(2, 4), wants(2, 2, 4), STARTS,
                                       *INTEGER, False, "membrane")),
    "linear_scan": ("linear_scan", (wants(4), wants(2, 4), STARTS)),
    "linear_scan complex": ("linear_scan", (wants(2, 5, 4, dtype=torch.complex64), None, None)),
    "sliding": ("sliding", (wants(4, 3), None, None, STARTS)),
    "sliding, lags beyond the sequence": ("sliding", (wants(4, 9), wants(4), wants(2, 8, 4), None)),
    "spike": ("spike", (wants(4), *FIRE, False)),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_torch_accepts_the_registration(name: str) -> None:
    """Torch's own checks: the schema is true, outlines have the outputs' shapes, gradients are right when traced."""
    op, arguments = NODES[name]
    opcheck(getattr(torch.ops.spikeseq, op).default, (X.clone().requires_grad_(), *arguments))


@pytest.mark.parametrize("neuron", ["LIF", "PRF", "DSN", "SlidingPSN"])
def test_a_compiled_backbone_is_one_graph_for_every_length(neuron: str) -> None:
    torch.manual_seed(1)
    backbone = Backbone(6, 1, neuron=neuron, neuron_options=SURE.get(neuron, {}), norm="layer")
    torch.compiler.reset()
    compiled = torch.compile(backbone, fullgraph=True, dynamic=True, backend="aot_eager")
    parameters = list(backbone.parameters())

    @settings(max_examples=8, deadline=None)
    @given(time=st.integers(3, 70), batch=st.integers(2, 5))
    def same(time: int, batch: int) -> None:
        x = torch.randn(batch, time, 6)
        runs = []
        for run in (backbone, compiled):
            y, state = run(x)
            again, _ = run(x, spikeseq.detach(state))
            runs.append((y, torch.autograd.grad((y + again).square().mean(), parameters)))
        torch.testing.assert_close(runs[0], runs[1])

    same()
    with torch.compiler.set_stance("fail_on_recompile"):
        same()


def test_a_classifier_exports_with_any_length() -> None:
    model = spikeseq.SequenceClassifier(inputs=3, classes=4, width=6, depth=2, neuron_options=SURE["PRF"]).eval()
    time = torch.export.Dim("time", min=2, max=4096)
    program = torch.export.export(model, (torch.randn(2, 9, 3),), dynamic_shapes={"x": {1: time}})
    x = torch.randn(2, 31, 3)
    torch.testing.assert_close(program.module()(x), model(x))


def test_compiled_steps_are_the_steps() -> None:
    neuron = spikeseq.DSN(4, levels=None)
    torch.compiler.reset()
    step = torch.compile(neuron.step, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        state = mine = None
        for t in range(5):
            out, state = neuron.step(X[:, t], state)
            also, mine = step(X[:, t], mine)
            torch.testing.assert_close((also, mine), (out, state))


def test_a_compiled_operation_still_looks_at_its_values() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: ops.lif(x, 0.9)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(X), ops.lif(X, 0.9)[0])
    with pytest.raises(ValueError, match="lif: expected finite x, got nan"):
        compiled(torch.full_like(X, torch.nan))


def test_a_compiled_operation_runs_on_the_backend_in_force() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: ops.dsn(x, x)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(X), ops.dsn(X, X)[0])
    with spikeseq.backend("fft"), pytest.raises(spikeseq.BackendError, match="the papers give no FFT form of dsn"):
        compiled(X)


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad], ids=["vmap", "grad"])
def test_function_transforms_are_refused_by_name(transform) -> None:
    prf = spikeseq.PRF(4)
    with pytest.raises(NotImplementedError, match=r"lif does not run inside torch.func transforms"):
        transform(lambda x: ops.lif(x, 0.9)[0].sum())(X)
    with torch.no_grad(), pytest.raises(NotImplementedError, match="prf does not run inside"):
        transform(lambda x: prf.step(x)[0].sum())(X[:, 0] if transform is torch.func.grad else X)
