"""Policies for sb3-contrib's RecurrentPPO whose recurrent state is the neurons' own."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from .core import SpikingCore, State

SUPPORTED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def check_observations(space: spaces.Space, extractor: Any) -> None:
    """Raise ValueError, naming the policy to use, where the stock extractor cannot read the observation space."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
    for name, part in parts.items():
        if not isinstance(part, SUPPORTED):
            allowed = ", ".join(kind.__name__ for kind in SUPPORTED)
            raise ValueError(f"expected observations of {allowed}, or one Dict of these, got {name}: {part}")
    if isinstance(space, spaces.Dict) and extractor in (FlattenExtractor, NatureCNN):
        raise ValueError(f"observations are a Dict: expected 'MultiInputSpikingPolicy', got {extractor.__name__}")
    if not isinstance(space, spaces.Dict) and extractor is CombinedExtractor:
        raise ValueError(f"'MultiInputSpikingPolicy' expects a Dict of observations, got {space}: use 'SpikingPolicy'")


class SpikingPolicy(RecurrentActorCriticPolicy):
    """Actor and critic with spiking cores: `RecurrentPPO("SpikingPolicy", env)`.

    Takes the arguments of sb3-contrib's recurrent policy under their names there, so that code written for
    "MlpLstmPolicy" runs: lstm_hidden_size is the core's width, n_lstm_layers its depth, shared_lstm one core for
    actor and critic, enable_critic_lstm a core of the critic's own, and lstm_kwargs holds the options of
    `SpikingCore` (neuron, neuron_options, time_constants, readout, dropout). All spaces that RecurrentPPO supports.

    Training runs all steps of a sequence at once, with episode starts anywhere in it, and gives the log-probabilities
    that acting step by step gave.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        *args: Any,
        lstm_hidden_size: int = 64,
        n_lstm_layers: int = 1,
        lstm_kwargs: dict[str, Any] | None = None,
        features_extractor_class: Any = FlattenExtractor,
        **kwargs: Any,
    ) -> None:
        check_observations(observation_space, features_extractor_class)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            *args,
            lstm_hidden_size=lstm_hidden_size,
            n_lstm_layers=n_lstm_layers,
            features_extractor_class=features_extractor_class,
            **kwargs,
        )
        self.lstm_kwargs = dict(lstm_kwargs or {})
        self.lstm_actor: nn.Module = self._make_core()
        self.lstm_critic: nn.Module | None = self._make_core() if self.enable_critic_lstm else None
        self.lstm_hidden_state_shape = (self.actor_core.num_layers, 1, self.actor_core.hidden_size)
        # the parent's optimizer holds the parameters of the LSTMs that are gone
        optimizer: Any = self.optimizer_class
        self.optimizer = optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        extractor = super().make_features_extractor()
        extractor._features_dim = int(extractor.features_dim)  # numpy's for some spaces; nn.LSTM refuses those
        return extractor

    def _make_core(self) -> SpikingCore:
        layers = self.lstm_hidden_state_shape[0]
        try:
            return SpikingCore(self.features_dim, self.lstm_output_dim, layers, **self.lstm_kwargs)
        except TypeError as error:
            raise TypeError(f"lstm_kwargs: expected options of SpikingCore, got {self.lstm_kwargs}: {error}") from error

    @property
    def actor_core(self) -> SpikingCore:
        assert isinstance(self.lstm_actor, SpikingCore)
        return self.lstm_actor

    @property
    def critic_core(self) -> SpikingCore | None:
        """The critic's own core; None where it shares the actor's or has none."""
        assert self.lstm_critic is None or isinstance(self.lstm_critic, SpikingCore)
        return self.lstm_critic

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: State, episode_starts: Tensor, lstm: SpikingCore
    ) -> tuple[Tensor, State]:
        """features [sequences * steps, features], the steps of a sequence together -> the same rows of the core."""
        sequences = lstm_states[0].shape[1]
        x = features.reshape(sequences, -1, lstm.input_size)
        starts = episode_starts.reshape(sequences, -1) > 0.5
        out, state = lstm.sequence(x, lstm_states, starts)
        return out.flatten(0, 1), state

    def evaluate_actions(
        self, obs: Any, actions: Tensor, lstm_states: RNNStates, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        if isinstance(self.action_space, spaces.MultiBinary):
            actions = actions.float()  # the recurrent buffer keeps int8, of which torch computes no log-probability
        return super().evaluate_actions(obs, actions, lstm_states, episode_starts)

    def final_states(self, obs: PyTorchObs, states: RNNStates, episode_starts: Tensor) -> RNNStates:
        """The states of both cores after the given sequences, without gradient; rows as in `evaluate_actions`."""
        with torch.no_grad():
            features = self.extract_features(obs)
            pi, vf = features if isinstance(features, tuple) else (features, features)
            end_pi = self._process_sequence(pi, states.pi, episode_starts, self.actor_core)[1]
            if self.critic_core is None:
                return RNNStates(end_pi, end_pi)
            return RNNStates(end_pi, self._process_sequence(vf, states.vf, episode_starts, self.critic_core)[1])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            lstm_hidden_size=self.lstm_output_dim,
            n_lstm_layers=self.actor_core.num_layers,
            shared_lstm=self.shared_lstm,
            enable_critic_lstm=self.enable_critic_lstm,
            lstm_kwargs=self.lstm_kwargs,
            share_features_extractor=self.share_features_extractor,
        )
        return data

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Weights of the same architecture; a ValueError names the difference otherwise."""
        if any(name.startswith("lstm_actor.weight_ih") for name in state_dict):
            raise ValueError("the saved model is an LSTM policy of sb3-contrib: expected one with spiking cores")
        own = self.state_dict()
        differ = [
            f"{name}: expected {tuple(own[name].shape) if name in own else 'nothing'}, "
            f"got {tuple(state_dict[name].shape) if name in state_dict else 'nothing'}"
            for name in [*own, *(name for name in state_dict if name not in own)]
            if not name.endswith("_extra_state")
            and (name not in own or name not in state_dict or own[name].shape != state_dict[name].shape)
        ]
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            raise ValueError("the saved model has another architecture: " + "; ".join(differ)) from error


class CnnSpikingPolicy(SpikingPolicy):
    """`SpikingPolicy` for images: NatureCNN in front of the cores."""

    def __init__(self, *args: Any, features_extractor_class: Any = NatureCNN, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class MultiInputSpikingPolicy(SpikingPolicy):
    """`SpikingPolicy` for dictionaries of observations: CombinedExtractor in front of the cores."""

    def __init__(self, *args: Any, features_extractor_class: Any = CombinedExtractor, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


ALIASES: dict[str, type[SpikingPolicy]] = {
    "SpikingPolicy": SpikingPolicy,
    "CnnSpikingPolicy": CnnSpikingPolicy,
    "MultiInputSpikingPolicy": MultiInputSpikingPolicy,
}


def register() -> None:
    """Let RecurrentPPO find the policies by name."""
    RecurrentPPO.policy_aliases.update(ALIASES)
