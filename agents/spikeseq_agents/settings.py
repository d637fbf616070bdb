"""One run's settings from a YAML file in rl-zoo3's shape: environments by name, and under each its hyperparameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sb3_contrib import RecurrentPPO
from stable_baselines3 import TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule

from .ppo import SpikingPPO

# of those that know a policy the first is its usual one
ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"spiking_ppo": SpikingPPO, "ppo_lstm": RecurrentPPO, "td3": TD3}
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
_GIVEN_ELSEWHERE = {
    "self",
    "env",
    "seed",
    "device",
    "verbose",
    "tensorboard_log",
    "action_noise",
    "_init_setup_model",
    "args",
    "kwargs",
}


@dataclass
class Settings:
    """env: its name for `gym.make`. normalize: VecNormalize's options, None to leave it out. frame_stack: n_stack of
    VecFrameStack, 1 to leave it out. noise_std: of normal action noise, in actions of [-1, 1]. The rest as in rl-zoo3.
    """

    env: str
    algorithm: str
    n_timesteps: int
    policy: str
    n_envs: int = 1
    normalize: dict[str, Any] | None = None
    frame_stack: int = 1
    noise_std: float = 0.0
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    @property
    def algorithm_class(self) -> type[Any]:
        return ALGORITHMS[self.algorithm]


def read(path: str | Path, env: str | None = None, algorithm: str | None = None) -> Settings:
    """The settings of `env`, or of the only environment in the file.

    algorithm: one of `ALGORITHMS`; by default the file's `algo`, or the first that knows the policy.

    As in rl-zoo3: n_timesteps, n_envs, policy, normalize (true, or options of VecNormalize), frame_stack, noise_type
    ("normal") and noise_std, env_kwargs; schedules as "lin_0.001"; all other keys are arguments of the algorithm.
    Options in code (strings that rl-zoo3 evaluates) are written as YAML mappings here: nothing in a file is run.
    Unknown keys are errors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config: expected a YAML file, found nothing at {path}")
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise ValueError(f"{path}: expected environments by name, and under each its hyperparameters")
    if env is None and len(content) != 1:
        raise ValueError(f"{path}: expected --env to choose one of {list(content)}")
    env = env or next(iter(content))
    if env not in content:
        raise ValueError(f"{path}: expected env to be one of {list(content)}, got {env!r}")
    values = {name: _number(value) for name, value in content[env].items()}
    missing = [name for name in ("n_timesteps", "policy") if name not in values]
    if missing:
        raise ValueError(f"{path}: expected {missing} under {env}")
    chosen = values.pop("algo", None)
    algorithm = algorithm or chosen or _usual(path, values["policy"])
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{path}: expected algo to be one of {tuple(ALGORITHMS)}, got {algorithm!r}")
    normalize = values.pop("normalize", False)
    if not isinstance(normalize, (bool, dict)):
        raise ValueError(f"{path}: expected normalize as true, false or options of VecNormalize, got {normalize!r}")
    noise = values.pop("noise_type", "normal")
    if noise != "normal":
        raise ValueError(f"{path}: expected noise_type 'normal', got {noise!r}")
    settings = Settings(
        env, algorithm, int(values.pop("n_timesteps")), values.pop("policy"), int(values.pop("n_envs", 1)),
        normalize if isinstance(normalize, dict) else {} if normalize else None, int(values.pop("frame_stack", 1)),
        float(values.pop("noise_std", 0.0)), values.pop("env_kwargs", {}),
    )  # fmt: skip
    known = arguments(settings.algorithm_class) - {"policy"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{path}: unknown keys {unknown} under {env}; {algorithm} takes {sorted(known)}")
    for name in SCHEDULES:
        if name in values:
            values[name] = _schedule(path, name, values[name])
    if not isinstance(values.get("policy_kwargs", {}), dict):
        raise ValueError(f"{path}: expected policy_kwargs as a YAML mapping, got {values['policy_kwargs']!r}")
    settings.hyperparameters = values
    return settings


def _usual(path: Path, policy: str) -> str:
    for name, cls in ALGORITHMS.items():
        if policy in cls.policy_aliases:
            return name
    known = sorted({name for cls in ALGORITHMS.values() for name in cls.policy_aliases})
    raise ValueError(f"{path}: expected policy to be one of {known}, got {policy!r}")


def arguments(cls: type) -> set[str]:
    """The names that `cls` takes, itself and by **kwargs for its parents, but those that the run itself sets."""
    names: set[str] = set()
    for owner in cls.__mro__:
        parameters = inspect.signature(owner.__init__).parameters
        names |= set(parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return names - _GIVEN_ELSEWHERE


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _schedule(path: Path, name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kind, _, start = value.partition("_")
    try:
        if kind == "lin":
            return LinearSchedule(float(start), 0.0, 1.0)
    except ValueError:
        pass
    raise ValueError(f"{path}: expected {name} as a number or 'lin_<number>', got {value!r}")
