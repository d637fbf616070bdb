"""The forecaster with sktime's interface."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from typing import Any

import numpy as np
import pandas as pd
import torch
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from torch import Tensor

from . import axis, frames
from .calendars import calendar, cycles_of, sizes
from .distributions import NegativeBinomial, make_distribution
from .ensemble import Ensemble, View, views
from .features import Framing
from .rolling import Looked, look, rolled
from .series_data import SeriesData, tensor
from .series_model import Memory, SeriesModel
from .series_training import train
from .training import seeded
from .training_data import Block


class SpikingForecaster(BaseForecaster):
    """Spiking networks for all series: a distribution for each step ahead, as a residual over a simple baseline.

        y_{t+h} = baseline_{t+h} + scale_t * (W_h z_t + V_h x_t + U known_{t+h})

    baseline: the same phase of the last season seen, or the last value, plus the mean rise of all the past (`drift`);
    z: the state of a stack of spiking neurons that read x: lags, change over a season, calendar, exogenous values.
    Training starts from ridge regressions of U and V, the spread of what these leave, and W at zero.

    `members` such networks are trained side by side and their forecasts, quantile by quantile, averaged. They differ,
    in turn, in what they see: one goes from the last value; the next from the last season, on logarithms (of series
    above 0; no counts), and sees half as far back.

    All of it is causal and streams: `update` moves the state on by the new rows alone, in time that does not depend on
    the length of the history, and gives what fitting the same weights on all rows would. Parameters never change in
    `update`, whatever `update_params` says; to learn from new rows, fit again.

    Several series (panel, hierarchy) or columns share the networks; each is scaled by itself. Missing values are taken
    as those of a season before, by members that go from the last value as that, and never trained on; so are time
    stamps without a row between the first and the last. The columns of exogenous X are known by name; in `predict` it
    needs a row at each step forecast. A value of it that is missing (NaN; in `fit` and `update` also a row) stands for
    the mean. Series that end earlier than others count as missing up to the common end.

    Fallbacks, each with a warning: a season too long for the data becomes 1 (the last value is the baseline); series
    too short to train on are forecast by the baseline, with a spread of its scale. Without a `season` the index tells
    (a day of hours, a week of days, a year of months); where it cannot, the season is 1. Dates need a frequency: that
    of the index, or one spacing, some stamps of which may be missing; else `fit` raises ValueError.

    Parameters
    ----------
    season : int, default=None
        Steps a season; None: by the frequency of the index.
    lags : int, default=None
        Past values that each step sees; None: two seasons, a week of less than daily steps; never more than a third
        of the series.
    drift : bool, default=True
        Whether the baseline rises as the past did on average.
    distribution : "student_t", "quantile", "negative_binomial" or "point", default="student_t"
        The loss and what intervals are made of; "negative_binomial" is for counts, "point" (squared error) has none.
    neuron : str, default="PRF"
        "PRF", "LIF", "DSN" or "SlidingPSN", or a factory as `spikeseq.neurons.make` takes; causal, of any length.
    neuron_options : dict, default=None
        Its options; None: those of `spikeseq_forecasting.network.NEURON_OPTIONS`.
    block : "sdtcm" or "spikformer", default="sdtcm"
        What the stack is made of.
    width, depth : int, default=32 and 1
        Neurons a layer; layers.
    shortcut : bool, default=True
        Whether V is there: a linear path around the neurons.
    members : int, default=2
        Networks whose forecasts are averaged. One, which goes from the last value, costs half the time.
    max_epochs : int, default=20
    finetune_epochs : int, default=5
        Epochs of `fit` after `pretrain`; 0 keeps the weights as they are.
    learning_rate, weight_decay : float, default=2e-3 and 1e-2
    batch_size, crop, loss_steps : int, default=8, 512 and 128
        Crops a batch; steps a crop; steps of a crop whose forecasts are scored in training.
    validation : float, default=0.0
        Part of each series, at its end, held out for early stopping; its weights with the lowest loss are kept.
    patience : int, default=10
        Epochs without a better validation loss after which training stops.
    device : str, default="auto"
        "auto", "cpu", "cuda" or "cuda:<number>", for training; forecasts are made on the CPU.
    random_state : int, RandomState or None, default=None
        The same gives the same forecasts. Global generators are left as they were.
    verbose : bool, default=False
        Whether to show a progress bar.
    trainer_options : dict, default=None
        More arguments of Lightning's Trainer.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from spikeseq_forecasting import SpikingForecaster
    >>> forecaster = SpikingForecaster(season=12, max_epochs=2, random_state=0)
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().shape
    (3,)
    """

    _config = {"remember_data": False}  # noqa: RUF012 (sktime's own form)
    _tags = {  # noqa: RUF012
        "authors": ["spikeseq"],
        "maintainers": ["spikeseq"],
        "python_dependencies": ["torch", "lightning"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "scitype:y": "both",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:insample": False,
        "capability:missing_values": True,
        "capability:unequal_length": True,
        "capability:update": True,
        "capability:pretrain": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "pretrain:fitted_params": ["pretrained_model_", "pretrained_cycles_", "pretrained_exogenous_"],
        "requires-fh-in-fit": True,
        "X-y-must-have-same-index": False,
        "enforce_index_type": None,
    }

    def __init__(
        self,
        season: int | None = None,
        lags: int | None = None,
        drift: bool = True,
        distribution: str = "student_t",
        neuron: Any = "PRF",
        neuron_options: dict[str, Any] | None = None,
        block: str = "sdtcm",
        width: int = 32,
        depth: int = 1,
        shortcut: bool = True,
        members: int = 2,
        max_epochs: int = 20,
        finetune_epochs: int = 5,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 8,
        crop: int = 512,
        loss_steps: int = 128,
        validation: float = 0.0,
        patience: int = 10,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        trainer_options: dict[str, Any] | None = None,
    ) -> None:
        self.season = season
        self.lags = lags
        self.drift = drift
        self.distribution = distribution
        self.neuron = neuron
        self.neuron_options = neuron_options
        self.block = block
        self.width = width
        self.depth = depth
        self.shortcut = shortcut
        self.members = members
        self.max_epochs = max_epochs
        self.finetune_epochs = finetune_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.crop = crop
        self.loss_steps = loss_steps
        self.validation = validation
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.trainer_options = trainer_options
        self._y = self._X = None
        super().__init__()
        if distribution == "point":
            self.set_tags(**{"capability:pred_int": False})

    def _pretrain(self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: Any = None) -> SpikingForecaster:
        if fh is None:
            raise ValueError("SpikingForecaster.pretrain: expected fh, the steps ahead to learn, got None")
        data = self._data(y, X)
        cycles = cycles_of(data.times)
        model = self._build(data, cycles, int(_ahead(fh, data.times[-1:]).max()))
        self._train(model, data.read(y, X, data.times, cycles), self.max_epochs, start=True)
        self.pretrained_model_, self.pretrained_cycles_, self.pretrained_exogenous_ = model, cycles, data.exogenous
        return self

    def _pretrain_update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: Any = None) -> SpikingForecaster:  # noqa: ARG002
        model = deepcopy(self.pretrained_model_)
        data = self._data(y, X)
        self._train(model, data.read(y, X, data.times, self.pretrained_cycles_), self.max_epochs, start=False)
        self.pretrained_model_ = model
        return self

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> SpikingForecaster:
        pretrained = hasattr(self, "pretrained_model_")
        data = self._data(y, X)
        self._set_frequency(data.freq)
        longest = int(_ahead(fh, self.cutoff).max())
        if pretrained:
            model, cycles = deepcopy(self.pretrained_model_), self.pretrained_cycles_
            if longest > model.horizon:
                raise ValueError(f"fh: expected at most {model.horizon} steps, as pretrained, got {longest}")
        else:
            cycles = cycles_of(data.times)
            model = self._build(data, cycles, longest)
        blocks = data.read(y, X, data.times, cycles)
        self._train(model, blocks, self.finetune_epochs if pretrained else self.max_epochs, start=not pretrained)
        self.model_, self.cycles_, self.data_ = model, cycles, data
        self._read(blocks, None)
        return self

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> SpikingForecaster:  # noqa: ARG002
        self._set_frequency(self.data_.freq)
        times = axis.after(self.data_.times[-1:], frames.times_of(y))  # update_predict replays overlapping windows
        if len(times):
            self._read(self.data_.read(y, X, times, self.cycles_), self.memory_)
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None = None) -> pd.DataFrame:
        steps, index, parts = self._forecast(fh, X)
        made = [
            scale.undo(member.network.distribution.mean(arguments) * unit)
            for member, scale, (arguments, unit) in zip(self.model_, self.data_.scales, parts, strict=True)
        ]
        mean = np.mean(made, 0)[:, steps]
        return pd.DataFrame(frames.to_frame_values(mean, self.data_.columns), index, self._get_varnames())

    def _predict_quantiles(self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]) -> pd.DataFrame:
        steps, index, parts = self._forecast(fh, X)
        made = []
        for member, scale, (arguments, unit) in zip(self.model_, self.data_.scales, parts, strict=True):
            size = (unit * tensor(scale.unit)[:, None]).expand(-1, member.framing.horizon)
            made.append(scale.undo(member.network.distribution.quantiles(arguments, alpha, size) * unit[..., None]))
        values = frames.to_frame_values(np.mean(made, 0)[:, steps], self.data_.columns)
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        return pd.DataFrame(values.reshape(len(index), -1), index, columns)

    def predict_rolling(self, y: pd.Series | pd.DataFrame, origins: Sequence[int]) -> np.ndarray:
        """Point forecasts after the first n rows of `y`, for each n of `origins`: [origins, horizon, columns].

        One pass over a single series, of one or more columns, from its beginning; nothing is remembered. Without X.
        """
        if self.data_.instances is not None or self.model_.exogenous:
            raise ValueError("predict_rolling: expected a forecaster fitted on a single series without X")
        steps = axis.whole(y.index, self.data_.freq).get_indexer(y.index[np.asarray(origins) - 1]) + 1
        return rolled(self.model_, self.data_.scales, self.look(pd.DataFrame(y)), steps.tolist())

    def look(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> list[Looked]:
        """For each member the steps of a history from its beginning, what each knows, what its network reads there.

        The block's calendar goes on for the horizon; its exogenous values are 0, the mean, there.
        """
        times = axis.whole(frames.times_of(y), self.data_.freq)
        phases = torch.from_numpy(calendar(self._ahead_of(times[-1:]), self.cycles_))
        return look(self.model_, copy(self.data_).read(y, X, times, self.cycles_), phases)

    def _ahead_of(self, cutoff: Any) -> pd.Index:
        """The time stamps of the whole horizon."""
        steps = range(1, self.model_.horizon + 1)
        return ForecastingHorizon(steps, is_relative=True).to_absolute_index(cutoff)

    def _set_frequency(self, freq: Any) -> None:
        """sktime's cutoff knows it only where no step is missing and there are many."""
        if isinstance(self._cutoff, pd.DatetimeIndex):
            self._set_cutoff(pd.DatetimeIndex(self._cutoff, freq=freq))

    @property
    def _counts(self) -> bool:
        return isinstance(make_distribution(self.distribution), NegativeBinomial)

    def _data(self, y: pd.DataFrame, X: pd.DataFrame | None) -> SeriesData:
        """As the pretrained model, if there is one, wants it."""
        model = getattr(self, "pretrained_model_", None)
        logs = [view.log for view in (self._views if model is None else model.views)]
        return SeriesData(y, X, self._counts, logs, None if model is None else self.pretrained_exogenous_)

    @property
    def _views(self) -> list[View]:
        return views(self.members, logs=not self._counts)

    def _build(self, data: SeriesData, cycles: tuple[float, ...], horizon: int) -> Ensemble:
        framing = Framing(horizon, *sizes(data.times, self.season, self.lags), self.drift)
        inputs = calendar(data.times[:1], cycles).shape[1], len(data.x_mean)
        options = {
            "distribution": self.distribution, "neuron": self.neuron, "neuron_options": self.neuron_options,
            "block_options": {"block": self.block}, "width": self.width, "depth": self.depth,
            "shortcut": self.shortcut,
        }  # fmt: skip
        with seeded(self.random_state):
            return Ensemble(
                [SeriesModel(view.framing(framing), *inputs, **options) for view in self._views], self._views
            )

    def _train(self, model: Ensemble, blocks: list[Block], epochs: int, start: bool) -> None:
        train(
            model, blocks, epochs, start=start, validation=self.validation,
            sizes=(self.crop, self.batch_size, self.loss_steps), lr=self.learning_rate, weight_decay=self.weight_decay,
            patience=self.patience, device=self.device, random_state=self.random_state, verbose=self.verbose,
            trainer_options=self.trainer_options,
        )  # fmt: skip

    def _read(self, blocks: list[Block], memories: list[Memory] | None) -> None:
        """Move the state on by the rows of `blocks` alone."""
        with torch.no_grad():
            self.memory_ = [
                member.advance(block.values, block.calendar, block.exogenous, memory)
                for member, block, memory in zip(self.model_, blocks, memories or [None] * len(blocks), strict=True)
            ]

    def _forecast(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[np.ndarray, pd.Index, list[tuple[Any, Tensor]]]:
        """The steps wanted (from 0), the index of the answer, and each member's arguments and scale of all steps."""
        steps = _ahead(fh, self.cutoff)
        wanted = fh.to_absolute_index(self.cutoff)
        known = self.data_.ahead(X, self._ahead_of(self.cutoff), self.cycles_, wanted)
        with torch.no_grad():
            parts = [member.forecast(memory, *known) for member, memory in zip(self.model_, self.memory_, strict=True)]
        index = frames.index_of(wanted, self.data_.instances, self.data_.names)
        return steps - 1, index, parts

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Two settings for sktime's checks."""
        tiny = {"max_epochs": 1, "finetune_epochs": 1, "width": 4, "random_state": 0, "device": "cpu"}
        return [tiny, {**tiny, "season": 3, "distribution": "quantile", "neuron": "LIF", "validation": 0.2, "lags": 2}]


def _ahead(fh: ForecastingHorizon, cutoff: Any) -> np.ndarray:
    """The steps ahead, whole numbers from 1; in-sample ones and times between steps are an error."""
    steps = fh.to_relative(cutoff).to_numpy()
    if not np.issubdtype(steps.dtype, np.integer) or (steps < 1).any():
        raise NotImplementedError(
            f"fh: expected whole steps ahead of the last time stamp seen, at least 1, got {list(steps)}; "
            "in-sample forecasts are not made"
        )
    return steps.astype(int)
