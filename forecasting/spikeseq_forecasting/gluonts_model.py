"""The series model on GluonTS' batches: features, item embedding, scaling, and GluonTS' distributions."""

# No `from __future__ import annotations`: GluonTS' `validated` reads annotations as objects.
from typing import Any

import torch
from gluonts.core.component import validated
from gluonts.model import Input, InputSpec
from gluonts.torch.distributions import NegativeBinomialOutput, Output, QuantileOutput, StudentTOutput
from gluonts.torch.modules.feature import FeatureEmbedder
from torch import Tensor, nn

from .distributions import Arguments, Distribution, NegativeBinomial, Quantiles, StudentT
from .features import Framing
from .series_model import Memory, Seen, SeriesModel

SCALINGS = ("std", "mean", None)
LOSS_STEPS = 64  # of each training window; the forecasts of more would cost much and add little
FLOOR = 1e-3  # of a step's deviation, in mean sizes of the values

Outputs = tuple[Arguments, Tensor, Tensor]  # as `distr_output.distribution` takes them


class SelfScaledModel(SeriesModel):
    """A series model that needs no unit: each step is scaled by the values it looks back on, so the scale streams too.

    scaling: "std", their deviation; "mean", their mean size; None, 1.
    """

    def __init__(self, framing: Framing, calendar: int, scaling: str | None, **options: Any) -> None:
        super().__init__(framing, calendar, **options)
        self.scaling = scaling

    def scale(self, seen: Seen) -> Tensor:
        size = seen.window.abs().mean(-1)
        if self.scaling is None:
            return torch.ones_like(size)
        unit = size if self.scaling == "mean" else self.framing.scale_of(seen.window, FLOOR * size)
        return torch.where(unit > 0, unit, 1.0)


