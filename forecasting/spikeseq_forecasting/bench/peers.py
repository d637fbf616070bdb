"""Which models the benchmark knows, by name: each a function of the problem, imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..presets import SMALL
from .models import GluonTS, Model, Sktime
from .sets import Problem

EPOCHS = 30  # of GluonTS' networks, 50 batches of 32 windows each
SPIKING_EPOCHS = 10  # of SpikingEstimator, the same batches
NLINEAR_EPOCHS = 100  # of all windows, in batches of 8


def seasonal_naive(problem: Problem) -> Model:
    from sktime.forecasting.naive import NaiveForecaster

    return Sktime(unseeded(NaiveForecaster), seeded=False, strategy="last", sp=problem.season)


def theta(problem: Problem) -> Model:
    """Without a season where some value is not positive: its season is multiplicative."""
    from sktime.forecasting.theta import ThetaForecaster

    positive = all((values > 0).all() for values in problem.series.values())
    return Sktime(unseeded(ThetaForecaster), seeded=False, sp=problem.season, deseasonalize=positive)


def nlinear(problem: Problem) -> Model:
    """One network a series; no quantiles."""
    from sktime.forecasting.ltsf import LTSFNLinearForecaster

    sizes: dict[str, Any] = {"seq_len": context(problem), "pred_len": problem.horizon}
    return Sktime(unseeded(LTSFNLinearForecaster), quantiles=False, num_epochs=NLINEAR_EPOCHS, **sizes)


def dlinear(problem: Problem) -> Model:
    from gluonts.torch import DLinearEstimator

    return GluonTS(without_frequency(DLinearEstimator), EPOCHS, context_length=context(problem))


def deepar(problem: Problem) -> Model:
    from gluonts.torch import DeepAREstimator

    return GluonTS(DeepAREstimator, EPOCHS, context_length=context(problem))


def patchtst(problem: Problem) -> Model:
    from gluonts.torch import PatchTSTEstimator

    patches = {"patch_len": problem.season, "stride": problem.season // 2}
    return GluonTS(without_frequency(PatchTSTEstimator), EPOCHS, context_length=context(problem), **patches)


def spiking_forecaster(problem: Problem) -> Model:
    from ..forecaster import SpikingForecaster

    def make(seed: int, **settings: Any) -> Any:
        return SpikingForecaster(random_state=seed, device="cpu", **settings)

    return Sktime(make, season=problem.season, **SMALL[problem.name])


def spiking_estimator(problem: Problem) -> Model:
    """Its season is the frequency's: 1 for years."""
    from ..gluonts_estimator import SpikingEstimator

    return GluonTS(SpikingEstimator, SPIKING_EPOCHS, context_length=context(problem))


MODELS: dict[str, Callable[[Problem], Model]] = {
    "spiking-forecaster": spiking_forecaster,
    "spiking-estimator": spiking_estimator,
    "seasonal-naive": seasonal_naive,
    "theta": theta,
    "nlinear": nlinear,
    "dlinear": dlinear,
    "deepar": deepar,
    "patchtst": patchtst,
}


def context(problem: Problem) -> int:
    """Steps that the networks see: three seasons."""
    return 3 * problem.season


def unseeded(cls: type) -> Callable[..., Any]:
    """A forecaster whose only chance is torch's generator, which the caller seeds."""
    return lambda seed, **settings: cls(**settings)  # noqa: ARG005


def without_frequency(cls: type) -> Callable[..., Any]:
    """An estimator that does not ask for the frequency."""
    return lambda freq, **settings: cls(**settings)  # noqa: ARG005
