"""A GluonTS estimator on the forecasting network. Training leaves no files behind."""

# No `from __future__ import annotations`: GluonTS' `validated` reads annotations as objects.
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.field_names import FieldName
from gluonts.dataset.loader import as_stacked_batches
from gluonts.env import env
from gluonts.itertools import Cached, Cyclic, select
from gluonts.time_feature import TimeFeature, get_seasonality, time_features_from_frequency_str
from gluonts.torch.distributions import Output, StudentTOutput
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import (
    AddObservedValuesIndicator,
    AddTimeFeatures,
    AsNumpyArray,
    Chain,
    ExpectedNumInstanceSampler,
    InstanceSampler,
    InstanceSplitter,
    RemoveFields,
    SetField,
    TestSplitSampler,
    Transformation,
    ValidationSplitSampler,
    VstackFeatures,
)

from .calendars import check_steps
from .gluonts_model import SCALINGS, SpikingModel, family, is_count
from .gluonts_predictor import AddAge, SpikingPredictor
from .training import fit_quietly, seeded

PREDICTION_INPUTS = [
    "feat_static_cat",
    "feat_static_real",
    "past_time_feat",
    "past_target",
    "past_observed_values",
    "future_time_feat",
]
TRAINING_INPUTS = [*PREDICTION_INPUTS, "future_target", "future_observed_values"]
SHARED = [  # settings that the estimator hands on to `SpikingModel` as they are
    "distr_output", "season", "lags", "drift", "scaling", "num_feat_static_real", "cardinality", "embedding_dimension",
    "width", "depth", "neuron", "neuron_options",
]  # fmt: skip
MOST_LAGS = 48


class SpikingLightningModule(pl.LightningModule):
    """Training of a `SpikingModel`: AdamW, the learning rate falling to 0 by a cosine over the epochs."""

    @validated()
    def __init__(self, model_kwargs: dict[str, Any], lr: float, weight_decay: float) -> None:
        super().__init__()
        self.model = SpikingModel(**model_kwargs)
        self.lr, self.weight_decay = lr, weight_decay

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        return self._loss(batch, "train_loss")

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        return self._loss(batch, "val_loss")

    def _loss(self, batch: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        loss = self.model.loss(**select(TRAINING_INPUTS, batch))
        size = len(batch["past_target"])
        self.log(name, loss, on_epoch=True, on_step=False, prog_bar=True, batch_size=size, sync_dist=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        epochs = max(1, self.trainer.max_epochs or 1)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)]


