"""Settings in rl-zoo3's shape, and train, eval, record from the command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from sb3_contrib import RecurrentPPO
from stable_baselines3 import TD3

from spikeseq_agents import SpikingPPO, runs, settings
from spikeseq_agents.__main__ import main

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs" / "rl").glob("*.yml"))
CHAIN = {
    "policy": "SpikingPolicy",
    "n_envs": 2,
    "n_timesteps": 64,
    "normalize": True,
    "n_steps": 16,
    "batch_size": 16,
    "n_epochs": 2,
    "learning_rate": "lin_1e-3",
    "env_kwargs": {"length": 3},
    "policy_kwargs": {"lstm_hidden_size": 8},
}


def written(folder, content):
    path = folder / "run.yml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_there_are_configs():
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "%" in first
    assert any(unit in first for unit in ("second", "minute", "hour"))
    for start, library in (("popgym", "popgym"), ("mujoco", "mujoco")):
        if path.stem.startswith(start):
            pytest.importorskip(library)
    for env in yaml.safe_load(path.read_text()):
        chosen = settings.read(path, env)
        chosen.n_envs = 1
        made = runs.vector_env(chosen, seed=0)
        options = chosen.hyperparameters | ({"buffer_size": 10} if chosen.algorithm == "td3" else {})
        model = chosen.algorithm_class(chosen.policy, made, device="cpu", **options)
        assert model.num_timesteps == 0


def test_a_file_is_read(tmp_path):
    chosen = settings.read(written(tmp_path, {"MemoryChain-v0": CHAIN}))
    assert (chosen.env, chosen.algorithm_class, chosen.n_envs, chosen.normalize) == (
        "MemoryChain-v0",
        SpikingPPO,
        2,
        {},
    )
    assert chosen.hyperparameters["learning_rate"](0.5) == pytest.approx(5e-4)
    stock = settings.read(written(tmp_path, {"MemoryChain-v0": CHAIN}), algorithm="ppo_lstm")
    assert stock.algorithm_class is RecurrentPPO


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown keys \\['colour'\\]"),
        ({"learning_rate": "cos_1e-3"}, "learning_rate as a number or 'lin_"),
        ({"policy_kwargs": "dict(lstm_hidden_size=8)"}, "YAML mapping"),
        ({"normalize": "yes"}, "normalize"),
        ({"algo": "dqn"}, "algo to be one of"),
        ({"noise_type": "pink"}, "noise_type 'normal'"),
        ({"algo": "td3"}, "unknown keys .*n_steps"),
    ],
)
def test_wrong_settings_are_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        settings.read(written(tmp_path, {"MemoryChain-v0": CHAIN | change}))


def test_wrong_files_are_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="found nothing"):
        settings.read(tmp_path / "none.yml")
    two = written(tmp_path, {"MemoryChain-v0": CHAIN, "CartPole-v1": CHAIN})
    with pytest.raises(ValueError, match="--env to choose one of"):
        settings.read(two)
    with pytest.raises(ValueError, match="expected env to be one of"):
        settings.read(two, "Pendulum-v1")
    incomplete = {name: value for name, value in CHAIN.items() if name != "policy"}
    with pytest.raises(ValueError, match=r"expected \['policy'\]"):
        settings.read(written(tmp_path, {"MemoryChain-v0": incomplete}))
    one = written(tmp_path, {"NoSuch-v0": CHAIN})
    for arguments, message in (
        (["train", "--config", one], "name of a gymnasium environment"),
        (["eval", "--config", one, "--folder", str(tmp_path)], "run train first"),
    ):
        with pytest.raises(SystemExit, match=message):
            main([*arguments, "--device", "cpu"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("algorithm", ["spiking_ppo", "ppo_lstm"])
def test_train_then_eval(algorithm, tmp_path, capsys):
    config = written(tmp_path, {"MemoryChain-v0": CHAIN | {"algo": algorithm}})
    common = ["--config", config, "--folder", str(tmp_path / "run"), "--device", "cpu"]
    main(["train", *common])
    assert "spike_rate_pi" in capsys.readouterr().out
    main(["eval", *common, "--episodes", "5"])
    assert "MemoryChain-v0: " in (out := capsys.readouterr().out)
    assert "over 5 episodes" in out
    assert "nJ a decision" in out
    assert len(np.loadtxt(tmp_path / "run" / "returns.txt")) == 5
    assert {"model.zip", "vecnormalize.pkl"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert len(list((tmp_path / "run" / "monitor").glob("*.monitor.csv"))) == 2
    with pytest.raises(SystemExit, match="to render frames"):
        main(["record", *common])
    with pytest.raises(SystemExit, match="holds a finished run"):
        main(["train", *common])


PENDULUM = {
    "algo": "td3",
    "policy": "SpikingTD3Policy",
    "n_timesteps": 40,
    "normalize": {"norm_reward": False},
    "frame_stack": 2,
    "noise_type": "normal",
    "noise_std": 0.1,
    "learning_starts": 20,
    "batch_size": 8,
    "buffer_size": 100,
    "policy_kwargs": {"net_arch": [8], "frames": 2, "steps": 2, "population": 3},
}


def test_td3_trains_resumes_with_its_replay_buffer_and_evaluates(tmp_path, capsys):
    folder = tmp_path / "run"
    common = ["--config", written(tmp_path, {"Pendulum-v1": PENDULUM}), "--folder", str(folder), "--device", "cpu"]
    main(["train", *common])
    capsys.readouterr()
    main(["eval", *common, "--episodes", "1"])
    assert "nJ a decision" in capsys.readouterr().out
    longer = {"Pendulum-v1": PENDULUM | {"n_timesteps": 60}}
    common[1] = written(tmp_path, longer)
    model = runs.train(settings.read(common[1]), folder, 0, resume=folder / "run_40_steps.zip", device="cpu")
    assert isinstance(model, TD3)
    assert model.num_timesteps == 60
    assert model.replay_buffer is not None
    assert model.replay_buffer.size() == 59  # a checkpoint is written before its own step is stored


def test_other_policies_run_too(tmp_path, capsys):
    plain = CHAIN | {"algo": "ppo_lstm", "policy": "MlpLstmPolicy"}
    common = ["--config", written(tmp_path, {"MemoryChain-v0": plain}), "--folder", str(tmp_path / "run")]
    main(["train", *common])
    main(["eval", *common, "--episodes", "2"])
    assert "nJ" not in capsys.readouterr().out


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path, capsys):
    """SIGKILL in the middle; the last checkpoint file goes on to the full number of steps."""
    folder, long = tmp_path / "run", CHAIN | {"n_timesteps": 4_000}
    config = written(tmp_path, {"MemoryChain-v0": long})
    words = ["train", "--config", config, "--folder", str(folder), "--device", "cpu"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "agents")])
    run = subprocess.Popen(
        [sys.executable, "-m", "spikeseq_agents", *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not list(folder.glob("run_vecnormalize_*_steps.pkl")) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert not (folder / "model.zip").exists()
    first = folder / "run_400_steps.zip"
    assert first.is_file()
    shorter = written(tmp_path, {"MemoryChain-v0": long | {"n_timesteps": 464}})
    words[2] = shorter
    main([*words, "--resume", str(first)])
    capsys.readouterr()
    assert SpikingPPO.load(folder / "model.zip", device="cpu").num_timesteps >= 464
    with pytest.raises(SystemExit, match="it is done"):
        main([*words[:2], written(tmp_path, {"MemoryChain-v0": CHAIN}), *words[3:], "--resume", str(first)])
    with pytest.raises(SystemExit, match="expected a checkpoint"):
        main([*words, "--resume", str(folder / "none.zip")])


@pytest.mark.peers
def test_record_gives_a_film_and_spikes(tmp_path, capsys):
    pytest.importorskip("PIL")
    pytest.importorskip("pygame")
    config = written(tmp_path, {"CartPoleNoVel-v1": {n: v for n, v in CHAIN.items() if n != "env_kwargs"}})
    common = ["--config", config, "--folder", str(tmp_path / "run"), "--device", "cpu"]
    main(["train", *common])
    main(["record", *common])
    film, spikes, raster = (Path(line) for line in capsys.readouterr().out.splitlines()[-3:])
    assert film.read_bytes()[:3] == b"GIF"
    assert raster.read_bytes()[1:4] == b"PNG"
    with np.load(spikes) as layers:
        assert list(layers) == ["lstm_actor.layers.0"]
        values = layers["lstm_actor.layers.0"]
    assert values.shape[1] == 8
    assert set(np.unique(values)) <= {0.0, 1.0}
