"""Every model on torch's "meta" device, which has shapes and no values: what mixes devices or looks at a value fails.

So nothing in a model stays behind on the CPU when it is moved, and no pass waits for a GPU to know what to do next.
(Attention and PSN turn autocast off, which this device does not know; bands of an adaptive softmax pick their rows.)
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import spikeseq
from spikeseq.blocks import ColumnCNN, EventCNN, PairClassifier, SequenceClassifier, SEWResNet18, TokenModel

META = torch.device("meta")
NEURONS: dict[str, Callable[[], spikeseq.Neuron]] = {
    "LIF": lambda: spikeseq.LIF(4, 0.9, rho=0.8, input_gain=0.5),
    "LIF, trained": lambda: spikeseq.LIF(4, 0.9, reset="hard", train_decay=True),
    "PRF": lambda: spikeseq.PRF(4, reset="soft", train_tau=True),
    "DSN": lambda: spikeseq.DSN(4),
    "SlidingPSN": lambda: spikeseq.SlidingPSN(4),
}


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name: str) -> None:
    neuron = NEURONS[name]().to(META)
    x = torch.empty(2, 8, 4, device=META, requires_grad=True)
    starts = torch.empty(2, 8, device=META, dtype=torch.bool)
    for state in (None, neuron.initial_state(2)):
        spikes, state = neuron(x, state, starts)
        spikes.sum().backward()
        with torch.no_grad():
            step, _ = neuron.step(x[:, 0], spikeseq.detach(state))
        assert spikes.device.type == step.device.type == "meta"
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in (x, *neuron.parameters()))


def values(*size: int) -> Callable[[], Tensor]:
    return lambda: torch.empty(*size, device=META)


def tokens(*size: int) -> Callable[[], Tensor]:
    return lambda: torch.empty(*size, device=META, dtype=torch.int64)


SMALL = {"classes": 3, "width": 8, "depth": 2}
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "values": (lambda: SequenceClassifier(4, **SMALL, dropout=0.1), values(2, 8, 4)),
    "tokens": (lambda: SequenceClassifier(vocabulary=9, **SMALL, neuron="LIF", norm="layer"), tokens(2, 8)),
    "both ways": (lambda: SequenceClassifier(4, **SMALL, neuron="DSN", bidirectional=True), values(2, 8, 4)),
    "pre": (lambda: SequenceClassifier(4, **SMALL, neuron="SlidingPSN", placement="pre"), values(2, 8, 4)),
    "ssm": (lambda: SequenceClassifier(4, **SMALL, block="ssm", neuron="LIF"), values(2, 8, 4)),
    "pairs": (lambda: PairClassifier(vocabulary=9, **SMALL), tokens(2, 2, 8)),
    "language": (lambda: TokenModel(9, 8, 2), tokens(2, 8)),
    "columns": (lambda: ColumnCNN(3, width=4, channels=2, height=8), values(2, 6, 16)),
    "events": (lambda: EventCNN(3, (2, 9, 8), ((3, 4), (5,))), values(2, 4, 144)),
    "stills": (lambda: SEWResNet18(3, (3, 8, 8), (3, 4), 2, stem="cifar"), values(2, 192)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [True, False])
def test_models(name: str, training: bool) -> None:
    build, draw = MODELS[name]
    model = build().to(META).train(training)
    out = model(draw())
    out = out[0] if isinstance(out, tuple) else out
    out.sum().backward()
    assert out.device.type == "meta"
    missed = [key for key, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.is_meta)]
    assert not missed


@pytest.mark.parametrize("decay", [0.9, 0.9 + 0.1j, 1])
def test_numbers_do_not_come_from_the_cpu(decay: complex, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU that would wait for the queue."""
    made = torch.as_tensor

    def only_here(value: object, *, dtype: torch.dtype | None = None, device: torch.device | str) -> Tensor:
        assert torch.device(device).type == "cpu"
        return made(value, dtype=dtype, device=device)

    monkeypatch.setattr(torch, "as_tensor", only_here)
    x = torch.empty(2, 8, 4, device=META)
    membrane, state = spikeseq.ops.linear_scan(x, decay)
    assert membrane.is_complex() == state.is_complex() == isinstance(decay, complex)
    spikes = [spikeseq.ops.spike(x, 1e300), spikeseq.ops.lif(x, 0.5, 1e300, rho=1)[0]]
    assert all(s.device.type == "meta" for s in spikes)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_numbers_out_of_place_are_refused(device: str) -> None:
    x = torch.zeros(2, 8, 4, device=device)
    with pytest.raises(TypeError, match="lif: expected decay as a number"):
        spikeseq.ops.lif(x, 0.5j)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="lif: expected decay as a number"):
        spikeseq.ops.lif(x, 10**400)
    with pytest.raises(ValueError, match="spike: expected a finite threshold"):
        spikeseq.ops.spike(x, torch.nan)
    with pytest.raises(ValueError, match="for integer spikes, got 0"):
        spikeseq.ops.spike(x, 0.0, spikeseq.ops.integer())
