"""Figures: what is drawn is what was given; figures need no display and leave no global state."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from spikeseq.plots import membrane, raster, training_curve


def heights(axis):
    """What each line of an axis shows."""
    return [np.asarray(line.get_ydata()).tolist() for line in axis.lines]


def test_raster_draws_each_spike_at_its_step_and_neuron(tmp_path):
    spikes = (torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    figure = raster(spikes, title="layer")
    dots = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert sorted(map(tuple, dots.tolist())) == [tuple(map(float, p)) for p in spikes.nonzero().tolist()]
    assert "steps" in figure.axes[0].get_xlabel()
    path = tmp_path / "raster.png"
    figure.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_raster_of_layers_has_one_panel_each_and_shows_rates():
    layers = {"first": torch.ones(5, 3), "silent": torch.zeros(5, 3), "integer": torch.full((5, 3), 4)}
    figure = raster(layers)
    assert [a.get_title(loc="left") for a in figure.axes] == list(layers)
    assert [a.texts[0].get_text().split()[0] for a in figure.axes] == ["1.000", "0.000", "4.000"]


def test_integer_spikes_are_darker_where_larger():
    opacity = np.asarray(raster(torch.tensor([[1.0], [4.0], [2.0]])).axes[0].collections[0].get_facecolor())[:, 3]
    assert opacity.tolist() == [0.25, 1.0, 0.5]


def test_membrane_shows_values_threshold_and_spikes():
    values, spikes = torch.linspace(0, 1.5, 10), (torch.linspace(0, 1.5, 10) >= 1).float()
    axis = membrane(values, spikes, threshold=1.0).axes[0]
    assert heights(axis)[0] == values.tolist()
    assert heights(axis)[1] == [1.0, 1.0]
    assert np.asarray(axis.collections[0].get_offsets())[:, 0].tolist() == spikes.nonzero().squeeze(1).tolist()


def test_training_curve_reads_lightnings_csv_with_empty_cells(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,step,train_loss,val_accuracy,val_loss\n0,9,,0.5,2.0\n0,9,1.5,,\n1,19,,0.75,1.0\n1,19,1.25,,\n"
    )
    loss, accuracy = training_curve(path).axes
    assert heights(loss) == [[1.5, 1.25], [2.0, 1.0]]
    assert heights(accuracy) == [[50.0, 75.0]]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: raster(torch.zeros(2, 3, 4)),
        lambda: raster({}),
        lambda: membrane(torch.zeros(2, 3)),
        lambda: membrane(torch.zeros(3), torch.zeros(4)),
        lambda: training_curve([]),
        lambda: training_curve([{"epoch": 0, "lr": 1.0}]),
    ],
)
def test_wrong_shapes_are_refused(draw):
    with pytest.raises(ValueError, match="expected"):
        draw()


def test_drawing_leaves_pyplot_alone():
    code = "import sys, torch; from spikeseq.plots import raster; raster(torch.ones(2, 2)); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "matplotlib.figure" in modules
    assert "matplotlib.pyplot" not in modules
