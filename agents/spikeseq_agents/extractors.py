"""Spiking features for algorithms without recurrence: the last frames, read as a short sequence."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from .core import SpikingCore


class SpikingFrameStackExtractor(BaseFeaturesExtractor):
    """Runs a `SpikingCore` over the frames of VecFrameStack, oldest first; the features are its mean output.

    With the default readout that is the spike rate of each neuron over the frames, [batch, width]. For PPO, A2C, TRPO,
    DQN, QR-DQN, SAC, TD3, TQC and CrossQ with vectors of observations:

        env = VecFrameStack(env, n_stack=4)
        PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": SpikingFrameStackExtractor,
                                             "features_extractor_kwargs": {"frames": 4}})

    frames: n_stack of VecFrameStack, which lays the frames one after another in the last axis. core_options: those of
    `SpikingCore`.
    """

    def __init__(
        self, observation_space: spaces.Box, frames: int, width: int = 64, layers: int = 1, **core_options: Any
    ) -> None:
        super().__init__(observation_space, width)
        shape = observation_space.shape
        if not isinstance(observation_space, spaces.Box) or len(shape) != 1:
            raise ValueError(f"SpikingFrameStackExtractor: expected observations [values], got {observation_space}")
        if frames < 1 or shape[0] % frames:
            raise ValueError(
                f"SpikingFrameStackExtractor: expected frames (VecFrameStack's n_stack) to divide the {shape[0]} "
                f"values of an observation, got {frames}"
            )
        self.frames = frames
        core_options = {"time_constants": (1.0, 2.0 * frames), **core_options}
        self.core = SpikingCore(shape[0] // frames, width, layers, **core_options)

    def forward(self, observations: Tensor) -> Tensor:
        return self.core.sequence(observations.unflatten(1, (self.frames, -1)))[0].mean(1)
