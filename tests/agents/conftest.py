"""Tests of the reinforcement learning head; they need the extra `rl`, which `make test` installs."""

from importlib.util import find_spec

MISSING = find_spec("sb3_contrib") is None
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> list[str]:
    return ["tests/agents left out: they need pip install 'spikeseq[rl]'"] if MISSING else []
