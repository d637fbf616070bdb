"""Train, evaluate and record, on top of Stable-Baselines3. A run is a folder: model.zip, vecnormalize.pkl, checkpoints.

Model files are Stable-Baselines3's, which unpickles them: load your own alone.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from .ppo import SpikingPPO
from .settings import Settings
from .statistics import SpikeStatistics

CHECKPOINTS = 10  # a run
PREFIX = "run"


def train(
    settings: Settings,
    folder: Path,
    seed: int,
    resume: Path | None = None,
    progress: bool = False,
    device: str = "auto",
) -> RecurrentPPO:
    """Learn for n_timesteps and save. `resume` is a checkpoint of this run; its remaining steps are done."""
    folder.mkdir(parents=True, exist_ok=True)
    if resume is not None and not resume.is_file():
        raise FileNotFoundError(
            f"resume: expected a checkpoint such as {PREFIX}_5000_steps.zip, found nothing at {resume}"
        )
    env = _vector_env(settings, seed, _statistics_beside(resume) if resume else None)
    if resume is None:
        options = deepcopy(settings.hyperparameters)  # Stable-Baselines3 changes policy_kwargs
        model = settings.algorithm_class(settings.policy, env, seed=seed, verbose=1, device=device, **options)
    else:
        model = settings.algorithm_class.load(resume, env=env, device=device)
        env.seed(seed + model.num_timesteps)  # not the first episodes again
    every = max(settings.n_timesteps // CHECKPOINTS // settings.n_envs, 1)
    callbacks = CallbackList([CheckpointCallback(every, str(folder), PREFIX, save_vecnormalize=True)])
    if not isinstance(model, SpikingPPO):
        callbacks.callbacks.append(SpikeStatistics())
    remaining = settings.n_timesteps - model.num_timesteps
    if remaining <= 0:
        raise ValueError(
            f"resume: the checkpoint has {model.num_timesteps} of {settings.n_timesteps} steps: it is done"
        )
    model.learn(remaining, callback=callbacks, progress_bar=progress, reset_num_timesteps=resume is None)
    model.save(folder / "model.zip")
    if isinstance(env, VecNormalize):
        env.save(str(folder / "vecnormalize.pkl"))
    env.close()
    return model


def evaluate(settings: Settings, folder: Path, seed: int, episodes: int, device: str = "auto") -> tuple[float, float]:
    """Mean and deviation of the return of deterministic actions."""
    model, env = _load(settings, folder, seed, device)
    returns, _ = evaluate_policy(model, env, n_eval_episodes=episodes, return_episode_rewards=True, warn=False)
    return float(np.mean(returns)), float(np.std(returns))


def record(settings: Settings, folder: Path, seed: int, device: str = "auto") -> tuple[Path, Path]:
    """One episode as a GIF, and beside it the actor's last layer at each step as spikes.npy [time, width].

    Draw the spikes with `spikeseq.plots.raster(torch.as_tensor(numpy.load("spikes.npy")))`.
    """
    if find_spec("PIL") is None:
        raise ImportError("record needs Pillow: pip install pillow")
    from PIL import Image

    modes = gym.make(settings.env, **settings.env_kwargs).metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise ValueError(f"record: expected {settings.env} to render frames (render_mode 'rgb_array'), it has {modes}")
    model, env = _load(settings, folder, seed, device, render_mode="rgb_array")
    core = getattr(model.policy, "lstm_actor")  # noqa: B009  typed as nn.LSTM upstream
    frames, layers, sequence = [], [], core.sequence

    def watched(*args: Any) -> Any:
        out, state = sequence(*args)
        layers.append(out[0, 0].cpu().numpy())
        return out, state

    core.sequence = watched
    obs, state, done = env.reset(), None, np.ones(1, bool)
    while not frames or not done[0]:
        frames.append(Image.fromarray(env.render()))  # pyright: ignore[reportArgumentType]
        action, state = model.predict(obs, state=state, episode_start=done, deterministic=True)  # pyright: ignore
        obs, _, done, _ = env.step(action)
    env.close()
    film, spikes = folder / "episode.gif", folder / "spikes.npy"
    frames[0].save(film, save_all=True, append_images=frames[1:], duration=33, loop=0)
    np.save(spikes, np.stack(layers))
    return film, spikes


def _vector_env(settings: Settings, seed: int, statistics: Path | None = None, **env_options: Any) -> VecEnv:
    if settings.env not in gym.registry:
        raise ValueError(f"expected the name of a gymnasium environment, got {settings.env!r}")
    # by name, make_vec_env would ask every environment for rgb_array
    make = partial(gym.make, settings.env, **settings.env_kwargs, **env_options)
    env: VecEnv = make_vec_env(make, settings.n_envs, seed=seed)
    if settings.normalize is None:
        return env
    if statistics is None:
        gamma = settings.hyperparameters.get("gamma", 0.99)
        return VecNormalize(env, **{"gamma": gamma, **settings.normalize})
    if not statistics.is_file():
        raise FileNotFoundError(f"expected the statistics of VecNormalize at {statistics}")
    return VecNormalize.load(str(statistics), env)


def _statistics_beside(checkpoint: Path) -> Path:
    """Where CheckpointCallback put the statistics that belong to run_<steps>_steps.zip."""
    return checkpoint.with_name(checkpoint.stem.replace(PREFIX, f"{PREFIX}_vecnormalize", 1) + ".pkl")


def _load(settings: Settings, folder: Path, seed: int, device: str, **env_options: Any) -> tuple[RecurrentPPO, VecEnv]:
    path = folder / "model.zip"
    if not path.is_file():
        raise FileNotFoundError(f"expected a trained model, found nothing at {path}: run train first")
    one = deepcopy(settings)
    one.n_envs = 1
    env = _vector_env(one, seed, folder / "vecnormalize.pkl", **env_options)
    if isinstance(env, VecNormalize):
        env.training, env.norm_reward = False, False
    return settings.algorithm_class.load(path, device=device), env
