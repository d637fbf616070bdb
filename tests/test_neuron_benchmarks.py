"""The comparison of neurons: every line builds, is trained and tested alike, and the table holds what was measured."""

import json

import pytest
import torch

from benchmarks import neurons
from spikeseq import Neuron
from spikeseq.tasks.memory import ByteSequences, MemoryData, Splits

SHAPES = {"columns": (32, 96), "smnist": (784, 1)}


class Bright(MemoryData[ByteSequences]):
    """Two classes that differ in brightness."""

    def __init__(self, shape, batch, seed):
        super().__init__(batch, seed)
        self.shape = shape

    def read(self):
        labels = torch.arange(16) % 2
        values = (labels[:, None, None] * 155 + 50).expand(-1, *self.shape).to(torch.uint8)
        return Splits(*(ByteSequences(values, labels, 255) for _ in range(3)))


@pytest.fixture(params=SHAPES)
def task(request, monkeypatch):
    setting = neurons.SETTINGS[request.param]
    bright = setting._replace(data=lambda _, batch, seed: Bright(SHAPES[request.param], batch, seed))
    monkeypatch.setitem(neurons.SETTINGS, request.param, bright)
    return request.param


def test_every_neuron_builds_in_the_same_network(task):
    setting = neurons.SETTINGS[task]
    lines = neurons.peers(setting)
    for name, (neuron, options) in {**lines, **neurons.ablations()}.items():
        layers = [m for m in setting.model(8, neuron, options).modules() if isinstance(m, Neuron)]
        assert layers
        if name in lines:  # integer spikes beside integer spikes alone
            assert {layer.levels for layer in layers} == {4 if name.endswith("N = 4") else None}


def test_runs_are_trained_tested_and_written_down(task, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    command = [task, "--data", str(tmp_path), "--only", "LIF", "DSN, N = 4", "--seeds", "0", "1", "--epochs", "2"]
    neurons.main([*command, "--width", "8", "--batch", "4", "--warmup-steps", "0", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["name"], row["seed"]) for row in rows] == [(n, s) for s in (0, 1) for n in ("LIF", "DSN, N = 4")]
    for row in rows:
        assert row["test"] == row["validation"]  # the splits are the same images
        assert row["joule"] > 0
        assert 0 <= row["rate"] <= 4
    table = out.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    assert len([line for line in table.splitlines() if "| 2 |" in line]) == 2  # a line a neuron, two seeds each


def test_a_line_that_does_not_exist_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        neurons.main(["columns", "--data", str(tmp_path), "--only", "GRU"])
    assert "got ['GRU']" in capsys.readouterr().err
