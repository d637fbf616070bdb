"""Recurrent PPO on unpadded chunks."""

from __future__ import annotations

import math
import warnings
from typing import Any

from gymnasium import spaces
from sb3_contrib import RecurrentPPO

from .buffers import ChunkBuffer, Chunks, DictChunkBuffer
from .policies import SpikingPolicy
from .statistics import record

SHORT = 16  # steps; shorter chunks cut the gradient through time where memory begins to matter


class SpikingPPO(RecurrentPPO):
    """sb3-contrib's RecurrentPPO, trained on fixed-length chunks of the rollout instead of padded episodes.

    chunk_length: steps a chunk; it must divide n_steps and batch_size, whose greatest common divisor it is if None.
    refresh_states: compute the states at the chunks' beginnings anew with the present weights before each epoch but
    the first, one pass without gradient; otherwise they are those of acting. The other arguments are RecurrentPPO's.
    Logs train/spike_rate_pi|vf and train/time_constant_pi|vf, see `statistics.core_statistics`.
    """

    rollout_buffer: Chunks
    policy: SpikingPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        chunk_length: int | None = None,
        refresh_states: bool = False,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(policy, env, *args, _init_setup_model=False, **kwargs)
        self.chunk_length = chunk_length
        self.refresh_states = refresh_states
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        length = chunk_length(self.n_steps, self.batch_size, self.chunk_length)
        super()._setup_model()
        if not isinstance(self.policy, SpikingPolicy):
            raise ValueError(
                f"SpikingPPO: expected a SpikingPolicy, got {type(self.policy).__name__}: use RecurrentPPO"
            )
        core = self.policy.actor_core
        kind = DictChunkBuffer if isinstance(self.observation_space, spaces.Dict) else ChunkBuffer
        self.rollout_buffer = kind(
            self.n_steps, self.observation_space, self.action_space, (core.num_layers, self.n_envs, core.hidden_size),
            length, device=self.device, gamma=self.gamma, gae_lambda=self.gae_lambda, n_envs=self.n_envs,
        )  # fmt: skip
        self.rollout_buffer.refresh = self._refresh if self.refresh_states else None

    def _refresh(self) -> None:
        """Carry the states from chunk to chunk with the present weights, and keep them in the buffer."""
        buffer = self.rollout_buffer
        self.policy.set_training_mode(False)
        for chunk in range(buffer.chunks - 1):
            now = buffer.samples(buffer.chunk_of_each_environment(chunk))
            ends = self.policy.final_states(now.observations, now.lstm_states, now.episode_starts)
            buffer.set_states(chunk + 1, ends)
        self.policy.set_training_mode(True)

    def train(self) -> None:
        super().train()
        buffer = self.rollout_buffer
        record(self.logger, self.policy, buffer.samples(buffer.chunk_of_each_environment(0)))

    def learn(self, *args: Any, tb_log_name: str = "SpikingPPO", **kwargs: Any) -> Any:
        return super().learn(*args, tb_log_name=tb_log_name, **kwargs)


def chunk_length(n_steps: int, batch_size: int | None, asked: int | None = None) -> int:
    """Steps a chunk: what was asked for if it divides both, else their greatest common divisor."""
    common = n_steps if batch_size is None else math.gcd(n_steps, batch_size)
    if asked is not None:
        if asked < 1 or common % asked:
            raise ValueError(
                f"SpikingPPO: expected chunk_length to divide n_steps = {n_steps} and batch_size = {batch_size}, "
                f"got {asked}"
            )
        return asked
    if common < min(SHORT, n_steps):
        warnings.warn(
            f"SpikingPPO: n_steps = {n_steps} and batch_size = {batch_size} have no common divisor above {common}, so "
            f"gradients reach back {common} steps at most; choose numbers that share a divisor of {SHORT} or more",
            stacklevel=3,
        )
    return common
