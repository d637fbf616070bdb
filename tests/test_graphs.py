"""Training passes as CUDA graphs: what they refuse, what recording leaves as it was, the same numbers on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from spikeseq.blocks import PairClassifier, SequenceClassifier
from spikeseq.graphs import CUDAGraphs, record, release
from spikeseq.tasks.digits import Digits
from spikeseq.training import SequenceTask


def small(**options: Any) -> SequenceClassifier:
    torch.manual_seed(1)
    return SequenceClassifier(inputs=1, classes=10, width=8, depth=2, neuron="PRF", dropout=0.1, **options)


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def stand_in(model: nn.Module, args: tuple[Tensor, ...], **options: Any) -> None:  # noqa: ARG001
    """As `torch.cuda.make_graphed_callables`: runs the model, then takes its forward's place."""
    own = model.forward
    for _ in range(3):
        own(*args)
    model.forward = lambda *given: own(*given) + 0.0  # type: ignore[method-assign]


def test_recording_changes_nothing_but_the_way_and_is_undone() -> None:
    model, x = small(), torch.rand(4, 64, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record(model, x, stand_in)
    assert "forward" in vars(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.eval()(x).shape == (4, 10)
    release(model)
    assert "forward" not in vars(model)


def test_a_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CUDAGraphs: expected a CUDA device, got cpu"):
        trainer(tmp_path, accelerator="cpu", callbacks=[CUDAGraphs()]).fit(SequenceTask(small()), Digits())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.zeros(3, 5, 1), torch.tensor([5, 4, 3]), torch.zeros(3)), "of one tensor, got lengths"),
        ((torch.zeros(1, 64, 1), torch.zeros(1)), r"every batch as \[4, 64, 1\], got \[1, 64, 1\]"),
    ],
)
def test_batches_of_other_shapes_are_refused(
    batch: tuple[Tensor, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, task = recording(monkeypatch)
    with pytest.raises(ValueError, match=message):
        callback.on_train_batch_start(ANY, task, batch, 1)


def recording(monkeypatch: pytest.MonkeyPatch) -> tuple[CUDAGraphs, SequenceTask]:
    callback, task = CUDAGraphs(), SequenceTask(small())
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", stand_in)
    callback.on_train_batch_start(ANY, task, (torch.rand(4, 64, 1), torch.zeros(4)), 0)
    return callback, task


def test_gradients_that_a_replay_would_overwrite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    callback, task = recording(monkeypatch)
    callback.on_before_backward(ANY, task, torch.zeros(()))
    task.model.encoder.bias.grad = torch.zeros(8)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="one batch a step and zero_grad to set None"):
        callback.on_before_backward(ANY, task, torch.zeros(()))


def test_other_trained_parameters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    callback, task = recording(monkeypatch)
    task.model.encoder.requires_grad_(False)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="trained parameters as on the first batch"):
        callback.on_train_batch_start(ANY, task, (torch.rand(4, 64, 1), torch.zeros(4)), 1)


def test_only_what_was_recorded_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    callback, task = recording(monkeypatch)
    callback.on_exception(ANY, LightningModule(), KeyError())
    assert "forward" not in vars(task.model)
    CUDAGraphs().on_exception(ANY, LightningModule(), KeyError())
    compiled = torch.compile(small(), backend="eager")
    with pytest.raises(ValueError, match="got a compiled or recorded one"):
        record(compiled, torch.rand(4, 64, 1), stand_in)  # pyright: ignore[reportArgumentType]


def test_pairs_have_lengths_too() -> None:
    task = SequenceTask(PairClassifier(inputs=1, classes=2, width=8, depth=1))
    batch = (torch.rand(2, 2, 5, 1), torch.full((2, 2), 5), torch.zeros(2))
    with pytest.raises(ValueError, match="got lengths"):
        CUDAGraphs().on_train_batch_start(ANY, task, batch, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_gives_the_same_weights(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [CUDAGraphs()]):
        seed_everything(0)
        task = SequenceTask(small())
        trainer(tmp_path, accelerator="cuda", devices=1, callbacks=callbacks).fit(task, Digits())
        assert "forward" not in vars(task.model)
        weights.append({name: value.cpu() for name, value in task.model.state_dict().items()})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, msg=lambda text, name=name: f"{name}: {text}")
