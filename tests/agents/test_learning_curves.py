"""The script that draws the returns of training."""

import importlib.util

import numpy as np
import pytest

from spikeseq_agents.__main__ import main

from .test_cli import CHAIN, ROOT, written


@pytest.fixture
def script():
    pytest.importorskip("scipy")
    spec = importlib.util.spec_from_file_location("learning_curves", ROOT / "agents" / "learning_curves.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_runs_become_a_picture(script, tmp_path, capsys):
    config = written(tmp_path, {"MemoryChain-v0": CHAIN})
    runs = tmp_path / "runs" / "chain"
    for seed in (1, 2):
        main(["train", "--config", config, "--seed", str(seed), "--folder", str(runs / f"PRF_seed{seed}")])
    steps, returns = script.curve(runs / "PRF_seed1", 5)
    assert (np.diff(steps) == 4).all()  # a chain of 3 takes 4 steps
    assert np.abs(returns).max() <= 1
    picture = tmp_path / "curves.png"
    script.main([str(tmp_path / "runs"), "--output", str(picture)])
    assert picture.read_bytes()[1:4] == b"PNG"
    capsys.readouterr()
    with pytest.raises(SystemExit, match="expected runs"):
        script.draw(tmp_path, 5)


def test_the_interval_holds_the_mean_19_times_of_20(script):
    samples = np.random.default_rng(0).normal(size=(3, 4000))
    mean, half = script.mean_and_interval(samples)
    assert np.mean(np.abs(mean) < half) == pytest.approx(0.95, abs=0.02)
    assert (script.mean_and_interval(samples[:1])[1] == 0).all()
