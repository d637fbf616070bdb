"""The model behind the classifier and the regressor, and how it is fitted."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from spikeseq.blocks import Padding, SpatialNeuron
from spikeseq.neurons import Neuron

from .bank import ConvolutionBank, differences
from .panel import Panel, channel_means, read_panel
from .training import fit_quietly, resolve_device, seeded
from .trunk import ResidualTask, Trunk, class_loss, value_loss

ALPHAS = np.logspace(-3, 5, 17)
TRUNK_FROM = 50  # instances; of fewer, the held-out part says nothing
SIGMAS = 2.0  # standard errors by which the trunk must better the held-out loss: it is the best of many epochs


class PanelModel(nn.Module):
    """out = temperature * Linear(rates of the convolution bank) + trunk: see `SpikingClassifier`.

    `fit_panel_model` makes one. x is the centred panel divided by the training set's deviation, channel by channel;
    the trunk sees x, its differences, and, where values were missing in training, a mask of the observed ones.
    """

    scale: Tensor

    def __init__(self, bank: ConvolutionBank, centre: np.ndarray, scale: Tensor, masked: bool) -> None:
        super().__init__()
        self.bank, self.centre, self.masked = bank, centre, masked
        self.register_buffer("scale", scale)
        self.readout: nn.Linear | None = None
        self.trunk: Trunk | None = None

    def read(self, X: Any) -> Panel:
        return read_panel(X, channels=len(self.centre), centre=self.centre)

    def rates(self, panel: Panel) -> Tensor:
        return self.bank(panel.values / self.scale, panel.lengths).double()

    def trunk_inputs(self, panel: Panel) -> Tensor:
        x = panel.values / self.scale
        parts = [x, differences(x, panel.lengths)]
        return torch.cat([*parts, panel.observed.to(x.dtype)] if self.masked else parts, -1)

    def forward(self, panel: Panel) -> Tensor:
        assert self.readout is not None
        out = self.readout(self.rates(panel))
        return out if self.trunk is None else out + self.trunk(self.trunk_inputs(panel), panel.lengths)

    @torch.no_grad()
    def predict(self, X: Any, device: torch.device, rows: int = 256) -> np.ndarray:
        """[instances, outputs]; the model itself stays where it is, on the CPU."""
        panel, model = self.read(X), copy.deepcopy(self).to(device) if device.type != "cpu" else self
        parts = [panel.rows(slice(i, i + rows)) for i in range(0, len(panel.lengths), rows)]
        return torch.cat([model(Panel(*(t.to(device) for t in part))).cpu() for part in parts]).double().numpy()

    @torch.no_grad()
    def firing_rates(self, X: Any) -> dict[str, float]:
        """Spikes a neuron and step on the panel: of the bank, and of the trunk's layers where there is a trunk."""
        panel = self.read(X)
        found = {"bank": float(self.rates(panel).mean())}
        if self.trunk is not None:
            lengths = self.trunk.lengths(panel.lengths)

            def note(name: str) -> Callable[..., None]:
                def hook(_layer: nn.Module, _inputs: Any, output: Any) -> None:
                    spikes = output[0] if isinstance(output, tuple) else output
                    found[name] = float(spikes[Padding(lengths, spikes.shape[1]).mask].mean())

                return hook

            with ExitStack() as hooks:
                for name, layer in self.trunk.named_modules():
                    if isinstance(layer, (Neuron, SpatialNeuron)):
                        hooks.callback(layer.register_forward_hook(note(name)).remove)
                self.trunk(self.trunk_inputs(panel), panel.lengths)
        return found


