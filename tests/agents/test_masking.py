"""Masked actions: never taken, in acting as in training."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.envs import InvalidActionEnvDiscrete, InvalidActionEnvMultiDiscrete
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from spikeseq_agents import MaskedActions, SpikingPPO
from spikeseq_agents.masking import MASK

from .environments import ACTIONS, DICT, OBSERVATIONS, Noise
from .test_policies import small

DISCRETE, MULTI = ACTIONS["discrete"], ACTIONS["multidiscrete"]


class Masked(Noise):
    """Noise with masks at random; an action that they forbid is an error."""

    def action_masks(self):
        return self.mask

    def _draw(self):
        space: Any = self.action_space
        sizes = [space.n] if isinstance(space, spaces.Discrete) else space.nvec
        parts = [self.np_random.random(size) < 0.5 for size in sizes]
        for part in parts:
            part[self.np_random.integers(len(part))] = True
        self.parts, self.mask = parts, np.concatenate(parts)

    def reset(self, **kwargs):
        result = super().reset(**kwargs)
        self._draw()
        return result

    def step(self, action):
        assert all(part[a] for part, a in zip(self.parts, np.atleast_1d(action), strict=True))
        self._draw()
        return super().step(action)


def masked(actions=DISCRETE, observations=OBSERVATIONS["box"]):
    return make_vec_env(lambda: MaskedActions(Masked(observations, actions)), 2, seed=0)


@pytest.mark.parametrize("cls", [RecurrentPPO, SpikingPPO])
@pytest.mark.parametrize("actions", [DISCRETE, MULTI])
@pytest.mark.parametrize("observations", [OBSERVATIONS["box"], DICT])
def test_no_forbidden_action_is_taken(cls, actions, observations, tmp_path):
    model = small(masked(actions, observations), "MaskableSpikingPolicy", cls, learning_rate=0.05).learn(96)
    evaluate_policy(model, masked(actions, observations), n_eval_episodes=4, deterministic=False)
    model.save(tmp_path / "model.zip")
    loaded = cls.load(tmp_path / "model.zip", device="cpu")
    evaluate_policy(loaded, masked(actions, observations), n_eval_episodes=4)


def test_training_sees_the_masks_of_acting():
    """Ratios are 1 before the first update, and forbidden actions have no share in the entropy."""
    model: Any = small(masked(), "MaskableSpikingPolicy", SpikingPPO)
    _, callback = model._setup_learn(100)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    batch = next(model.rollout_buffer.get(32))
    with torch.no_grad():
        _, log_prob, entropy = model.policy.evaluate_actions(
            batch.observations, batch.actions.long().flatten(), batch.lstm_states, batch.episode_starts
        )
    assert torch.allclose(log_prob, batch.old_log_prob, atol=1e-5)
    allowed = batch.observations[MASK].sum(-1)
    assert set(allowed.tolist()) == {1.0, 2.0, 3.0}
    assert (entropy <= allowed.log() + 1e-5).all()
    assert (entropy[allowed > 1] > 0.1).all()


def test_the_cores_do_not_see_the_mask():
    model = small(masked(), "MaskableSpikingPolicy")
    assert model.policy.features_dim == 3
    assert set(model.observation_space.spaces) == {"observation", MASK}


@pytest.mark.parametrize("env", [InvalidActionEnvDiscrete, InvalidActionEnvMultiDiscrete])
def test_environments_of_sb3_contrib(env):
    check_env(MaskedActions(env()))
    wrapped = VecNormalize(make_vec_env(lambda: MaskedActions(env()), 2), norm_obs=False)
    small(wrapped, "MaskableSpikingPolicy", SpikingPPO).learn(32)


def test_wrong_environments_and_masks_are_named():
    with pytest.raises(ValueError, match="method action_masks"):
        MaskedActions(Noise(OBSERVATIONS["box"]))
    with pytest.raises(ValueError, match="Discrete or MultiDiscrete"):
        MaskedActions(Masked(OBSERVATIONS["box"], ACTIONS["multibinary"]))
    with pytest.raises(ValueError, match="expected observations of MaskedActions"):
        small(Noise(DICT), "MaskableSpikingPolicy")
    for mask, message in (([True], r"a mask \[3\], got \[1\]"), ([False] * 3, "allows an action")):
        env: Any = Masked(OBSERVATIONS["box"])
        env._draw, env.mask = (lambda: None), mask
        with pytest.raises(ValueError, match=message):
            MaskedActions(env).reset()
