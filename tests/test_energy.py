"""The counts against counting by hand, and the paper's table from its own formula."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeseq.blocks import SDTCM, PairClassifier, SequenceClassifier, TokenModel
from spikeseq.energy import ACCUMULATE, MAC, MULTIPLY, audit, energy, paper_layer_energy
from spikeseq.neurons import LIF, Neuron
from spikeseq.tracing import classify, trace

LIVELY: dict[str, dict[str, Any]] = {
    "PRF": {"dt_min": 0.3, "dt_max": 1.0, "threshold": 0.4},
    "LIF": {"decay": 0.8, "threshold": 0.7},
    "DSN": {},
}


def classifier(neuron: str = "PRF", width: int = 6, **options: Any) -> SequenceClassifier:
    return SequenceClassifier(
        2, classes=3, width=width, depth=2, neuron=neuron, neuron_options=LIVELY[neuron], **options
    )


class Spikes(nn.Module):
    """The spikes of a neuron without its state, for nn.Sequential."""

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(x)[0]


@pytest.mark.parametrize(
    ("task", "depth", "width", "steps", "percent", "published"),
    [
        ("ListOps", 8, 128, 2048, 3.97, 0.075),
        ("Text", 6, 256, 4096, 5.05, 0.298),
        ("Retrieval", 6, 256, 4000, 1.73, 0.211),
        ("Image", 6, 512, 1024, 4.05, 0.187),
        ("Pathfinder", 6, 256, 1024, 3.84, 0.067),
    ],
)
def test_paper_table(task: str, depth: int, width: int, steps: int, percent: float, published: float) -> None:
    """Table of arXiv 2410.03530, mJ a sample, from its formula at the mean firing rates of its per-layer tables.

    The arithmetic gives .0674, .2911, .1903, .1898 and .0640: up to 10 % below the printed values for ListOps and
    Retrieval and within 5 % for the others. The rest is the paper's own (its layers' rates do not average to the
    energy it prints), so the formula is pinned to these numbers and compared with the table within 11 %.
    """
    rate = percent / 100
    joule = depth * steps * paper_layer_energy(width, rate, rate)
    exact = {"ListOps": 0.06741, "Text": 0.29110, "Retrieval": 0.19029, "Image": 0.18976, "Pathfinder": 0.06401}
    assert joule * 1e3 == pytest.approx(exact[task], rel=1e-3)
    assert joule * 1e3 == pytest.approx(published, rel=0.11)


def test_paper_formula_term_by_term() -> None:
    """At rate 0 nothing but dynamics and 2 D accumulates is left; each spike adds D accumulates."""
    silent = paper_layer_energy(10, 0.0, 0.0)
    assert silent == pytest.approx(MULTIPLY * 50 + ACCUMULATE * 30 + ACCUMULATE * 20)
    assert paper_layer_energy(10, 0.1, 0.0) - silent == pytest.approx(ACCUMULATE * 10)
    assert silent - paper_layer_energy(10, 0.0, None) == pytest.approx(ACCUMULATE * 10)
    assert pytest.approx(MULTIPLY + ACCUMULATE) == MAC


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("neuron", sorted(LIVELY))
def test_every_operation_of_a_classifier_by_hand(neuron: str, both: bool) -> None:
    torch.manual_seed(0)
    model, x = classifier(neuron, bidirectional=both), torch.randn(3, 20, 2) * 2
    report = energy(model, x)
    rows = {row.name: row for row in report.rows}
    width, steps, directions = 6, 20, 1 + both
    rates = report.firing_rates
    assert min(rates.values()) > 0
    block = model.backbone.blocks()[0]
    assert isinstance(block, SDTCM)
    dynamics = block.neuron.dynamics_cost()
    multiplies = accumulates = 0.0
    for i in range(2):
        layer = f"backbone.layers.{i}"
        spikes = [rates[f"{layer}.neuron"]] + ([rates[f"{layer}.reverse_neuron"]] if both else [])
        token = steps * width * (sum(spikes) * width + 1)
        channel = steps * width * (rates[f"{layer}.spatial"] * width + 1)
        assert rows[f"{layer}.token"].accumulates == pytest.approx(token)
        assert rows[f"{layer}.channel"].accumulates == pytest.approx(channel)
        multiplies += steps * (directions * dynamics["multiplies"] + width)
        accumulates += steps * (directions * dynamics["accumulates"] + width + 2 * width) + token + channel
    multiplies += steps * width + width  # final norm, mean
    accumulates += steps * width * 3 + 3  # encoder's bias, final norm, sum of the mean; head's bias
    macs = steps * 2 * width + width * 3  # encoder, head
    total = MULTIPLY * multiplies + ACCUMULATE * accumulates + MAC * macs
    assert report.full_joule == pytest.approx(total)
    per_step = [
        paper_layer_energy(
            width,
            rates[f"backbone.layers.{i}.neuron"],
            rates[f"backbone.layers.{i}.spatial"],
            dynamics["multiplies"],
            dynamics["accumulates"],
        )
        for i in range(2)
    ]
    assert report.paper_joule == pytest.approx(steps * sum(per_step))


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.sampled_from(sorted(LIVELY)), st.booleans())
def test_padding_is_not_counted(seed: int, neuron: str, both: bool) -> None:
    """A padded batch costs the mean of its samples, each alone and unpadded."""
    torch.manual_seed(seed)
    model, x = classifier(neuron, bidirectional=both).double(), torch.randn(3, 9, 2, dtype=torch.float64) * 2
    lengths = torch.randint(1, 10, (3,))
    together = energy(model, (x, lengths))
    alone = [energy(model, x[i : i + 1, :n]) for i, n in enumerate(lengths.tolist())]
    assert together.full_joule == pytest.approx(sum(report.full_joule for report in alone) / 3)
    assert together.steps == pytest.approx(sum(report.steps for report in alone) / 3)
    for name, rate in together.firing_rates.items():
        spikes = sum(report.firing_rates[name] * report.steps for report in alone)
        assert rate == pytest.approx(spikes / int(lengths.sum()))


def test_pairs_count_both_documents_and_the_paper_one() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"neuron_options": LIVELY["PRF"]}
    pair = PairClassifier(vocabulary=11, classes=2, width=6, depth=1, **options)
    report = energy(pair, torch.randint(0, 11, (3, 2, 10)))
    rows = {row.name: row for row in report.rows}
    assert (report.samples, report.sequences, report.steps) == (3, 6, 10)
    assert rows["backbone.layers.0.neuron"].multiplies == 2 * 10 * 5 * 6
    rates = report.firing_rates
    layer = paper_layer_energy(6, rates["backbone.layers.0.neuron"], rates["backbone.layers.0.spatial"])
    assert report.paper_joule == pytest.approx(10 * layer)
    assert audit(pair, torch.randint(0, 11, (3, 2, 10))).exceptions == ("compare (head)", "head (head)")


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(0, 2**16))
def test_an_integer_spike_costs_what_its_unary_slots_cost(levels: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randint(0, levels + 1, (2, 7, 5)).float()
    linear = nn.Sequential(nn.Linear(5, 4, bias=False))
    unary = sum(energy(linear, (x >= level).float()).full_joule for level in range(1, levels + 1))
    assert energy(linear, x).full_joule == pytest.approx(unary)


def test_slots_are_steps_times_levels() -> None:
    report = energy(classifier("DSN"), torch.randn(2, 9, 2))
    assert (report.steps, report.levels, report.slots) == (9, 4, 36)
    assert "T = 9 steps, N = 4 level(s), 36 slots" in str(report)
    assert energy(classifier("LIF"), torch.randn(2, 9, 2)).levels == 1


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_convolution_counts_each_touched_weight(stride: int, padding: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 6, 3, stride, padding, groups=groups)
    x = (torch.rand(2, 4, 9) < 0.4).float()
    spikes = dense = 0
    for position in range(-padding, 9 + padding - 2, stride):
        for t in range(position, position + 3):
            if 0 <= t < 9:
                spikes += int(x[:, :, t].sum()) * 6 // groups
                dense += x[:, :, t].numel() * 6 // groups
    outputs = conv(x).numel()
    event = trace(nn.Sequential(conv), x).events[0]
    assert (event.kind, event.spike_accumulates, event.macs, event.accumulates) == (
        "convolution", spikes, dense, outputs,
    )  # fmt: skip
    assert energy(nn.Sequential(conv), x).full_joule == pytest.approx(ACCUMULATE * (spikes + outputs) / 2)
    assert energy(nn.Sequential(conv), x + 0.1 * torch.rand_like(x)).full_joule == pytest.approx(
        (MAC * dense + ACCUMULATE * outputs) / 2
    )


@pytest.mark.parametrize("neuron", sorted(LIVELY))
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"placement": "post"}, {"channel_mixer": False}])
def test_sdtcm_is_spike_driven_and_the_rest_is_named(neuron: str, options: dict[str, Any]) -> None:
    model = classifier(neuron, **options).train()
    nn.init.constant_(model.head.weight, 0.0)  # weights that look like spikes are still weights
    for form in (model, model.fold()):
        report = audit(form, torch.randn(3, 20, 2) * 2)
        assert report.spike_driven
        assert report.exceptions == ("encoder (encoder)", "head (head)")
        assert "verdict on the blocks: spike-driven" in str(report)


def test_a_block_fed_with_floats_is_found() -> None:
    model = classifier("LIF")
    layer = model.backbone.blocks()[1]
    layer.neuron = LIF(6, 0.8, output="membrane")
    report = audit(model, torch.randn(3, 20, 2))
    assert not report.spike_driven
    assert "backbone.layers.1.token (block)" in report.exceptions
    assert "NOT spike-driven" in str(report)


def test_products_called_as_functions_are_found() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            spikes = (x > 0).float()
            return (x @ spikes.transpose(1, 2)) @ x

    rows = audit(Attention(), torch.randn(2, 5, 3)).rows
    assert [(row.kind, row.input, row.spike_driven) for row in rows] == [
        ("matmul", "binary", True),
        ("matmul", "float", False),
    ]


def test_a_convolutional_model_without_blocks() -> None:
    torch.manual_seed(0)
    x = (torch.rand(2, 8, 5) < 0.5).float()
    model = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(8), Spikes(LIF(6, 0.5, 0.3)), nn.Conv1d(8, 4, 3), nn.Flatten()
    )
    report = energy(model, x)
    assert report.paper_joule is None
    assert "none (no SD-TCM layers)" in str(report)
    assert list(report.firing_rates) == ["2.neuron"]
    assert {row.part for row in report.rows} == {"model"}
    assert audit(model, x).spike_driven
    assert not audit(model, x * torch.rand(2, 8, 5)).spike_driven


def test_the_model_is_left_as_it_was() -> None:
    model = classifier("LIF").train()
    model.head.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    energy(model, torch.randn(2, 5, 2))
    with pytest.raises(ValueError, match="finite"):
        audit(model, torch.full((2, 5, 2), math.nan))
    assert [module.training for module in model.modules()] == modes
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    torch.testing.assert_close(model.state_dict(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_token_models_take_lengths_by_name() -> None:
    model = TokenModel(7, 6, 1, neuron_options=LIVELY["PRF"])
    report = energy(model, (torch.randint(0, 7, (2, 5)), torch.tensor([5, 1])))
    head = next(row for row in report.rows if row.name == "head")
    assert head.macs == 3 * 6 * 7  # three valid steps a sample


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.0], "binary"),
        ([0.0, 1.0], "binary"),
        ([0.0, 0.7], "binary x 0.7"),
        ([0.0, 1.0, 3.0], "integer 0..3"),
        ([0.0, 2.0, 4.0], "integer 0..4"),
        ([0.0, 0.5, 1.5], "integer 0..3 x 0.5"),
        ([-1.0, 0.0, 1.0], "integer -1..1"),
        ([0.0, 1.0, 1.5, 1.7], "float"),
        ([0.0, 1.0, 200.0], "float"),
    ],
)
def test_what_counts_as_spikes(values: list[float], expected: str) -> None:
    assert str(classify(torch.tensor(values))) == expected


def test_bad_batches_are_named() -> None:
    model = classifier()
    with pytest.raises(TypeError, match=r"a tensor x or a tuple \(x, lengths\)"):
        energy(model, [1, 2])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"at least one sample and one step, got \[0, 5, 2\]"):
        energy(model, torch.zeros(0, 5, 2))
    with pytest.raises(ValueError, match=r"expected 1..5 .*got 9"):
        energy(model, (torch.zeros(1, 5, 2), torch.tensor([9])))