class SpikingModel(nn.Module):
    """GluonTS' module: past and known future features -> parameters of the distribution of the next values.

    forward gives (arguments, loc, scale): arguments [batch, prediction length, ...], loc and scale [batch, 1]. Targets
    are [batch, time]; a step is missing where it was not observed. Leading missing steps, such as GluonTS' padding, are
    as if they were not there. Static features and embeddings join the features of each step.
    """

    @validated()
    def __init__(
        self,
        prediction_length: int,
        context_length: int,
        distr_output: Output,
        season: int,
        lags: int,
        drift: bool,
        scaling: str | None,
        num_time_feat: int,
        num_feat_static_real: int,
        cardinality: list[int],
        embedding_dimension: list[int],
        width: int,
        depth: int,
        neuron: str,
        neuron_options: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        self.context_length, self.distr_output = context_length, distr_output
        self.num_time_feat, self.num_feat_static_real = num_time_feat, num_feat_static_real
        self.cardinality = cardinality
        self.embedder = FeatureEmbedder(cardinality, embedding_dimension)
        self.series = SelfScaledModel(
            Framing(prediction_length, season, lags, drift),
            num_time_feat + num_feat_static_real + sum(embedding_dimension),
            scaling,
            distribution=family(distr_output),
            width=width,
            depth=depth,
            neuron=neuron,
            neuron_options=neuron_options,
        )

    def describe_inputs(self, batch_size: int = 1) -> InputSpec:
        def steps(count: int, *more: int) -> Input:
            return Input((batch_size, count, *more), torch.float)

        return InputSpec(
            {
                "feat_static_cat": Input((batch_size, len(self.cardinality)), torch.long),
                "feat_static_real": steps(self.num_feat_static_real),
                "past_time_feat": steps(self.context_length, self.num_time_feat),
                "past_target": steps(self.context_length),
                "past_observed_values": steps(self.context_length),
                "future_time_feat": steps(self.series.framing.horizon, self.num_time_feat),
            },
            zeros_fn=torch.zeros,
        )

    def forward(
        self,
        feat_static_cat: Tensor,
        feat_static_real: Tensor,
        past_time_feat: Tensor,
        past_target: Tensor,
        past_observed_values: Tensor,
        future_time_feat: Tensor,
    ) -> Outputs:
        features = self.features(torch.cat((past_time_feat, future_time_feat), 1), feat_static_cat, feat_static_real)
        return self.advance(as_missing(past_target, past_observed_values), features, None)[0]

    def advance(self, values: Tensor, features: Tensor, memory: Memory | None) -> tuple[Outputs, Memory]:
        """What `forward` gives after values [batch, time], NaN where missing, on top of what is remembered.

        features: [batch, time + prediction length, features] from `features`.
        """
        if values.isinf().any():
            raise ValueError("expected finite or missing (NaN) values, got infinite ones")
        past, ahead, none = features[:, : values.shape[1]], features[:, values.shape[1] :], features[..., :0]
        memory = self.series.advance(values, past, none[:, : values.shape[1]], memory)
        arguments, scale = self.series.forecast(memory, ahead, none[:, values.shape[1] :])
        return (to_gluonts(arguments, self.distr_output), torch.zeros_like(scale), scale), memory

    def loss(
        self,
        feat_static_cat: Tensor,
        feat_static_real: Tensor,
        past_time_feat: Tensor,
        past_target: Tensor,
        past_observed_values: Tensor,
        future_time_feat: Tensor,
        future_target: Tensor,
        future_observed_values: Tensor,
    ) -> Tensor:
        """Mean loss, in scaled units, of the forecasts at up to LOSS_STEPS steps spread over the window."""
        series, length = self.series, past_target.shape[1]
        features = self.features(torch.cat((past_time_feat, future_time_feat), 1), feat_static_cat, feat_static_real)
        seen = series.look(as_missing(past_target, past_observed_values))
        chosen = torch.linspace(0, length - 1, min(LOSS_STEPS, length), device=features.device).round().long()
        steps = chosen.expand(len(features), -1)
        then = chosen[:, None] + torch.arange(1, series.framing.horizon + 1, device=features.device)
        target = torch.cat((past_target, future_target), 1)[:, then]
        observed = torch.cat((past_observed_values, future_observed_values), 1)[:, then] > 0
        none = features[..., :0]
        return series.loss(
            {
                "x": series.inputs(seen, features[:, :length], none[:, :length]),
                "starts": seen.age == 1,
                "chosen": chosen,
                "seen": tuple(part[:, chosen] for part in seen),
                "known": series.known(steps, features, none),
                "target": target,
                "wanted": observed & (seen.age[:, chosen, None] > 0),
                "unit": torch.ones_like(target[:, 0, 0]),
            }
        )

    def features(self, time_feat: Tensor, categories: Tensor, reals: Tensor) -> Tensor:
        """What is known of each step: [batch, time, features].

        Raises ValueError for a category that lies outside its cardinality.
        """
        sizes = torch.tensor(self.cardinality, device=categories.device)
        wrong = (categories < 0) | (categories >= sizes)
        if wrong.any():
            row, feature = (int(i) for i in wrong.nonzero()[0])
            raise ValueError(
                f"feat_static_cat: expected categories 0..{self.cardinality[feature] - 1} of feature {feature}, got "
                f"{int(categories[row, feature])}; an item unseen in training has no embedding"
            )
        static = torch.cat((self.embedder(categories), reals), dim=-1)
        return torch.cat((time_feat, static[:, None].expand(-1, time_feat.shape[1], -1)), dim=-1)


def as_missing(target: Tensor, observed: Tensor) -> Tensor:
    """NaN where not observed."""
    return target.masked_fill(observed == 0, torch.nan)


def is_count(output: Output) -> bool:
    return isinstance(output, NegativeBinomialOutput)


def family(output: Output) -> Distribution:
    """The distribution of this package that GluonTS' output stands for; TypeError for one that has none."""
    if isinstance(output, StudentTOutput):
        return StudentT()
    if isinstance(output, NegativeBinomialOutput):
        return NegativeBinomial()
    if isinstance(output, QuantileOutput):
        return Quantiles(tuple(output.quantiles))
    raise TypeError(
        "distr_output: expected StudentTOutput, NegativeBinomialOutput or QuantileOutput of gluonts.torch, got "
        f"{type(output).__name__}"
    )


def to_gluonts(arguments: Arguments, output: Output) -> Arguments:
    """Our arguments in the order and form of GluonTS' distributions."""
    if isinstance(output, StudentTOutput):
        location, spread, freedom = arguments
        return freedom, location, spread
    if is_count(output):
        mean, dispersion = arguments
        return 1 / dispersion, (mean * dispersion).log()
    return arguments
