"""What a policy's actor does on observations: its spikes, and the energy of a decision."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from spikeseq.energy import EnergyReport, energy
from spikeseq.neurons import Neuron

from .policies import SpikingPolicy
from .td3 import SpikingTD3Policy


class Decisions(nn.Module):
    """The actor alone, on an episode from its first step on: observations [1, time, ...], one array or a Dict ->
    action means or logits [time, ...]."""

    def __init__(self, policy: SpikingPolicy | SpikingTD3Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observations: Any) -> Tensor:
        policy, rows = self.policy, pytree.tree_map(lambda x: x.flatten(0, 1), observations)
        if isinstance(policy, SpikingTD3Policy):
            return policy.actor(rows)
        features = BasePolicy.extract_features(policy, rows, policy.pi_features_extractor)
        out, _ = policy.actor_core.sequence(features.unsqueeze(0))
        return policy.action_net(policy.mlp_extractor.forward_actor(out.flatten(0, 1)))


def energy_per_decision(policy: Any, observations: np.ndarray) -> tuple[float, EnergyReport]:
    """Joule of one action (45 nm, see `spikeseq.energy`), the mean over an episode, and the episode's report.

    observations: [time, ...] of one episode from its first step, as the policy gets them. Counted: the actor from its
    features extractor to its action; not the critic, nor the Gaussians of a population code.
    """
    if isinstance(observations, dict):
        raise ValueError("energy_per_decision: expected one array of observations [time, ...], got a Dict")
    module, x = _prepared(policy, observations)
    report = energy(module, x)
    return report.full_joule / x.shape[1], report


def spikes(policy: Any, observations: np.ndarray | dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The actor's spikes by layer, each [steps, width], on observations as above, or a Dict of such.

    A policy of TD3 takes frames * T steps a decision.
    """
    module, x = _prepared(policy, observations)
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, neuron in module.policy.named_modules():
            if isinstance(neuron, Neuron) and neuron.output == "spikes":

                def keep(_module: Any, _inputs: Any, output: Any, name: str = name) -> None:
                    found[name.removesuffix(".neuron")] = output[0].flatten(0, 1).cpu()

                stack.callback(neuron.register_forward_hook(keep).remove)
        policy.set_training_mode(False)
        with torch.no_grad():
            module(x)
    return found


def _prepared(policy: Any, observations: Any) -> tuple[Decisions, Any]:
    if not isinstance(policy, (SpikingPolicy, SpikingTD3Policy)):
        raise ValueError(f"expected a SpikingPolicy or SpikingTD3Policy, got {type(policy).__name__}")
    x, _ = policy.obs_to_tensor(observations)
    return Decisions(policy), pytree.tree_map(lambda part: part.unsqueeze(0), x)
