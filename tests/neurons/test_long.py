"""Long sequences: a million steps in constant memory, and training over 131,072 steps at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import spikeseq
from benchmarks.memory import resident
from spikeseq import DSN, LIF, PRF, Neuron, SlidingPSN
from tests import laws

ROOT = Path(__file__).parents[2]
CHUNK, WIDTH = 2000, 8
SHORT, LONG = 100_000, 1_000_000
TRAINED = 131_072
# with bounds of the membrane for |x| <= 1: max|x| / (1 - decay), for PRF gain / (1 - |A|)
NEURONS: dict[str, tuple[Callable[[int], Neuron], float]] = {
    "LIF": (lambda width: LIF(width, decay=0.9, train_decay=True), 10.0),
    "PRF": (lambda width: PRF(width, dt_min=0.3, dt_max=1.5), 12.0),
    "DSN": (lambda width: DSN(width), 1.0),
    "SlidingPSN": (lambda width: SlidingPSN(width), 1.875),
}


def stream(neuron: Neuron, steps: int, cut: Callable = spikeseq.detach) -> float:
    """The largest |membrane| over `steps` in chunks, with gradients on, the state carried through `cut`."""
    neuron.output, state, largest = "membrane", None, 0.0
    for _ in range(steps // CHUNK):
        membrane, state = neuron(torch.rand(1, CHUNK, WIDTH).mul_(2).sub_(1), state)
        largest = max(largest, membrane.detach().abs().max().item())
        state = cut(state)
    return largest


def report() -> dict[str, tuple[float, int]]:
    """neuron -> largest membrane, and bytes by which the most memory grew from 100,000 steps to a million; in a fresh
    process. "kept": the same for a stream that keeps its history, to show that growth is seen."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = {name: make(WIDTH) for name, (make, _) in NEURONS.items()}
    for neuron in made.values():
        stream(neuron, SHORT)
    found = {}
    for name, neuron in made.items():
        before = resident("VmHWM")
        found[name] = (stream(neuron, LONG), resident("VmHWM") - before)
    before = resident("VmHWM")
    found["kept"] = (stream(made["LIF"], LONG, cut=lambda state: state), resident("VmHWM") - before)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_a_million_steps_hold_constant_memory() -> None:
    code = "import json; from tests.neurons.test_long import report; print(json.dumps(report()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    inputs = 4 * WIDTH * LONG  # what remembering every input would take
    assert found.pop("kept")[1] > inputs / 2
    for name, (largest, grown) in found.items():
        assert grown < inputs / 16, f"{name}: {grown / 2**20:.1f} MiB more after a million steps"
        assert 0 < largest <= NEURONS[name][1] * (1 + 1e-4), f"{name}: membrane {largest}"


@pytest.mark.parametrize("name", NEURONS)
def test_training_over_131072_steps_equals_two_halves(name: str) -> None:
    """Spikes, final state and the gradients of input and parameters; the state is carried, not detached."""
    torch.manual_seed(0)
    neuron = NEURONS[name][0](3)
    x = torch.randn(1, TRAINED, 3) * 2 + 0.3
    assert 0.02 < neuron(x)[0].mean() < (neuron.levels or 1) * 0.98
    laws.chunks_equal_whole(neuron, x, None, [TRAINED // 2])
