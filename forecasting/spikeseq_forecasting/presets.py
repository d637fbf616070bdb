"""Settings of `SpikingForecaster` for the sets of the benchmark, chosen on windows before the tested ones.

Plain constructor arguments; random_state, device and, for the small sets, season are the caller's.
"""

from __future__ import annotations

from typing import Any

# The defaults serve all of the small sets.
SMALL: dict[str, dict[str, Any]] = {name: {} for name in ("airline", "co2", "sunspots", "aus_retail", "vic_elec")}

# Squared error, because that is what the protocol scores; a look-back of two weeks, as DLinear and PatchTST take.
LONG_HORIZON: dict[str, Any] = {
    "distribution": "point",
    "members": 1,
    "season": 1,
    "lags": 336,
    "drift": False,
    "max_epochs": 20,
    "learning_rate": 5e-3,
    "batch_size": 16,
    "loss_steps": 64,
}
