"""TD3 with a spiking actor and ordinary critics: the protocol of the DSN paper (arXiv 2602.01133)."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.td3.policies import Actor, TD3Policy

from .core import SpikingCore
from .population import PopulationNetwork


class SpikingActor(Actor):
    """TD3's actor, its network a `PopulationNetwork`."""

    mu: PopulationNetwork  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, *args: Any, spiking: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spiking = spiking
        (width, *others) = self.net_arch
        if not self.net_arch or any(other != width for other in others):
            raise ValueError(f"SpikingTD3Policy: expected actor layers of one width, got {self.net_arch}")
        actions = self.action_space.shape[0]  # pyright: ignore[reportOptionalSubscript]
        self.mu = PopulationNetwork(self.features_dim, actions, width=width, layers=len(self.net_arch), **spiking)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "spiking": self.spiking}


class SpikingTD3Policy(TD3Policy):
    """`TD3("SpikingTD3Policy", env)`: a spiking actor between population codes, and TD3's own critics.

    net_arch: [256, 256] by default, or {"pi": ..., "qf": ...}. steps: T, the neurons' steps a decision. population:
    neurons a dimension of observation and action. frames: 1, or n_stack of VecFrameStack; the neurons' state is then
    carried over the last `frames` steps of the environment. core_options: those of `SpikingCore`; neuron "DSN" by
    default. Vectors of observations and actions; the receptive fields begin within -3 and 3, so normalise observations.
    """

    actor: SpikingActor
    actor_target: SpikingActor

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Any,
        net_arch: Any = None,
        *args: Any,
        steps: int = 5,
        population: int = 10,
        frames: int = 1,
        core_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for name, space in (("observations", observation_space), ("actions", action_space)):
            if not isinstance(space, spaces.Box) or len(space.shape) != 1:
                raise ValueError(f"SpikingTD3Policy: expected {name} as a Box [values], got {space}")
        self.spiking = {"steps": steps, "population": population, "frames": frames, **(core_options or {})}
        net_arch = [256, 256] if net_arch is None else net_arch
        super().__init__(observation_space, action_space, lr_schedule, net_arch, *args, **kwargs)

    @property
    def actor_core(self) -> SpikingCore:
        return self.actor.mu.core

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingActor:
        options = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return SpikingActor(**options, spiking=self.spiking).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = dict(self.spiking)
        data = {name: own.pop(name) for name in ("steps", "population", "frames")}
        return {**super()._get_constructor_parameters(), **data, "core_options": own}


def register() -> None:
    """Let TD3 find the policy by name."""
    TD3.policy_aliases["SpikingTD3Policy"] = SpikingTD3Policy
