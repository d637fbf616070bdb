"""Time series regression with sktime's interface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from sktime.regression.base import BaseRegressor

from .panel_model import fit_panel_model
from .training import resolve_device


class SpikingRegressor(BaseRegressor):
    """Predicts a number for each series from the firing rates of spiking neurons.

    The model, its training and the treatment of missing values and unequal lengths are `SpikingClassifier`'s, with
    squared errors of the standardised target instead of cross-entropies and no temperature.

    Parameters
    ----------
    features : int, default=10_000
        Neurons of the bank, roughly.
    width, depth, dropout : int, int, float
        Of the trunk: channels (a multiple of 4), SD-TCM blocks, dropout rate.
    max_epochs, patience : int, int or None
        Most epochs of the trunk (0: no trunk), epochs without a better validation loss after which it stops.
    validation_fraction : float
        Share of the training instances held out for early stopping.
    batch_size, learning_rate, weight_decay : int, float, float
        Of the trunk's training with AdamW.
    device : str, default="auto"
        "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1". The fitted model itself stays on the CPU.
    random_state : int, RandomState or None
        Decides everything random; the global generators are not touched.
    verbose : bool
        Progress bar of the trunk's training.
    trainer_options : dict or None
        Arguments of Lightning's Trainer.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from spikeseq_forecasting import SpikingRegressor
    >>> X, y = load_unit_test(split="train")
    >>> regressor = SpikingRegressor(features=500, random_state=0).fit(X, y.astype(float))
    >>> regressor.predict(X).shape
    (20,)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["spikeseq developers"],
        "python_dependencies": ["torch", "lightning"],
        "X_inner_mtype": ["df-list", "numpy3D"],
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    def __init__(
        self,
        features: int = 10_000,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
        max_epochs: int = 50,
        patience: int | None = 10,
        validation_fraction: float = 0.2,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
        trainer_options: dict[str, Any] | None = None,
    ) -> None:
        self.features = features
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.trainer_options = trainer_options
        super().__init__()

    def _fit(self, X: Any, y: np.ndarray) -> SpikingRegressor:
        y = np.asarray(y, dtype=np.float64).reshape(-1, 1)
        if not np.isfinite(y).all():
            raise ValueError(f"y: expected finite values, got {y[~np.isfinite(y)][0]}")
        self.mean_, self.scale_ = float(y.mean()), float(y.std()) or 1.0
        target = torch.from_numpy((y - self.mean_) / self.scale_)
        weight = torch.ones(len(y), dtype=torch.float64)
        self.model_ = fit_panel_model(X, target, weight, classes=None, **self.get_params(deep=False))
        self.trunk_used_ = self.model_.trunk is not None
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.mean_ + self.scale_ * self.model_.predict(X, resolve_device(self.device))[:, 0]

    def firing_rates(self, X: Any) -> dict[str, float]:
        """Spikes a neuron and step on the panel X, for the bank and for each layer of the trunk."""
        self.check_is_fitted()
        return self.model_.firing_rates(self._check_convert_X_for_predict(X))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Small settings for sktime's test suite."""
        return [{"features": 400, "random_state": 0}, {"features": 200, "width": 4, "depth": 1, "max_epochs": 1}]
