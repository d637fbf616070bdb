"""A pytest plugin (-p tests.agents.swapped) under which sb3-contrib's recurrent tests run our policies.

The names "MlpLstmPolicy", "CnnLstmPolicy" and "MultiInputLstmPolicy" then mean the spiking policies, and with
SPIKESEQ_SWAP_PPO=1 `RecurrentPPO` means SpikingPPO. A session in which no spiking policy was made fails.
"""

import os
from typing import Any

import sb3_contrib

from spikeseq_agents import CnnSpikingPolicy, MultiInputSpikingPolicy, SpikingPolicy, SpikingPPO

MADE = []


def pytest_configure(config: Any) -> None:
    del config
    aliases: Any = sb3_contrib.RecurrentPPO.policy_aliases
    aliases["MlpLstmPolicy"] = SpikingPolicy
    aliases["CnnLstmPolicy"] = CnnSpikingPolicy
    aliases["MultiInputLstmPolicy"] = MultiInputSpikingPolicy
    make = SpikingPolicy.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        MADE.append(type(self).__name__)
        make(self, *args, **kwargs)

    SpikingPolicy.__init__ = counted
    if os.environ.get("SPIKESEQ_SWAP_PPO") == "1":
        sb3_contrib.RecurrentPPO = SpikingPPO


def pytest_sessionfinish(session: Any) -> None:
    if not MADE:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"spiking policies made: {len(MADE)}")
