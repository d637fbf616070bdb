"""sb3-contrib's own recurrent tests on our policies, when their sources are given:

    SPIKESEQ_SB3_CONTRIB=path/of/its/source pytest -m peers tests/agents/test_sb3_contrib.py

The source distribution of the installed version holds them: pip download --no-binary :all: --no-deps sb3-contrib
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = os.environ.get("SPIKESEQ_SB3_CONTRIB")
ROOT = Path(__file__).parents[2]
CHOICE = "test_lstm or ((test_deterministic or test_cnn) and (RecurrentPPO or SpikingPPO))"


@pytest.mark.peers
@pytest.mark.skipif(SOURCE is None, reason="SPIKESEQ_SB3_CONTRIB names no source of sb3-contrib")
@pytest.mark.parametrize("ppo", ["RecurrentPPO", "SpikingPPO"])
def test_their_recurrent_tests_pass_with_our_policies(ppo, tmp_path):
    tests = Path(SOURCE or "") / "tests"
    files = [tests / f"{name}.py" for name in ("test_lstm", "test_deterministic", "test_cnn")]
    missing = [str(file) for file in files if not file.is_file()]
    assert missing == [], "SPIKESEQ_SB3_CONTRIB: expected the source folder of sb3-contrib"
    path = os.pathsep.join([str(ROOT), str(ROOT / "agents"), os.environ.get("PYTHONPATH", "")])
    swap = "1" if ppo == "SpikingPPO" else "0"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.agents.swapped", "-q", "-k", CHOICE, *map(str, files)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path, "SPIKESEQ_SWAP_PPO": swap},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
