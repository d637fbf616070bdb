"""Environments that need memory: masked velocities, a memory chain, and popgym's observations made plain.

Importing the package registers, beside gymnasium's own names: CartPoleNoVel-v1, PendulumNoVel-v1,
MountainCarContinuousNoVel-v0, AcrobotNoVel-v1, MemoryChain-v0 (keyword `length`) and popgym's as
POPGym/RepeatPreviousEasy-v0 and so on.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

# position of the velocities in the observation
VELOCITIES = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
    "Acrobot-v1": (4, 5),
}
POPGYM = (
    "Autoencode", "Battleship", "Concentration", "CountRecall", "HigherLower", "MineSweeper", "MultiarmedBandit",
    "NoisyPositionOnlyCartPole", "NoisyPositionOnlyPendulum", "PositionOnlyCartPole", "PositionOnlyPendulum",
    "RepeatFirst", "RepeatPrevious", "VelocityOnlyCartpole",
)  # fmt: skip


class MaskVelocity(gym.ObservationWrapper):
    """Leaves the velocities out of the observation, so that they must be remembered from positions.

    The wrapped environment is one of `VELOCITIES`, or `velocities` says where they stand.
    """

    def __init__(self, env: gym.Env, velocities: tuple[int, ...] | None = None) -> None:
        super().__init__(env)
        name = "no spec" if env.spec is None else env.spec.id
        velocities = VELOCITIES.get(name) if velocities is None else velocities
        if velocities is None:
            raise ValueError(f"MaskVelocity: expected one of {tuple(VELOCITIES)}, or `velocities`, got {name}")
        box = env.observation_space
        if not isinstance(box, spaces.Box) or len(box.shape) != 1:
            raise ValueError(f"MaskVelocity: expected observations [values], got {box}")
        self.kept = np.setdiff1d(np.arange(box.shape[0]), velocities)
        self.observation_space = spaces.Box(box.low[self.kept], box.high[self.kept], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[self.kept]


class MemoryChain(gym.Env):
    """A cue at the first step, then nothing, and after `length` steps the question: was it left or right?

    Observation: (cue, question), the cue -1 or 1 at the first step and 0 after it, the question 1 at the last step.
    Reward: 1 for the right action (0 for -1, 1 for 1) at the last step, -1 for the wrong one, 0 before. Without
    memory the mean is 0. An own form of bsuite's memory_len (Osband et al. 2020, arXiv 1908.03568).
    """

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 20) -> None:
        if length < 1:
            raise ValueError(f"MemoryChain: expected length >= 1, got {length}")
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed, options=options)
        self.time, self.right = 0, int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.time == self.length:
            return self._observation(), 1.0 if int(action) == self.right else -1.0, True, False, {}
        self.time += 1
        return self._observation(), 0.0, False, False, {}

    def _observation(self) -> np.ndarray:
        cue = 2 * self.right - 1 if self.time == 0 else 0
        return np.array([cue, self.time == self.length], np.float32)


def popgym(name: str, **options: Any) -> gym.Env:
    """popgym's environment `popgym-<name>-v0` with its previous action in a flat, unaliased observation."""
    if find_spec("popgym") is None:
        raise ImportError("popgym environments need: pip install popgym")
    import popgym  # noqa: F401  registers its environments  # pyright: ignore[reportMissingImports]
    from popgym.wrappers import Antialias, Flatten, PreviousAction  # pyright: ignore[reportMissingImports]

    env: Any = gym.make(f"popgym-{name}-v0", **options).unwrapped  # its wrappers take its own environments alone
    return Flatten(Antialias(PreviousAction(env)))


def masked(name: str, **options: Any) -> gym.Env:
    """`gym.make(name)` without velocities."""
    return MaskVelocity(gym.make(name, **options))


def register() -> None:
    """Make the environments known to `gym.make`, once."""
    for name in ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1"):
        stem, version = name.rsplit("-", 1)
        _register(f"{stem}NoVel-{version}", masked, {"name": name})
    _register("MemoryChain-v0", MemoryChain, {})
    for name in (f"{task}{level}" for task in POPGYM for level in ("Easy", "Medium", "Hard")):
        _register(f"POPGym/{name}-v0", popgym, {"name": name})


def _register(name: str, entry_point: Any, kwargs: dict[str, Any]) -> None:
    if name not in gym.registry:
        gym.register(name, entry_point, kwargs=kwargs)
