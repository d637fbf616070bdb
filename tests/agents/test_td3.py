"""The population-coded spiking actor in TD3."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import TD3
from stable_baselines3.common.vec_env import VecFrameStack
from torch import nn

from spikeseq_agents import SpikingTD3Policy
from spikeseq_agents.population import GaussianEncoder, PopulationNetwork

from .environments import ACTIONS, IMAGE, OBSERVATIONS
from .test_policies import noise

SMALL = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "device": "cpu", "seed": 0}


def small(env: Any, **kwargs: Any) -> Any:
    return TD3("SpikingTD3Policy", env, policy_kwargs={"net_arch": [8, 8], "population": 4, **kwargs}, **SMALL)


@given(dims=st.integers(1, 3), population=st.integers(1, 5), steps=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_encoder_neuron_spikes_its_activity_times_the_steps(dims, population, steps, seed):
    torch.manual_seed(seed)
    encoder = GaussianEncoder(dims, population, steps)
    x = 4 * torch.rand(6, dims) - 2
    with torch.no_grad():
        spikes = encoder(x)
    activity = torch.exp(-((x[:, :, None] - encoder.centre) ** 2) / 0.3).flatten(1)
    # after t steps t * activity thresholds were reached; at most one spike a step, as the activity is at most 1
    expected = (steps * activity / 0.999 + 1e-4).floor().clamp(max=steps)
    assert spikes.shape == (6, steps, dims * population)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert (spikes.sum(1) - expected).abs().gt(0.5).float().mean() <= 0.02


def test_every_parameter_of_the_actor_learns():
    network = PopulationNetwork(3, 2, frames=1, steps=5, population=10, width=32, layers=2)
    network(torch.randn(64, 3)).square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("frames", [1, 3])
def test_the_state_is_carried_over_the_frames(frames):
    """The actions of frames in a row are those of the core stepped through them with its state kept."""
    network = PopulationNetwork(2 * frames, 1, frames=frames, steps=4, population=5, width=16, layers=2)
    x, state, out_state = torch.randn(6, frames, 2), None, None
    with torch.no_grad():
        for frame in range(frames):
            spikes, state = network.core.sequence(network.encoder(x[:, frame]), state)
            out, out_state = network.out(spikes, out_state)
        rates = out.mean(1).unflatten(1, (1, -1))
        expected = torch.tanh(network.decoder(rates).squeeze(-1))
        assert torch.allclose(network(x.flatten(1)), expected, atol=1e-5)
        earlier = x.clone()
        earlier[:, 0] += 1
        assert not torch.equal(network(earlier.flatten(1)), network(x.flatten(1)))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("neuron", ["DSN", "LIF", "PRF"])
def test_it_learns_and_is_saved(frames, neuron, tmp_path):
    env = VecFrameStack(noise(actions=ACTIONS["box"]), frames)
    model = small(env, frames=frames, core_options={"neuron": neuron, "time_constants": (1, 20)})
    before = {name: p.clone() for name, p in model.actor.named_parameters()}
    model.learn(60)
    moved = {name for name, p in model.actor.named_parameters() if not torch.equal(p, before[name])}
    assert {"mu.encoder.centre", "mu.core.layers.0.mixer.weight", "mu.decoder.weight"} <= moved
    observations = np.random.default_rng(0).normal(size=(10, 3 * frames)).astype(np.float32)
    expected, _ = model.predict(observations)
    model.save(tmp_path / "model.zip")
    assert np.array_equal(TD3.load(tmp_path / "model.zip", device="cpu").predict(observations)[0], expected)
    model.policy.save(str(tmp_path / "policy.pth"))
    policy = SpikingTD3Policy.load(str(tmp_path / "policy.pth"), device="cpu")
    assert np.array_equal(policy.predict(observations)[0], expected)


def test_only_the_actor_spikes_and_pendulum_runs():
    model: Any = TD3("SpikingTD3Policy", gym.make("Pendulum-v1"), **SMALL).learn(20)
    assert [type(m) for m in model.critic.qf0] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert (model.actor.mu.core.num_layers, model.actor.mu.core.width, model.actor.mu.steps) == (2, 256, 5)


def test_nan_observations_are_named():
    model = small(noise(actions=ACTIONS["box"]))
    with pytest.raises(ValueError, match="finite"):
        model.predict(np.full((1, 3), np.nan, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 2}, "divide the 3 values"),
        ({"steps": 0}, "steps as a whole number"),
        ({"net_arch": [8, 4]}, "layers of one width"),
        ({"core_options": {"neuron": "PSN"}}, "one of"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(noise(actions=ACTIONS["box"]), **options)


def test_wrong_spaces_are_named():
    for observations, actions in ((IMAGE, ACTIONS["box"]), (OBSERVATIONS["box"], ACTIONS["matrix"])):
        with pytest.raises(ValueError, match="as a Box"):
            small(noise(observations, actions))
