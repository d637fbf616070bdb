"""Train, evaluate and record, on top of Stable-Baselines3. A run is a folder: model.zip, vecnormalize.pkl, checkpoints.

Model files and replay buffers are Stable-Baselines3's, which unpickles them: load your own alone.
"""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize
from torch.utils import _pytree as pytree

from spikeseq.plots import raster

from .decisions import energy_per_decision, spikes
from .policies import SpikingPolicy
from .ppo import SpikingPPO
from .settings import Settings
from .statistics import SpikeStatistics
from .td3 import SpikingTD3Policy

CHECKPOINTS = 10  # a run
PREFIX = "run"
SPIKING = (SpikingPolicy, SpikingTD3Policy)


class Evaluation(NamedTuple):
    """The returns of the episodes, and the joule of one decision (None without spikes, and for Dict)."""

    returns: list[float]
    joule: float | None


def train(
    settings: Settings,
    folder: Path,
    seed: int,
    resume: Path | None = None,
    progress: bool = False,
    device: str = "auto",
) -> BaseAlgorithm:
    """Learn for n_timesteps and save. `resume` is a checkpoint of this run; its remaining steps are done.

    FileExistsError where the folder holds a finished run.
    """
    if resume is None and (folder / "model.zip").exists():
        raise FileExistsError(
            f"{folder} holds a finished run; expected another --folder or --seed, or that it is removed"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if resume is not None and not resume.is_file():
        raise FileNotFoundError(
            f"resume: expected a checkpoint such as {PREFIX}_5000_steps.zip, found nothing at {resume}"
        )
    env = vector_env(
        settings, seed, _beside(resume, "vecnormalize") if resume else None,
        monitor_dir=str(folder / "monitor"), monitor_kwargs={"override_existing": resume is None},
    )  # fmt: skip
    with closing(env):
        model = _model(settings, env, seed, resume, device)
        every = max(settings.n_timesteps // CHECKPOINTS // settings.n_envs, 1)
        checkpoints = CheckpointCallback(every, str(folder), PREFIX, save_replay_buffer=True, save_vecnormalize=True)
        watching = isinstance(model.policy, SpikingPolicy) and not isinstance(model, SpikingPPO)
        remaining = settings.n_timesteps - model.num_timesteps
        if remaining <= 0:
            raise ValueError(
                f"resume: the checkpoint has {model.num_timesteps} of {settings.n_timesteps} steps: it is done"
            )
        model.learn(
            remaining, callback=[checkpoints, SpikeStatistics()] if watching else checkpoints,
            progress_bar=progress, reset_num_timesteps=resume is None,
        )  # fmt: skip
        model.save(folder / "model.zip")
        if isinstance(env, VecNormalize):
            env.save(str(folder / "vecnormalize.pkl"))
    return model


def _model(settings: Settings, env: VecEnv, seed: int, resume: Path | None, device: str) -> BaseAlgorithm:
    """A new model, or the checkpoint's with its replay buffer."""
    if resume is not None:
        model = settings.algorithm_class.load(resume, env=env, device=device)
        env.seed(seed + model.num_timesteps)  # not the first episodes again
        if isinstance(model, OffPolicyAlgorithm):
            model.load_replay_buffer(_beside(resume, "replay_buffer"))
        return model
    options = deepcopy(settings.hyperparameters)  # Stable-Baselines3 changes policy_kwargs
    if settings.noise_std:
        size = np.ones(env.action_space.shape or ())
        options["action_noise"] = NormalActionNoise(0 * size, settings.noise_std * size)
    return settings.algorithm_class(settings.policy, env, seed=seed, verbose=1, device=device, **options)


def evaluate(settings: Settings, folder: Path, seed: int, episodes: int, device: str = "auto") -> Evaluation:
    """Returns of deterministic actions, kept in returns.txt, and the energy of a decision in the first episode."""
    model, env = _load(settings, folder, seed, device)
    seen: list[Any] = []

    def watch(now: dict[str, Any], _: Any) -> None:
        if not now["episode_counts"].any() and isinstance(now["observations"], np.ndarray):
            seen.append(now["observations"][0].copy())

    returns, _ = evaluate_policy(
        model, env, n_eval_episodes=episodes, return_episode_rewards=True, warn=False, callback=watch
    )
    assert isinstance(returns, list)
    np.savetxt(folder / "returns.txt", returns)
    counted = isinstance(model.policy, SPIKING) and not isinstance(model.observation_space, spaces.Dict)
    return Evaluation(returns, energy_per_decision(model.policy, np.stack(seen))[0] if counted else None)


def record(settings: Settings, folder: Path, seed: int, device: str = "auto") -> list[Path]:
    """One episode as a GIF; the actor's spikes in it as a raster and, by layer [steps, width], in spikes.npz."""
    for library, line in (("PIL", "pillow"), ("matplotlib", "matplotlib")):
        if find_spec(library) is None:
            raise ImportError(f"record needs {library}: pip install {line}")
    from PIL import Image

    modes = gym.make(settings.env, **settings.env_kwargs).metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise ValueError(f"record: expected {settings.env} to render frames (render_mode 'rgb_array'), it has {modes}")
    model, env = _load(settings, folder, seed, device, render_mode="rgb_array")
    if not isinstance(model.policy, SPIKING):
        raise ValueError(f"record: expected a spiking policy, got {type(model.policy).__name__}")
    frames, observations = [], []
    obs, state, done = env.reset(), None, np.ones(1, bool)
    while not frames or not done[0]:
        frames.append(Image.fromarray(env.render()))  # pyright: ignore[reportArgumentType]
        observations.append(deepcopy(obs))
        action, state = model.predict(obs, state=state, episode_start=done, deterministic=True)  # pyright: ignore
        obs, _, done, _ = env.step(action)
    env.close()
    film, data, figure = (folder / name for name in ("episode.gif", "spikes.npz", "raster.png"))
    frames[0].save(film, save_all=True, append_images=frames[1:], duration=33, loop=0)
    layers = spikes(model.policy, pytree.tree_map(lambda *steps: np.concatenate(steps), *observations))
    arrays: dict[str, Any] = {name: layer.numpy() for name, layer in layers.items()}
    np.savez_compressed(data, **arrays)
    raster(layers, settings.env).savefig(figure)
    return [film, data, figure]


def vector_env(
    settings: Settings, seed: int, statistics: Path | None = None, render_mode: str | None = None, **options: Any
) -> VecEnv:
    """The run's environments, stacked and normalised as its settings say; `options` are those of make_vec_env."""
    if settings.env not in gym.registry:
        raise ValueError(f"expected the name of a gymnasium environment, got {settings.env!r}")
    # by name, make_vec_env would ask every environment for rgb_array
    shown = {} if render_mode is None else {"render_mode": render_mode}
    make = partial(gym.make, settings.env, **settings.env_kwargs, **shown)
    env: VecEnv = make_vec_env(make, settings.n_envs, seed=seed, **options)
    if settings.frame_stack > 1:
        env = VecFrameStack(env, settings.frame_stack)
    if settings.normalize is None:
        return env
    if statistics is None:
        gamma = settings.hyperparameters.get("gamma", 0.99)
        return VecNormalize(env, **{"gamma": gamma, **settings.normalize})
    if not statistics.is_file():
        raise FileNotFoundError(f"expected the statistics of VecNormalize at {statistics}")
    return VecNormalize.load(str(statistics), env)


def _beside(checkpoint: Path, kind: str) -> Path:
    """Where CheckpointCallback put what belongs to run_<steps>_steps.zip."""
    return checkpoint.with_name(checkpoint.stem.replace(PREFIX, f"{PREFIX}_{kind}", 1) + ".pkl")


def _load(
    settings: Settings, folder: Path, seed: int, device: str, render_mode: str | None = None
) -> tuple[BaseAlgorithm, VecEnv]:
    path = folder / "model.zip"
    if not path.is_file():
        raise FileNotFoundError(f"expected a trained model, found nothing at {path}: run train first")
    one = deepcopy(settings)
    one.n_envs = 1
    env = vector_env(one, seed, folder / "vecnormalize.pkl", render_mode)
    if isinstance(env, VecNormalize):
        env.training, env.norm_reward = False, False
    return settings.algorithm_class.load(path, device=device), env
