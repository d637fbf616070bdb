"""Time series classification with sktime's interface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight
from sktime.classification.base import BaseClassifier

from .panel_model import fit_panel_model
from .training import resolve_device


class SpikingClassifier(BaseClassifier):
    """Classifies series by the firing rates of spiking neurons.

    Series of any number of channels, of unequal length, with missing values. Logits are the sum of two parts:

    1. A bank of about `features` neurons behind fixed dilated convolutions (`ConvolutionBank`; its kernels are
       MiniRocket's, so this part is MiniRocket read as spikes, with differences and levels beside) and a linear
       readout of their firing rates: ridge regression, its strength chosen by leave-one-out, in closed form.
    2. A trunk (`Trunk`): trained convolutions, LIF spikes, `depth` SD-TCM blocks (PRF paper, arXiv 2410.03530) and
       a head that starts at zero. It is trained by gradient on what the left-out predictions of part 1 leave, with
       early stopping on a held-out share, and is kept only if it lowers the held-out loss by more than two standard
       errors. With fewer than 50 instances it is not trained. `trunk_used_` tells.

    With one class alone sktime predicts that class. Missing values are interpolated, and where training had some,
    the trunk sees which were observed; missing steps at the end of a series count as its end.

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
    class_weight : None, "balanced" or dict {label: weight}
        As in scikit-learn.
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
    >>> from spikeseq_forecasting import SpikingClassifier
    >>> X, y = load_unit_test(split="train")
    >>> classifier = SpikingClassifier(features=500, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (20, 2)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["spikeseq developers"],
        "python_dependencies": ["torch", "lightning"],
        "X_inner_mtype": ["df-list", "numpy3D"],
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:predict_proba": True,
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
        class_weight: Any = None,
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
        self.class_weight = class_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.trainer_options = trainer_options
        super().__init__()

    def _fit(self, X: Any, y: np.ndarray) -> SpikingClassifier:
        settings = self.get_params(deep=False)
        weight = compute_sample_weight(settings.pop("class_weight"), y)
        labels = np.searchsorted(self.classes_, y)
        self.model_ = fit_panel_model(
            X, torch.from_numpy(labels), torch.from_numpy(weight), classes=len(self.classes_), **settings
        )
        self.trunk_used_ = self.model_.trunk is not None
        return self

    def _predict_proba(self, X: Any) -> np.ndarray:
        logits = self.model_.predict(X, resolve_device(self.device))
        return torch.from_numpy(logits).softmax(-1).numpy()

    def _predict(self, X: Any) -> np.ndarray:
        return self.classes_[self._predict_proba(X).argmax(1)]

    def firing_rates(self, X: Any) -> dict[str, float]:
        """Spikes a neuron and step on the panel X, for the bank and for each layer of the trunk."""
        self.check_is_fitted()
        return self.model_.firing_rates(self._check_convert_X_for_predict(X))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Small settings for sktime's test suite."""
        return [{"features": 400, "random_state": 0}, {"features": 200, "width": 4, "depth": 1, "max_epochs": 1}]
