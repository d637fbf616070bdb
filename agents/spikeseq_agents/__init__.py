"""Reinforcement learning with spiking networks, on top of Stable-Baselines3. Not built yet: nothing to import here.

It will hold policies and features extractors of spikeseq's neurons for PPO and off-policy learners, with the state
carried across steps and reset at episode boundaries.
"""

from importlib.util import find_spec

if find_spec("stable_baselines3") is None:
    raise ImportError("spikeseq_agents needs Stable-Baselines3: pip install 'spikeseq[rl]'")
