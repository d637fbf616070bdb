"""Forecasting and time-series classification with spiking networks, for sktime and GluonTS.

from sktime.datasets import load_airline
from spikeseq_forecasting import SpikingForecaster
SpikingForecaster(season=12, random_state=0).fit(load_airline(), fh=range(1, 13)).predict()
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import SpikingClassifier as SpikingClassifier
    from .forecaster import SpikingForecaster as SpikingForecaster
    from .gluonts_estimator import SpikingEstimator as SpikingEstimator
    from .gluonts_predictor import SpikingPredictor as SpikingPredictor
    from .gluonts_predictor import StatefulPredictor as StatefulPredictor
    from .regressor import SpikingRegressor as SpikingRegressor

if find_spec("sktime") is None:
    raise ImportError("spikeseq_forecasting needs sktime and GluonTS: pip install 'spikeseq[forecasting]'")

# sktime takes seconds to import, GluonTS twice as long: each when its class is asked for
MODULES = {
    "SpikingForecaster": "forecaster",
    "SpikingClassifier": "classifier",
    "SpikingRegressor": "regressor",
    "SpikingEstimator": "gluonts_estimator",
    "SpikingPredictor": "gluonts_predictor",
    "StatefulPredictor": "gluonts_predictor",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(MODULES)}")
    return getattr(import_module(f".{MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
