"""rl-zoo3's own train command on our configs and policies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .test_cli import CHAIN, CONFIGS, PENDULUM, ROOT, written

DOTTED = CHAIN | {"policy": "spikeseq_agents.SpikingPolicy"}
TD3 = {name: value for name, value in PENDULUM.items() if name != "algo"}


@pytest.mark.peers
@pytest.mark.parametrize(
    ("algorithm", "env", "content"),
    [
        ("ppo_lstm", "MemoryChain-v0", ROOT / "configs" / "rl" / "memory_chain.yml"),
        ("ppo_lstm", "MemoryChain-v0", DOTTED),
        ("td3", "Pendulum-v1", {**TD3, "frame_stack": 1, "policy_kwargs": TD3["policy_kwargs"] | {"frames": 1}}),
    ],
    ids=["file", "dotted name", "td3"],
)
def test_rl_zoo3_trains(algorithm, env, content, tmp_path):
    pytest.importorskip("rl_zoo3")
    config = str(content) if isinstance(content, Path) else written(tmp_path, {env: content})
    path = os.pathsep.join([str(ROOT), str(ROOT / "agents")])
    done = subprocess.run(
        [
            sys.executable, "-m", "rl_zoo3.train", "--algo", algorithm, "--env", env, "-conf", config, "-n", "32",
            "--gym-packages", "spikeseq_agents", "-f", str(tmp_path), "--device", "cpu", "--eval-freq", "-1",
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert list(tmp_path.glob(f"{algorithm}/*/{env}.zip"))


def test_our_configs_are_plain_data_that_rl_zoo3_reads():
    """No key of ours but `algo`, which stands where the policy is not ours."""
    for path in CONFIGS:
        for content in yaml.safe_load(path.read_text()).values():
            assert "algo" not in content or "Spiking" not in content["policy"]
