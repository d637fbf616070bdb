"""Training passes as CUDA graphs: one launch from the host where eager training makes hundreds."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from .training import SequenceTask


class CUDAGraphs(Callback):
    """Records forward and backward of the model on the first training batch, and replays them for all others.

    A small network on a GPU waits for the host: a pass of eight blocks is hundreds of kernels of a few microseconds
    each, and starting one takes longer. A replay gives the same numbers. It needs a `SequenceTask` with batches of one
    shape without lengths (MNIST, CIFAR, Pathfinder; not ListOps and Text, whose rows end early), one GPU, precision
    "32-true", one batch a step and parameters that stay frozen or trained; ValueError otherwise. Validation runs as
    ever. While it is recorded a model should not be copied or pickled whole (its `state_dict` may), hooks inside it do
    not run, and the gradients of a step lie where the next step's will.

        Trainer(callbacks=[CUDAGraphs()])        or    --trainer.callbacks+=spikeseq.graphs.CUDAGraphs
    """

    def __init__(self) -> None:
        self._model: nn.Module | None = None  # recorded
        self._like: tuple[Any, ...] = ()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _expect("a SequenceTask", type(pl_module).__name__, isinstance(pl_module, SequenceTask))
        _expect("a CUDA device", str(pl_module.device), pl_module.device.type == "cuda")
        _expect("one device", f"{trainer.world_size}", trainer.world_size == 1)
        _expect('precision "32-true"', f'"{trainer.precision}"', trainer.precision == "32-true")
        _warn_of_streams(False)

    def on_train_batch_start(self, trainer: Trainer, pl_module: SequenceTask, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        x, model = pl_module.model_inputs(batch), pl_module.model
        if not isinstance(x, Tensor):
            raise ValueError("CUDAGraphs: expected batches of one tensor, got lengths with it: their rows end early")
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        if self._model is None:
            record(model, x)
            self._model, self._like = model, (x.shape, trained)
        shape, before = self._like
        _expect(f"every batch as {list(shape)}", f"{list(x.shape)}", x.shape == shape)
        _expect(f"{len(before)} trained parameters as on the first batch", f"{len(trained)}", trained == before)

    def on_before_backward(self, trainer: Trainer, pl_module: SequenceTask, loss: Tensor) -> None:  # noqa: ARG002
        kept = [name for name, parameter in pl_module.model.named_parameters() if parameter.grad is not None]
        # a replay writes its gradients where the last one left its own
        _expect("one batch a step and zero_grad to set None", f"a gradient of {kept[:1]} before a backward", not kept)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self._model is not None:
            release(self._model)
            self._model = None
        _warn_of_streams(True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        self.on_train_end(trainer, pl_module)


def record(model: nn.Module, x: Tensor, capture: Callable[..., Any] | None = None) -> None:
    """Let `model(x)`, in the mode it is in and for this shape, replay a graph. Statistics and random state stay as they
    are, though recording runs the model. `capture`: `torch.cuda.make_graphed_callables`."""
    if "forward" in vars(model):
        raise ValueError("CUDAGraphs: expected a model with its class's forward, got a compiled or recorded one")
    before = [buffer.clone() for buffer in model.buffers()]
    random = torch.cuda.get_rng_state(x.device) if x.is_cuda else None
    (capture or torch.cuda.make_graphed_callables)(model, (x.clone(),), allow_unused_input=True)
    if random is not None:
        torch.cuda.set_rng_state(random, x.device)
    with torch.no_grad():
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)


def release(model: nn.Module) -> None:
    """Undo `record`: the model runs its own forward again."""
    del vars(model)["forward"]


def _warn_of_streams(wanted: bool) -> None:
    """Graphs are recorded on a stream of their own, where gradients then wait for each other; newer torch warns of it,
    once a process."""
    switch = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if switch is not None:
        switch(wanted)


def _expect(wanted: str, came: str, given: bool) -> None:
    if not given:
        raise ValueError(f"CUDAGraphs: expected {wanted}, got {came}")
