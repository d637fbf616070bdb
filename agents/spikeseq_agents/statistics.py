"""What TensorBoard shows of the cores: spike rates and time constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from .policies import SpikingPolicy


def core_statistics(policy: SpikingPolicy, samples: Any) -> dict[str, float]:
    """Numbers by name, for the actor's core ("pi") and the critic's own ("vf").

    spike_rate_*: spikes per neuron and step on `samples`, of all layers that spike (integer spikes by their value);
    time_constant_*: median over neurons, in steps, and time_constant_max_*. `samples` are those of a recurrent buffer.
    """
    cores = {"pi": policy.actor_core} | ({} if policy.critic_core is None else {"vf": policy.critic_core})
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in cores}
    hooks = [
        neuron.register_forward_hook(_counter(rates[name], samples.mask))
        for name, core in cores.items()
        for neuron in core.spiking_layers()
    ]
    training = policy.training
    policy.set_training_mode(False)
    try:
        with torch.no_grad():
            actions = torch.zeros_like(samples.actions)  # any will do: log-probabilities are not looked at
            actions = actions.long().flatten() if _discrete(policy) else actions
            policy.evaluate_actions(samples.observations, actions, samples.lstm_states, samples.episode_starts)
    finally:
        policy.set_training_mode(training)
        for hook in hooks:
            hook.remove()
    found: dict[str, float] = {}
    for name, core in cores.items():
        if rates[name]:
            spikes, slots = map(sum, zip(*rates[name], strict=True))
            found[f"spike_rate_{name}"] = spikes / slots
        steps = core.time_constants()
        found[f"time_constant_{name}"] = float(steps.median())
        found[f"time_constant_max_{name}"] = float(steps.max())
    return found


def record(logger: Logger, policy: SpikingPolicy, samples: Any) -> None:
    for name, value in core_statistics(policy, samples).items():
        logger.record(f"train/{name}", value)


class SpikeStatistics(BaseCallback):
    """Logs train/spike_rate_pi|vf and train/time_constant_pi|vf under the stock RecurrentPPO, once a rollout.

    `SpikingPPO` logs them by itself. Looks at one minibatch and leaves numpy's random numbers as they were.
    """

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        if not isinstance(model.policy, SpikingPolicy):
            raise TypeError(f"SpikeStatistics: expected a SpikingPolicy, got {type(model.policy).__name__}")
        random = np.random.get_state()  # noqa: NPY002  what the buffer draws from
        samples = next(model.rollout_buffer.get(model.batch_size))
        np.random.set_state(random)  # noqa: NPY002
        record(self.logger, model.policy, samples)


def _discrete(policy: SpikingPolicy) -> bool:
    return type(policy.action_space).__name__ == "Discrete"


def _counter(into: list[tuple[float, float]], mask: Tensor) -> Callable[..., None]:
    """A forward hook that counts spikes [batch, time, width] at the valid steps."""

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        spikes = output[0].flatten(0, 1)[mask > 0.5]
        into.append((float(spikes.sum()), spikes.numel()))

    return hook
