"""Invalid actions masked out, for recurrent policies: the mask is part of the observation.

So the buffers keep it, training sees the mask of acting, and `predict`, `evaluate_policy` and the callbacks stay as
they are. The environment offers its masks as for sb3-contrib's MaskablePPO, by a method `action_masks()`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.maskable.distributions import MaskableDistribution, make_masked_proba_distribution
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from .policies import MultiInputSpikingPolicy

MASK = "action_mask"


class MaskedActions(gym.ObservationWrapper):
    """Puts `action_masks()` into the observation: a Dict of "observation", or of what a Dict held, and "action_mask".

    Actions: Discrete, or MultiDiscrete with the masks of its parts one after another; the method may stand in the
    environment or in a wrapper such as sb3-contrib's ActionMasker. True is allowed. ValueError where a mask has another
    size or allows nothing. VecNormalize then needs norm_obs_keys, such as ["observation"].
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        if not is_masking_supported(env):
            raise ValueError(f"MaskedActions: expected an environment with a method action_masks, got {env}")
        self.sizes = _sizes(env.action_space)
        inner = env.observation_space
        parts = dict(inner.spaces) if isinstance(inner, spaces.Dict) else {"observation": inner}
        self.observation_space = spaces.Dict({**parts, MASK: spaces.MultiBinary(sum(self.sizes))})

    def observation(self, observation: Any) -> dict[str, Any]:
        mask = np.asarray(get_action_masks(self.env), dtype=np.int8)
        if mask.shape != (sum(self.sizes),):
            raise ValueError(f"MaskedActions: expected a mask [{sum(self.sizes)}], got {list(mask.shape)}")
        if not all(part.any() for part in np.split(mask, np.cumsum(self.sizes)[:-1])):
            raise ValueError(f"MaskedActions: expected a mask that allows an action, got {mask.tolist()}")
        parts = observation if isinstance(observation, dict) else {"observation": observation}
        return {**parts, MASK: mask}


class MaskableSpikingPolicy(MultiInputSpikingPolicy):
    """`MultiInputSpikingPolicy` for environments in `MaskedActions`: actions that the mask forbids have probability 0.

    The cores do not see the mask. RecurrentPPO and SpikingPPO take it as "MaskableSpikingPolicy".
    """

    _mask: Tensor  # of the observations being acted on

    def __init__(self, observation_space: Any, action_space: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(observation_space, spaces.Dict) or MASK not in observation_space.spaces:
            raise ValueError(f"MaskableSpikingPolicy: expected observations of MaskedActions, got {observation_space}")
        _sizes(action_space)
        super().__init__(observation_space, action_space, *args, **kwargs)
        masked: Any = make_masked_proba_distribution(action_space)
        self.action_dist = masked

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        whole = self.observation_space
        assert isinstance(whole, spaces.Dict)
        self.observation_space = spaces.Dict({name: part for name, part in whole.items() if name != MASK})
        try:
            return super().make_features_extractor()
        finally:
            self.observation_space = whole

    def forward(self, obs: Any, *args: Any, **kwargs: Any) -> Any:
        self._mask = obs[MASK]
        return super().forward(obs, *args, **kwargs)

    def evaluate_actions(self, obs: Any, *args: Any, **kwargs: Any) -> Any:
        self._mask = obs[MASK]
        return super().evaluate_actions(obs, *args, **kwargs)

    def get_distribution(self, obs: Any, *args: Any, **kwargs: Any) -> Any:
        self._mask = obs[MASK]
        return super().get_distribution(obs, *args, **kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Any:
        distribution: Any = self.action_dist
        assert isinstance(distribution, MaskableDistribution)
        distribution = distribution.proba_distribution(action_logits=self.action_net(latent_pi))
        distribution.apply_masking(self._mask > 0.5)
        return distribution


def _sizes(space: spaces.Space) -> list[int]:
    """How many actions each part of the space has."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return space.nvec.tolist()
    raise ValueError(f"action masking: expected actions Discrete or MultiDiscrete, got {space}")


def register() -> None:
    """Let RecurrentPPO find the policy by name."""
    RecurrentPPO.policy_aliases["MaskableSpikingPolicy"] = MaskableSpikingPolicy
