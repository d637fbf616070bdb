"""Reinforcement learning with spiking networks, on top of Stable-Baselines3. Not built yet: nothing to import here.

It will hold policies and features extractors of spikeseq's neurons for PPO and off-policy learners, with the state
carried across steps and reset at episode boundaries.
"""

try:
    import stable_baselines3 as _stable_baselines3  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("spikeseq_agents needs Stable-Baselines3: pip install 'spikeseq[rl]'") from error
