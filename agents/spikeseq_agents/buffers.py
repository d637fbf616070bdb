"""Rollout buffers of fixed-length chunks: no padding, episode starts anywhere inside a chunk."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer, RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.type_aliases import (
    RecurrentDictRolloutBufferSamples,
    RecurrentRolloutBufferSamples,
    RNNStates,
)
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from torch import Tensor

_PER_STEP = ("actions", "values", "log_probs", "advantages", "returns", "episode_starts")
_STATES = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")


class Chunks(RolloutBuffer):
    """What `ChunkBuffer` and `DictChunkBuffer` add to sb3-contrib's recurrent buffers.

    Each environment's `buffer_size` steps are cut into chunks of `chunk_length`; a minibatch is some chunks.

    The stock buffer cuts at episode starts and pads all pieces to the longest. Here every chunk is full, and the core
    is told where episodes start. Only the states at the chunks' beginnings are kept, [chunks, layers, envs, hidden].
    `refresh`, if set, is called before each epoch but the first; it may renew these states with `set_states`.
    """

    stock: Any = RolloutBuffer
    samples_type: Any = RecurrentRolloutBufferSamples

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        hidden_state_shape: tuple[int, int, int],
        chunk_length: int,
        **options: Any,
    ) -> None:
        if buffer_size % chunk_length:
            raise ValueError(f"expected chunk_length to divide the {buffer_size} steps, got {chunk_length}")
        self.chunk_length = chunk_length
        self.chunks = buffer_size // chunk_length  # of each environment
        self.refresh: Callable[[], None] | None = None
        parent: Any = super()
        parent.__init__(buffer_size, observation_space, action_space, (self.chunks, *hidden_state_shape), **options)

    def add(self, *args: Any, lstm_states: RNNStates, **kwargs: Any) -> None:
        chunk, step = divmod(self.pos, self.chunk_length)
        if step == 0:
            self.set_states(chunk, lstm_states)
        self.stock.add(self, *args, **kwargs)

    def set_states(self, chunk: int, states: RNNStates) -> None:
        """Let the given chunk of each environment begin with these states."""
        for name, value in zip(_STATES, (*states.pi, *states.vf), strict=True):
            getattr(self, name)[chunk] = value.detach().cpu().numpy()

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        if not self.full:
            raise RuntimeError(f"expected a full buffer of {self.buffer_size} steps, got {self.pos}")
        if self.generator_ready and self.refresh is not None:
            self.refresh()
        self.prepare()
        order = np.random.permutation(self.chunks * self.n_envs)  # noqa: NPY002  seeded by Stable-Baselines3
        size = len(order) if batch_size is None else max(1, batch_size // self.chunk_length)
        for begin in range(0, len(order), size):
            yield self.samples(order[begin : begin + size])

    def prepare(self) -> None:
        """From [steps, envs, ...] to [envs * steps, ...], in which a chunk is a run of rows."""
        if self.generator_ready:
            return
        for name in _PER_STEP:
            setattr(self, name, self.swap_and_flatten(getattr(self, name)))
        self._flatten_observations()
        self.generator_ready = True

    def chunk_of_each_environment(self, chunk: int) -> np.ndarray:
        """What `samples` takes to give one chunk of every environment, in their order."""
        return np.arange(self.n_envs) * self.chunks + chunk

    def samples(self, which: np.ndarray) -> Any:
        """The chunks with the given numbers, environment * chunks + chunk; all steps valid."""
        environment, chunk = np.divmod(which, self.chunks)
        # [chunks, layers, hidden] -> [layers, chunks, hidden]
        a, b, c, d = (
            self.to_torch(getattr(self, name)[chunk, :, environment]).transpose(0, 1).contiguous() for name in _STATES
        )
        actions, values, log_probs, advantages, returns, starts = (
            self._rows(getattr(self, name), which) for name in _PER_STEP
        )
        return self.samples_type(
            observations=self._observations(which),
            actions=actions,
            old_values=values.flatten(),
            old_log_prob=log_probs.flatten(),
            advantages=advantages.flatten(),
            returns=returns.flatten(),
            lstm_states=RNNStates((a, b), (c, d)),
            episode_starts=starts.flatten(),
            mask=torch.ones(len(which) * self.chunk_length, device=self.device),
        )

    def _rows(self, array: np.ndarray, which: np.ndarray) -> Tensor:
        return self.to_torch(array.reshape(-1, self.chunk_length, *array.shape[1:])[which]).flatten(0, 1)

    def _flatten_observations(self) -> None:
        self.observations = self.swap_and_flatten(self.observations)

    def _observations(self, which: np.ndarray) -> Any:
        return self._rows(self.observations, which)


class ChunkBuffer(Chunks, RecurrentRolloutBuffer):
    """Chunks of one array of observations."""


class DictChunkBuffer(Chunks, RecurrentDictRolloutBuffer):
    """Chunks of a dictionary of observations."""

    stock: Any = DictRolloutBuffer
    samples_type: Any = RecurrentDictRolloutBufferSamples
    observations: Any

    def _flatten_observations(self) -> None:
        self.observations = {name: self.swap_and_flatten(value) for name, value in self.observations.items()}

    def _observations(self, which: np.ndarray) -> Any:
        return {name: self._rows(value, which) for name, value in self.observations.items()}
