"""Every test runs on one thread, from one seed, with uninitialised memory filled with NaN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

import spikeseq
from spikeseq.ops.native import library
from spikeseq.ops.native.build import variants

pytest.register_assert_rewrite("tests.laws")

# "ci" draws the same examples on every run. To hunt: pytest --hypothesis-profile=hunt
_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
_PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, phases=_PHASES, suppress_health_check=_SLOW
)
settings.register_profile("hunt", max_examples=400, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    """`torch.empty` holds NaN under deterministic algorithms, so reading memory that nobody wrote fails a test."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # pyright: ignore[reportAttributeAccessIssue]
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(params=list(variants()))
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each instruction set that was compiled and that this processor runs."""
    if spikeseq.backends()["native"] is not None:
        pytest.skip(str(spikeseq.backends()["native"]))
    caches = (library.load, library.kernel, library.short_kernel)
    monkeypatch.setenv("SPIKESEQ_ISA", request.param)
    for cache in caches:
        cache.cache_clear()
    found, reason = library.load()
    if found is not None:
        yield request.param
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
    if found is None:
        pytest.skip(reason)
