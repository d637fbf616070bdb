"""Environments that need memory."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

import spikeseq_agents
from spikeseq_agents import MaskVelocity, MemoryChain
from spikeseq_agents.envs import VELOCITIES


@pytest.mark.parametrize("name", VELOCITIES)
def test_positions_stay_and_velocities_go(name):
    plain, masked = gym.make(name), MaskVelocity(gym.make(name))
    warns = name.startswith("Pendulum")  # of actions beyond [-1, 1], which are the environment's own
    check_env(masked, warn=not warns)
    kept = [i for i in range(len(plain.observation_space.sample())) if i not in VELOCITIES[name]]
    plain.action_space.seed(0)
    pairs = [(plain.reset(seed=0)[0], masked.reset(seed=0)[0])]
    for _ in range(5):
        action = plain.action_space.sample()
        pairs.append((plain.step(action)[0], masked.step(action)[0]))
    assert all(np.array_equal(full[kept], seen) for full, seen in pairs)


@pytest.mark.parametrize(
    ("name", "limit"), [("CartPoleNoVel-v1", 500), ("PendulumNoVel-v1", 200), ("MountainCarContinuousNoVel-v0", 999)]
)
def test_masked_environments_have_names_and_time_limits(name, limit):
    spikeseq_agents.register()
    env = gym.make(name)
    assert env.reset(seed=0)[0] in env.observation_space
    wrapper: Any = env
    while not isinstance(wrapper, gym.wrappers.TimeLimit):
        wrapper = wrapper.env
    assert wrapper._max_episode_steps == limit


def test_an_unknown_environment_must_say_where_velocities_stand():
    with pytest.raises(ValueError, match="velocities"):
        MaskVelocity(MemoryChain())
    assert MaskVelocity(MemoryChain(), (1,)).observation_space.shape == (1,)


@pytest.mark.parametrize("length", [1, 7])
def test_the_chain_pays_who_remembers(length):
    env = MemoryChain(length)
    check_env(env)
    cues = set()
    for seed in range(10):
        obs, _ = env.reset(seed=seed)
        cue, steps, ended = obs[0], 0, False
        cues.add(float(cue))
        while not ended:
            assert obs[1] == (steps == length)
            assert steps == 0 or obs[0] == 0
            obs, reward, ended, _, _ = env.step(int(cue > 0) if seed % 2 else int(cue < 0))
            steps += 1
        assert steps == length + 1
        assert reward == (1 if seed % 2 else -1)
    assert cues == {-1.0, 1.0}


def test_a_chain_needs_a_length():
    with pytest.raises(ValueError, match="length >= 1"):
        MemoryChain(0)


def test_popgym_without_popgym(monkeypatch):
    monkeypatch.setattr("spikeseq_agents.envs.find_spec", lambda _name: None)
    with pytest.raises(ImportError, match="pip install popgym"):
        gym.make("POPGym/RepeatPreviousEasy-v0")


@pytest.mark.peers
def test_popgym_observations_are_plain():
    pytest.importorskip("popgym")
    check_env(gym.make("POPGym/RepeatPreviousEasy-v0").unwrapped)
    theirs = {name.removeprefix("popgym-") for name in gym.registry if name.startswith("popgym-")}
    assert theirs == {name.removeprefix("POPGym/") for name in gym.registry if name.startswith("POPGym/")}
