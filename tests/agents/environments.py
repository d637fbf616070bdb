"""Small environments with every space that RecurrentPPO supports."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

OBSERVATIONS = {
    "box": spaces.Box(-1.0, 1.0, (3,), np.float32),
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float32),
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(4),
}
ACTIONS = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "matrix": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(2),
}
IMAGE = spaces.Box(0, 255, (3, 40, 40), np.uint8)
DICT = spaces.Dict({"vector": OBSERVATIONS["box"], "digit": spaces.Discrete(3), "image": IMAGE})


class Noise(gym.Env):
    """Observations and rewards at random; an episode ends with probability `ends` a step, so starts lie anywhere."""

    def __init__(
        self, observations: spaces.Space, actions: spaces.Space = ACTIONS["discrete"], ends: float = 0.15
    ) -> None:
        self.observation_space, self.action_space, self.ends = observations, actions, ends

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        ended = bool(self.np_random.random() < self.ends)
        return self.observation_space.sample(), float(self.np_random.random()), ended, False, {}
