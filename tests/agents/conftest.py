"""Tests of the reinforcement learning head; they need the extra `rl`."""

import pytest

pytest.importorskip("sb3_contrib", reason="needs pip install 'spikeseq[rl]'")
