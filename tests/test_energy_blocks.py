"""Counts of convolutional and attention networks against counting by hand, and what stands beside them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeseq.blocks import ColumnCNN, PairClassifier, SequenceClassifier, SEWResNet18
from spikeseq.blocks.attention import SpikeAttention
from spikeseq.energy import ACCUMULATE, MAC, MULTIPLY, audit, energy, s4d_channel_energy
from spikeseq.neurons import LIF
from spikeseq.tracing import trace

FIRES: dict[str, Any] = {"neuron": "LIF", "neuron_options": {"decay": 0.8, "threshold": 0.2}}


class Attend(nn.Module):
    """The layer alone, its three inputs side by side."""

    def __init__(self, layer: SpikeAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(*x.chunk(3, dim=-1))[0]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("most", [1, 3])
def test_attention_costs_pairs_of_spikes_and_rows_read(both: bool, most: int) -> None:
    torch.manual_seed(0)
    batch, time, heads, size = 2, 5, 2, 3
    model = Attend(SpikeAttention(heads * size, heads, (0.5, 1.0), bidirectional=both))
    x = torch.randint(0, most + 1, (batch, time, 3 * heads * size)).float()
    q, k, v = x.unflatten(-1, (3, heads, size)).unbind(2)
    written = read = 0.0
    for b in range(batch):
        for t in range(time):
            for h in range(heads):
                written += sum(float(k[b, t, h, i] * v[b, t, h, j]) for i in range(size) for j in range(size))
                read += sum(float(q[b, t, h, i]) for i in range(size) for _ in range(size))
    passes = 1 + both
    kv, qm = trace(model, x).events
    assert (kv.kind, kv.shape, qm.shape) == ("attention", "k^T v, 2 x 3 x 3", "q M, 2 x 3 x 3")
    assert (kv.spike_accumulates, qm.spike_accumulates) == (passes * written, passes * read)
    assert kv.macs == qm.macs == passes * batch * time * heads * size * size
    assert (kv.multiplies, qm.multiplies) == (passes * batch * time * size * size, 0)  # one of two heads decays
    report = energy(model, x)
    joule = ACCUMULATE * (written + read) + MULTIPLY * time * batch * size * size
    assert report.full_joule == pytest.approx(passes * joule / batch)
    rows = audit(model, x).rows
    assert {row.input for row in rows} == {"binary" if most == 1 else "integer 0..3"}
    assert audit(model, x + 0.1 * torch.rand_like(x)).exceptions == ("layer (model)", "layer (model)")


@pytest.mark.parametrize("both", [False, True])
def test_spikformer_is_spike_driven(both: bool) -> None:
    torch.manual_seed(0)
    model = SequenceClassifier(2, classes=3, width=6, depth=2, block="spikformer", heads=2, bidirectional=both, **FIRES)
    x = 2 * torch.randn(3, 20, 2)
    for _ in range(30):
        model(x)
    for form in (model, model.fold()):
        report = audit(form, x)
        assert report.spike_driven
        assert report.exceptions == ("encoder (encoder)", "head (head)")
        assert sum(row.kind == "attention" for row in report.rows) == 4
    assert min(energy(model, x).firing_rates.values()) > 0


def test_every_operation_of_a_column_cnn_by_hand() -> None:
    torch.manual_seed(0)
    width, height, steps = 4, 8, 37
    model, x = ColumnCNN(3, width, 2, height, **FIRES), torch.randn(2, steps, 2, height)
    for _ in range(30):
        model(x)
    report = energy(model.fold(), x)
    assert min(report.firing_rates.values()) > 0
    assert (report.samples, report.sequences, report.steps, report.levels, report.slots) == (2, 2, steps, 1, steps)
    rows = {row.name: row for row in report.rows}
    neurons = [i for i, layer in enumerate(model.layers.layers) if type(layer).__name__ == "MapNeuron"]
    sizes = [width * height] * 3 + [width * height // 2] * 3 + [2 * width]
    joule, dynamics = 0.0, LIF(width).dynamics_cost()
    assert dynamics == {"multiplies": 1 * width, "accumulates": 2 * width}
    for i, size in zip(neurons, sizes, strict=True):
        row = rows[f"layers.layers.{i}.neuron"]
        assert (row.multiplies, row.accumulates) == (steps * size, 2 * steps * size)
        joule += steps * size * (MULTIPLY + 2 * ACCUMULATE)
    for i in (1, 3, 6, 8, 10):
        row = rows[f"layers.layers.{i}.0"]
        assert row.input.startswith(("binary", "integer 0..2 x 0.5"))
        joule += ACCUMULATE * row.accumulates
        side = height if i < 6 else height // 2
        taps = 3 * side - 2  # the kernel hangs over both ends
        assert row.accumulates <= steps * width * (2 * taps * width + side)
    for i, size in ((5, width * height), (12, width * height // 2)):  # means of two
        row = rows[f"layers.layers.{i}"]
        assert (row.multiplies, row.accumulates) == (steps * size / 2, steps * size)
        joule += MULTIPLY * row.multiplies + ACCUMULATE * row.accumulates
    linear = rows["layers.layers.14"]
    joule += ACCUMULATE * linear.accumulates
    encoder_macs = steps * 2 * width * (3 * height - 2)
    assert rows["encoder.0"].macs == encoder_macs
    joule += MAC * encoder_macs + ACCUMULATE * steps * width * height  # the folded norm is its bias
    joule += MULTIPLY * 2 * width + ACCUMULATE * steps * 2 * width + MAC * 3 * 2 * width + ACCUMULATE * 3  # mean, head
    assert report.full_joule == pytest.approx(joule)

    macs = encoder_macs + 3 * 2 * width + steps * width * height // 4 * 2 * width
    macs += steps * width**2 * (2 * (3 * height - 2) + 3 * (3 * height // 2 - 2))
    biases = steps * (width * height * 3 + width * height // 2 * 3 + 2 * width) + 3
    means = sum(rows[name].joule for name in ("layers.layers.5", "layers.layers.12", "pool"))
    assert report.dense_joule == pytest.approx(MAC * macs + ACCUMULATE * biases + means)
    assert report.s4d_joule == pytest.approx(report.dense_joule + steps * sum(sizes) * s4d_channel_energy())
    assert "mJ for a dense network of the same shape" in str(report)
    verdict = audit(model, x)
    assert verdict.spike_driven
    assert verdict.exceptions == ("encoder.0 (encoder)", "head (head)")


def test_s4d_channel() -> None:
    """One complex pair: A z 4 multiplies, 2 adds; + u 1; Re(C z) 2, 2; D u 1, 1."""
    assert s4d_channel_energy(2) == pytest.approx(7 * MULTIPLY + 6 * ACCUMULATE)


@pytest.mark.parametrize("levels", [None, 4])
def test_residual_networks_are_spike_driven(levels: int | None) -> None:
    torch.manual_seed(0)
    fires = {"neuron": "LIF", "neuron_options": {"threshold": 0.4, "levels": levels}}
    model, x = SEWResNet18(3, (3, 8, 8), (4, 5), 4, "cifar", **fires), torch.randn(2, 3, 8, 8)
    for _ in range(3):
        model(x)
    report = energy(model, x)
    assert (report.steps, report.levels, report.slots) == (4, levels or 1, 4 * (levels or 1))
    adds = {row.name: row.accumulates for row in report.rows if row.kind == "residual"}
    assert list(adds.values()) == [4 * 4 * 64] * 2 + [4 * 5 * 16] * 2
    assert next(row.macs for row in report.rows if row.name == "encoder.0") == 3 * 4 * 22**2  # once, not four times
    verdict = audit(model, x)
    assert verdict.spike_driven
    assert verdict.exceptions == ("encoder.0 (encoder)", "head (head)")


@pytest.mark.parametrize("both", [False, True])
def test_pairs_and_directions_count_in_the_full_count(both: bool) -> None:
    """A pair costs what its documents cost apart, but for the head; each direction has its own neurons."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"classes": 2, "width": 6, "depth": 1, "bidirectional": both, **FIRES}
    pair, single = PairClassifier(vocabulary=11, **options), SequenceClassifier(vocabulary=11, **options)
    single.encoder, single.backbone = pair.encoder, pair.backbone
    x = torch.randint(0, 11, (3, 2, 10))
    together = {row.name: row for row in energy(pair, x).rows if row.part != "head"}
    apart = [{row.name: row for row in energy(single, x[:, i]).rows} for i in range(2)]
    assert any(row.kind == "neuron" and "reverse" in row.name for row in together.values()) == both
    for name, row in together.items():
        assert row.joule == pytest.approx(apart[0][name].joule + apart[1][name].joule), name
