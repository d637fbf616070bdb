"""Reinforcement learning with spiking networks, on top of Stable-Baselines3.

import spikeseq_agents
from sb3_contrib import RecurrentPPO
RecurrentPPO("SpikingPolicy", "CartPole-v1", verbose=1).learn(100_000)
"""

# isort: off
from . import _extra as _extra  # first: it says which extra is missing

# isort: on
from .core import SpikingCore as SpikingCore
from .policies import CnnSpikingPolicy as CnnSpikingPolicy
from .policies import MultiInputSpikingPolicy as MultiInputSpikingPolicy
from .policies import SpikingPolicy as SpikingPolicy
from .policies import register as register

register()