def fit_panel_model(
    X: Any,
    y: Tensor,
    weight: Tensor,
    *,
    classes: int | None,
    features: int,
    width: int,
    depth: int,
    dropout: float,
    max_epochs: int,
    patience: int | None,
    validation_fraction: float,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    device: str | torch.device,
    random_state: int | np.random.RandomState | None,
    verbose: bool,
    trainer_options: dict[str, Any] | None,
) -> PanelModel:
    """y: int64 [instances] below `classes`, or, with classes None, float64 [instances, outputs]; weight: [instances].

    The bank's thresholds come from the data; its readout is a ridge regression, its strength by leave-one-out. The
    left-out predictions, which are honest, set the temperature, and are the offset on which the trunk is trained.
    """
    resolve_device(device)
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction: expected a share between 0 and 1, got {validation_fraction}")
    with seeded(random_state) as seed:
        centre = channel_means(X)
        panel = read_panel(X, centre=centre)
        valid = Padding(panel.lengths, panel.values.shape[1]).mask
        scale = _deviation(panel.values[valid])
        masked = not bool(panel.observed[valid].all())
        bank = ConvolutionBank(features).fit(panel.values / scale, panel.lengths)
        model = PanelModel(bank, centre, scale, masked)
        left_out = _fit_readout(model, model.rates(panel), y, weight, classes)
        inputs = model.trunk_inputs(panel)
        trunk = Trunk(
            inputs.shape[-1], left_out.shape[1], width=width, depth=depth, dropout=dropout, time=inputs.shape[1]
        )
    if len(y) < TRUNK_FROM or max_epochs == 0:
        return model.eval()
    loss = value_loss if classes is None else class_loss
    data = TensorDataset(inputs, panel.lengths, left_out, y, weight)
    held_in, held_out = _split(y, classes, validation_fraction, seed)
    train = Subset(data, held_in)
    fit_quietly(
        ResidualTask(trunk, loss, learning_rate, weight_decay),
        DataLoader(train, batch_size, shuffle=True, drop_last=len(train) > batch_size),
        DataLoader(Subset(data, held_out), len(held_out)),
        max_epochs=max_epochs, patience=patience, device=device, random_state=seed, verbose=verbose,
        trainer_options={"gradient_clip_val": 1.0} | (trainer_options or {}),
    )  # fmt: skip
    x, lengths, offset, target, weight = data[held_out]
    with torch.no_grad():
        gain = (loss(offset, target) - loss(offset + trunk(x, lengths), target)) * weight
    if gain.mean() > SIGMAS * gain.std() / math.sqrt(len(gain)):
        model.trunk = trunk
    return model.eval()


def _fit_readout(model: PanelModel, rates: Tensor, y: Tensor, weight: Tensor, classes: int | None) -> Tensor:
    """Sets the readout and gives the left-out prediction of each instance, [instances, outputs]."""
    mean, deviation = rates.mean(0), _deviation(rates)
    target = y if classes is None else 2.0 * F.one_hot(y, classes).double() - 1
    ridge = RidgeCV(ALPHAS, scoring="neg_mean_squared_error", store_cv_results=True)
    ridge.fit(((rates - mean) / deviation).numpy(), target.numpy(), weight.numpy())
    left_out = torch.from_numpy(ridge.cv_results_[..., np.flatnonzero(ridge.alpha_ == ALPHAS)[0]]).view_as(target)
    temperature = 1.0 if classes is None else _temperature(left_out, y, weight, classes)
    coefficients = torch.from_numpy(ridge.coef_).view(target.shape[1], -1) / deviation
    model.readout = nn.Linear(coefficients.shape[1], coefficients.shape[0], dtype=torch.float64).requires_grad_(False)
    model.readout.weight.copy_(temperature * coefficients)
    model.readout.bias.copy_(temperature * (torch.as_tensor(ridge.intercept_) - coefficients @ mean))
    return temperature * left_out


def _temperature(scores: Tensor, y: Tensor, weight: Tensor, classes: int) -> float:
    """The factor that makes softmax(factor * scores) fit best, with Platt's smoothed targets instead of 0 and 1."""
    smoothing = classes / (len(y) + classes)
    smooth = F.one_hot(y, classes) * (1 - smoothing) + smoothing / classes

    def loss(log_factor: float) -> float:
        return float(-((math.exp(log_factor) * scores).log_softmax(-1) * smooth).sum(-1) @ weight)

    return math.exp(minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x)


def _split(y: Tensor, classes: int | None, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Positions to train on and to validate on; each class has its share where there are enough of each."""
    size = max(1, round(fraction * len(y)))
    even = classes is not None and bool((torch.bincount(y) > 1).all()) and min(size, len(y) - size) >= classes
    train, val = train_test_split(range(len(y)), test_size=size, random_state=seed, stratify=y if even else None)
    return list(train), list(val)


def _deviation(x: Tensor) -> Tensor:
    """Standard deviation over the first axis, 1 where a column is constant."""
    deviation = x.std(0, unbiased=False)
    return torch.where(deviation > 0, deviation, 1.0)
