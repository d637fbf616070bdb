"""Reinforcement learning with spiking networks, on top of Stable-Baselines3.

import spikeseq_agents
from sb3_contrib import RecurrentPPO
RecurrentPPO("SpikingPolicy", "CartPole-v1", verbose=1).learn(100_000)
"""

# isort: off
from . import _extra as _extra  # first: it says which extra is missing

# isort: on
from . import envs, masking, policies, td3
from .core import SpikingCore as SpikingCore
from .envs import MaskVelocity as MaskVelocity
from .envs import MemoryChain as MemoryChain
from .extractors import SpikingFrameStackExtractor as SpikingFrameStackExtractor
from .masking import MaskableSpikingPolicy as MaskableSpikingPolicy
from .masking import MaskedActions as MaskedActions
from .policies import CnnSpikingPolicy as CnnSpikingPolicy
from .policies import MultiInputSpikingPolicy as MultiInputSpikingPolicy
from .policies import SpikingPolicy as SpikingPolicy
from .ppo import SpikingPPO as SpikingPPO
from .statistics import SpikeStatistics as SpikeStatistics
from .td3 import SpikingTD3Policy as SpikingTD3Policy


def register() -> None:
    """What importing does: the algorithms know the policies by name, gymnasium the environments. Twice does no harm."""
    policies.register()
    masking.register()
    td3.register()
    envs.register()


register()
