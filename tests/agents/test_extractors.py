"""The frame-stack extractor in algorithms without recurrence."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecFrameStack

from spikeseq_agents import SpikingCore, SpikingFrameStackExtractor

from .environments import ACTIONS, IMAGE, OBSERVATIONS
from .test_policies import noise

FRAMES = 4
ON_POLICY = {"n_steps": 16, "device": "cpu"}
OFF_POLICY = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "device": "cpu"}
ALGORITHMS = {
    "stable_baselines3.PPO": ("discrete", ON_POLICY | {"batch_size": 16, "n_epochs": 1}),
    "stable_baselines3.A2C": ("discrete", ON_POLICY),
    "sb3_contrib.TRPO": ("discrete", ON_POLICY | {"batch_size": 16}),
    "stable_baselines3.DQN": ("discrete", OFF_POLICY),
    "sb3_contrib.QRDQN": ("discrete", OFF_POLICY),
    "stable_baselines3.SAC": ("box", OFF_POLICY),
    "stable_baselines3.TD3": ("box", OFF_POLICY),
    "sb3_contrib.TQC": ("box", OFF_POLICY),
    "sb3_contrib.CrossQ": ("box", OFF_POLICY),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns_and_is_saved_in_every_algorithm(algorithm, tmp_path):
    module, name = algorithm.rsplit(".", 1)
    cls: Any = getattr(importlib.import_module(module), name)
    actions, options = ALGORITHMS[algorithm]
    env = VecFrameStack(noise(actions=ACTIONS[actions]), FRAMES)
    kwargs = {
        "features_extractor_class": SpikingFrameStackExtractor,
        "features_extractor_kwargs": {"frames": FRAMES, "width": 8},
        "net_arch": [8],
    }
    model = cls("MlpPolicy", env, policy_kwargs=kwargs, seed=0, **options).learn(40)
    model.save(tmp_path / "model.zip")
    observations = np.random.default_rng(0).normal(size=(10, 3 * FRAMES)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    loaded = cls.load(tmp_path / "model.zip", device="cpu")
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)


def test_features_are_spike_rates_over_the_frames_in_their_order():
    space = spaces.Box(-1.0, 1.0, (3 * FRAMES,), np.float32)
    extractor = SpikingFrameStackExtractor(space, FRAMES, width=8, neuron="LIF", time_constants=(2, 4))
    frames = torch.randn(5, FRAMES, 3)
    state, spikes = extractor.core.initial_state(5), []
    for t in range(FRAMES):
        out, state = extractor.core.sequence(frames[:, t : t + 1], state)
        spikes.append(out[:, 0])
    expected = torch.stack(spikes).mean(0)
    assert torch.allclose(extractor(frames.flatten(1)), expected, atol=1e-6)
    assert expected.gt(0).any()
    assert isinstance(extractor.core, SpikingCore)


def test_wrong_observations_are_named():
    with pytest.raises(ValueError, match="divide the 3 values"):
        SpikingFrameStackExtractor(OBSERVATIONS["box"], 2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="expected observations"):
        SpikingFrameStackExtractor(IMAGE, 2)
