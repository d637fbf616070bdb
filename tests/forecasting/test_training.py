"""Quiet training: what it leaves behind (nothing), what it gives back (the best weights), and its randomness."""

import logging
import os
import pickle
import random
import time

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader, TensorDataset

from spikeseq_forecasting.training import fit_quietly, resolve_device, seeded

X = torch.linspace(-1, 1, 48).reshape(24, 2)
Y = X.sum(1, keepdim=True)


class Line(LightningModule):
    def __init__(self, lr: float = 0.05):
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(2, 1)
        self.losses = []
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def training_step(self, batch, batch_idx):  # noqa: ARG002
        x, y = batch
        return (self.layer(torch.nn.functional.dropout(x, 0.2)) - y).square().mean()

    def validation_step(self, batch, batch_idx):  # noqa: ARG002
        x, y = batch
        loss = (self.layer(x) - y).square().mean()
        self.losses.append(loss.item())
        self.log("val_loss", loss)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def batches(shuffle=True):
    return DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=shuffle)


def whole():
    return DataLoader(TensorDataset(X, Y), batch_size=len(X))


def weights(random_state, **options):
    module = Line()
    fit_quietly(module, batches(), max_epochs=3, device="cpu", random_state=random_state, **options)
    return module.layer.weight.detach()


def test_it_learns():
    module = Line()
    fit_quietly(module, batches(), max_epochs=200, device="cpu", random_state=0)
    assert (module.layer(X) - Y).square().mean() < 0.05 * Y.square().mean()
    assert not module.training


def test_random_state_decides_everything():
    assert torch.equal(weights(3), weights(3))
    assert torch.equal(weights(np.random.RandomState(3)), weights(np.random.RandomState(3)))
    assert not torch.equal(weights(3), weights(4))
    assert not torch.equal(weights(None), weights(None))


def test_global_generators_go_on_as_if_nothing_had_been():
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    def seed():
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)

    module = Line()
    seed()
    expected = draw()
    seed()
    fit_quietly(module, batches(), whole(), max_epochs=1, device="cpu", random_state=0)
    assert draw() == expected
    seed()
    with pytest.raises(KeyError), seeded(1):
        raise KeyError
    assert draw() == expected


def test_the_best_epoch_comes_back_and_patience_stops():
    module = Line(lr=1.2)  # too high: the loss grows from some epoch on
    fit_quietly(module, batches(), whole(), max_epochs=50, patience=3, device="cpu", random_state=0)
    assert len(module.losses) == int(np.argmin(module.losses)) + 1 + 3 < 50
    assert (module.layer(X) - Y).square().mean().item() == pytest.approx(min(module.losses))
    assert min(module.losses) < module.losses[-1]


def test_a_fit_that_diverges_or_does_not_log_says_so():
    with pytest.raises(RuntimeError, match="never finite"):
        fit_quietly(Line(lr=float("nan")), batches(), whole(), max_epochs=2, device="cpu")

    class Silent(Line):
        def validation_step(self, batch, batch_idx):
            pass

    with pytest.raises(RuntimeError, match="expected validation_step to log 'val_loss'"):
        fit_quietly(Silent(), batches(), whole(), max_epochs=2, device="cpu")


def test_nothing_is_written_printed_or_kept(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    before, level = dict(os.environ), logging.getLogger("lightning.pytorch").level
    module = Line()
    fit_quietly(module, batches(), whole(), max_epochs=2, patience=1, device="cpu")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert dict(os.environ) == before
    assert logging.getLogger("lightning.pytorch").level == level
    assert module._trainer is None


def test_verbose_shows_a_progress_bar(capfd):
    fit_quietly(Line(), batches(), max_epochs=1, device="cpu", verbose=True)
    assert "Epoch" in "".join(capfd.readouterr())


def test_trainer_options_reach_the_trainer_and_callbacks_join():
    class Count(Callback):
        steps = 0

        def on_train_batch_end(self, *_):
            self.steps += 1

    count, module = Count(), Line()
    fit_quietly(
        module, batches(), whole(), max_epochs=5, device="cpu",
        trainer_options={"callbacks": count, "limit_train_batches": 2, "max_epochs": 3},
    )  # fmt: skip
    assert count.steps == 6
    assert len(module.losses) == 3


def test_the_trainer_costs_little():
    fit_quietly(Line(), batches(), max_epochs=1, device="cpu")
    began = time.process_time()
    fit_quietly(Line(), batches(), whole(), max_epochs=1, device="cpu")
    assert time.process_time() - began < 0.5


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"expected one of .* CUDA devices here, or 'cpu', got 'cuda:99'"):
        resolve_device("cuda:99")
    for wrong in ("gpu", "meta", None, 3):
        with pytest.raises(ValueError, match="expected 'auto', 'cpu', 'cuda' or"):
            resolve_device(wrong)  # pyright: ignore[reportArgumentType]


def test_a_trained_module_pickles():
    module = Line()
    fit_quietly(module, batches(), max_epochs=1, device="cpu")
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again.layer.weight, module.layer.weight)