class SpikingEstimator(PyTorchLightningEstimator):
    """Spiking neurons over the past, one direct head for the whole horizon: no sampling loop.

    freq, prediction_length, context_length, distr_output, batch_size, num_batches_per_epoch, trainer_kwargs, samplers,
    static and dynamic features: as in GluonTS' own estimators; distr_output is a StudentTOutput,
    NegativeBinomialOutput (counts) or QuantileOutput. feat_static_cat may hold an item's number: its embedding is
    learned, and a number that lies outside `cardinality` is a ValueError. Without static features an item unseen in
    training is forecast like any other: one network serves all.

    season: steps of the baseline's period, by default that of the frequency where the context holds two of them, else
    1: the last value. lags: how many values before the present one are inputs, by default a season, at most 48. drift:
    whether the baseline follows the mean slope since the context began. scaling: each step is divided by "std", the
    deviation, or "mean", the mean size, of the last max(season, lags) + 1 values; None leaves it. width, depth,
    neuron, neuron_options: as in `ForecastNetwork`.

    trainer_kwargs go to Lightning's Trainer, such as {"max_epochs": 50, "devices": 4, "strategy": "ddp"}; callbacks
    serve every call of `train`. No checkpoints, logs or bars unless trainer_kwargs ask for them. With validation data
    the weights of the best epoch are kept (in memory). random_state: the seed of weights and batches; by default drawn
    from torch's generator, so that `torch.manual_seed` or Lightning's `seed_everything` fix it.

    Missing values are NaN. A series without any observed value is forecast around 0.
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        season: int | None = None,
        lags: int | None = None,
        drift: bool = True,
        width: int = 32,
        depth: int = 1,
        neuron: str = "PRF",
        neuron_options: dict[str, Any] | None = None,
        num_feat_dynamic_real: int = 0,
        num_feat_static_cat: int = 0,
        num_feat_static_real: int = 0,
        cardinality: list[int] | None = None,
        embedding_dimension: list[int] | None = None,
        distr_output: Output = StudentTOutput(),  # noqa: B008
        scaling: str | None = "std",
        time_features: list[TimeFeature] | None = None,
        lr: float = 5e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 32,
        num_batches_per_epoch: int = 50,
        random_state: int | None = None,
        trainer_kwargs: dict[str, Any] | None = None,
        train_sampler: InstanceSampler | None = None,
        validation_sampler: InstanceSampler | None = None,
    ) -> None:
        super().__init__(trainer_kwargs={"max_epochs": 20, "gradient_clip_val": 1.0, **(trainer_kwargs or {})})
        family(distr_output)
        if scaling not in SCALINGS:
            raise ValueError(f"scaling: expected one of {SCALINGS}, got {scaling!r}")
        if num_feat_static_cat != len(cardinality or []):
            raise ValueError(
                f"cardinality: expected {num_feat_static_cat} numbers (num_feat_static_cat), got {cardinality}"
            )
        if prediction_length < 1:
            raise ValueError(f"prediction_length: expected at least 1 step, got {prediction_length}")
        for name, value in (("context_length", context_length), ("season", season), ("lags", lags)):
            check_steps(name, value)
        usual = get_seasonality(freq)
        self.prediction_length = prediction_length
        self.context_length = context_length or max(3 * min(usual, 168), 2 * prediction_length)
        self.season = season or (usual if 2 * usual <= self.context_length else 1)
        self.lags = lags or min(max(self.season, 8), MOST_LAGS)
        if max(self.season, self.lags) >= self.context_length:
            raise ValueError(
                f"expected season and lags below context_length = {self.context_length}, got season = {self.season} "
                f"and lags = {self.lags}"
            )
        self.drift, self.width, self.depth = drift, width, depth
        self.neuron, self.neuron_options = neuron, neuron_options
        self.num_feat_dynamic_real = num_feat_dynamic_real
        self.num_feat_static_cat = num_feat_static_cat
        self.num_feat_static_real = num_feat_static_real
        self.cardinality = cardinality or [1]
        self.embedding_dimension = embedding_dimension or [min(50, (count + 1) // 2) for count in self.cardinality]
        self.distr_output, self.scaling = distr_output, scaling
        self.time_features = time_features_from_frequency_str(freq) if time_features is None else time_features
        self.lr, self.weight_decay = lr, weight_decay
        self.batch_size, self.num_batches_per_epoch = batch_size, num_batches_per_epoch
        self.random_state = random_state
        self.train_sampler = train_sampler or ExpectedNumInstanceSampler(
            num_instances=1.0, min_future=prediction_length
        )
        self.validation_sampler = validation_sampler or ValidationSplitSampler(min_future=prediction_length)

    def create_transformation(self) -> Transformation:
        unused = {
            FieldName.FEAT_STATIC_CAT: self.num_feat_static_cat,
            FieldName.FEAT_STATIC_REAL: self.num_feat_static_real,
            FieldName.FEAT_DYNAMIC_REAL: self.num_feat_dynamic_real,
        }
        features = [FieldName.FEAT_TIME, FieldName.FEAT_AGE]
        steps: list[Transformation] = [RemoveFields([name for name, count in unused.items() if count == 0])]
        if self.num_feat_static_cat == 0:
            steps.append(SetField(FieldName.FEAT_STATIC_CAT, [0]))
        if self.num_feat_static_real == 0:
            steps.append(SetField(FieldName.FEAT_STATIC_REAL, []))
        if self.num_feat_dynamic_real > 0:
            features.append(FieldName.FEAT_DYNAMIC_REAL)
            steps.append(AsNumpyArray(FieldName.FEAT_DYNAMIC_REAL, expected_ndim=2))
        steps += [
            AsNumpyArray(FieldName.FEAT_STATIC_CAT, expected_ndim=1, dtype=int),
            AsNumpyArray(FieldName.FEAT_STATIC_REAL, expected_ndim=1),
            AsNumpyArray(FieldName.TARGET, expected_ndim=1),
            AddObservedValuesIndicator(FieldName.TARGET, FieldName.OBSERVED_VALUES),
            AddTimeFeatures(
                FieldName.START, FieldName.TARGET, FieldName.FEAT_TIME, self.time_features, self.prediction_length
            ),
            AddAge(FieldName.TARGET, FieldName.FEAT_AGE, self.prediction_length),
            VstackFeatures(FieldName.FEAT_TIME, features),
        ]
        return Chain(steps)

    def create_lightning_module(self) -> SpikingLightningModule:
        model_kwargs = {
            "prediction_length": self.prediction_length,
            "context_length": self.context_length,
            "num_time_feat": len(self.time_features) + 1 + self.num_feat_dynamic_real,
            **{name: getattr(self, name) for name in SHARED},
        }
        return SpikingLightningModule(model_kwargs=model_kwargs, lr=self.lr, weight_decay=self.weight_decay)

    def train_model(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: PyTorchPredictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> TrainOutput:
        """As GluonTS' own, but: callbacks of trainer_kwargs stay, no checkpoints are written, the weights that were
        best on validation data are kept in memory, and ckpt_path is refused (`train_from` goes on from a predictor).

        Raises ValueError for infinite values, for negative counts with NegativeBinomialOutput and where no series is
        longer than prediction_length, before any training.
        """
        if ckpt_path is not None:
            raise ValueError("ckpt_path: expected None; training writes no checkpoints. Go on by train_from(predictor)")
        self._check(training_data)
        transformation = self.create_transformation()
        seed = int(torch.randint(2**31, ())) if self.random_state is None else self.random_state
        with seeded(seed):
            module = self.create_lightning_module()
        if from_predictor is not None:
            module.load_state_dict(from_predictor.network.state_dict())

        def loader(data: Dataset, make: Callable[..., Iterable], **options: Any) -> Iterable:
            with env._let(max_idle_transforms=max(len(data), 100)):
                transformed: Any = transformation.apply(data, is_train=True)
                return make(Cached(transformed) if cache_data else transformed, module, **options)

        train = loader(training_data, self.create_training_data_loader, shuffle_buffer_length=shuffle_buffer_length)
        val = None if validation_data is None else loader(validation_data, self.create_validation_data_loader)
        options = self.trainer_kwargs
        epochs = options["max_epochs"]
        trainer = fit_quietly(module, train, val, max_epochs=epochs, random_state=seed, trainer_options=options)
        return TrainOutput(transformation, module, trainer, self.create_predictor(transformation, module))

    def _check(self, data: Dataset) -> None:
        usable = False
        for number, entry in enumerate(data):
            target, name = np.asarray(entry["target"], dtype=float), entry.get("item_id", f"number {number}")
            if np.isinf(target).any():
                raise ValueError(f"item {name}: expected finite or missing (NaN) values, got an infinite one")
            if is_count(self.distr_output) and (target < 0).any():
                raise ValueError(f"item {name}: expected counts of at least 0, got {np.nanmin(target)}")
            usable |= target.shape[-1] > self.prediction_length and not np.isnan(target).all()
        if not usable:
            raise ValueError(
                f"expected at least one series with observed values and more than prediction_length = "
                f"{self.prediction_length} steps, got none"
            )

    def _splitter(self, sampler: InstanceSampler) -> InstanceSplitter:
        return InstanceSplitter(
            target_field=FieldName.TARGET,
            is_pad_field=FieldName.IS_PAD,
            start_field=FieldName.START,
            forecast_start_field=FieldName.FORECAST_START,
            instance_sampler=sampler,
            past_length=self.context_length,
            future_length=self.prediction_length,
            time_series_fields=[FieldName.FEAT_TIME, FieldName.OBSERVED_VALUES],
        )

    def create_training_data_loader(
        self,
        data: Dataset,
        module: Any,  # noqa: ARG002
        shuffle_buffer_length: int | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> Iterable:
        endless: Any = Cyclic(data).stream()  # pyright: ignore[reportArgumentType]
        instances = self._splitter(self.train_sampler).apply(endless, is_train=True)
        return as_stacked_batches(
            instances,
            batch_size=self.batch_size,
            shuffle_buffer_length=shuffle_buffer_length,
            field_names=TRAINING_INPUTS,
            output_type=torch.tensor,
            num_batches_per_epoch=self.num_batches_per_epoch,
        )

    def create_validation_data_loader(self, data: Dataset, module: Any, **kwargs: Any) -> Iterable:  # noqa: ARG002
        instances = self._splitter(self.validation_sampler).apply(data, is_train=True)
        return as_stacked_batches(
            instances, batch_size=self.batch_size, field_names=TRAINING_INPUTS, output_type=torch.tensor
        )

    def create_predictor(self, transformation: Transformation, module: Any) -> SpikingPredictor:
        return SpikingPredictor(
            input_transform=transformation + self._splitter(TestSplitSampler()),
            input_names=PREDICTION_INPUTS,
            prediction_net=module,
            forecast_generator=self.distr_output.forecast_generator,
            batch_size=self.batch_size,
            prediction_length=self.prediction_length,
            device="auto",
        )
