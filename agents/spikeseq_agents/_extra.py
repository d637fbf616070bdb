"""Raises ImportError, with the pip line that mends it, where a library of the extra `rl` is missing."""

from importlib.util import find_spec

for library in ("stable_baselines3", "sb3_contrib", "gymnasium"):
    if find_spec(library) is None:
        raise ImportError(f"spikeseq_agents needs {library}: pip install 'spikeseq[rl]'")
