"""The contract that every spiking neuron keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module
from torch.utils import _pytree as pytree

from ..ops import Surrogate, atan, integer, rect, sigmoid, triangle
from ..ops.checks import choice, compute_dtype, sequence, shape_of
from ..ops.dispatch import native_wanted
from ..ops.native.step import StepPlan, plain_rows, prepared_step
from ..ops.opaque import unwatched
from ..ops.spiking import OUTPUTS

# what a subclass may say anew without changing what a step computes
OWN = {
    "__module__", "__doc__", "__init__", "__firstlineno__", "__static_attributes__", "__annotations__",
    "__parameters__", "__abstractmethods__", "_abc_impl", "dynamics_cost", "extra_repr",
}  # fmt: skip
State: TypeAlias = Any  # a tensor or a tuple of tensors, each [batch, ...]; never kept inside the module
_BY_NAME: dict[str, Callable[[], Surrogate]] = {"atan": atan, "rect": rect, "sigmoid": sigmoid, "triangle": triangle}


class Neuron(nn.Module, ABC):
    """A layer of `width` spiking neurons on sequences [batch, time, width].

        spikes, state = neuron(x, state=None, starts=None)    all steps at once
        spikes_t, state = neuron.step(x_t, state)             one step, x_t [batch, width]

    Both give the same spikes, states and gradients. `state` is a value that the caller holds: None is a fresh start,
    a state of another batch size is a ValueError. `starts` bool [batch, time] marks steps that begin a new episode.

    levels: None for binary spikes, N for integer spikes 0..N. surrogate: a `Surrogate` or the name of a binary one.
    output: "spikes", or "membrane" for the membrane potential before the reset.
    """

    causal = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        planner = next(base for base in cls.__mro__ if "_step_plan" in base.__dict__)
        before = cls.__mro__[: cls.__mro__.index(planner)]
        if any(base.__dict__.keys() & planner.__dict__.keys() - OWN for base in before):
            cls._step_plan = Neuron._step_plan  # the plan would step as the planner does, not as this class

    def __init__(
        self, width: int, *, levels: int | None = None, surrogate: Surrogate | str | None = None, output: str = "spikes"
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise ValueError(f"{name}: expected width as a whole number >= 1, got {width!r}")
        choice(name, "output", output, OUTPUTS)
        if levels is not None and (not isinstance(levels, int) or levels < 1):
            raise ValueError(
                f"{name}: expected levels as a whole number >= 1, or None for binary spikes, got {levels!r}"
            )
        if levels is not None and surrogate is not None:
            raise ValueError(f"{name}: expected levels or surrogate, got both ({levels}, {surrogate})")
        if isinstance(surrogate, str):
            choice(name, "surrogate", surrogate, tuple(_BY_NAME))
            surrogate = _BY_NAME[surrogate]()
        if surrogate is not None and not isinstance(surrogate, Surrogate):
            raise TypeError(
                f"{name}: expected surrogate as a Surrogate such as ops.atan(), or a name, got {surrogate!r}"
            )
        self.width = width
        self.output = output
        self.surrogate = integer(levels) if levels is not None else surrogate or atan()

    @property
    def levels(self) -> int | None:
        """The largest integer spike, None where spikes are binary."""
        return self.surrogate.levels

    @abstractmethod
    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]: ...

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The fresh state of `batch` sequences, on the device of the module."""

    @abstractmethod
    def dynamics_cost(self) -> dict[str, int]:
        """{"multiplies": ..., "accumulates": ...} of the neuron's own arithmetic, per step, for the whole width."""

    def step(self, x_t: Tensor, state: State = None) -> tuple[Tensor, State]:
        """One time step: x_t [batch, width] -> spikes [batch, width]. The serial form, through the same operations.

        Without gradients (`torch.no_grad`, `torch.inference_mode`) the native kernels take it in a few microseconds.
        """
        if unwatched():
            done = self._prepared_step(x_t, state)
            if done is not None:
                return done
        if not isinstance(x_t, Tensor) or x_t.ndim != 2:
            raise ValueError(f"{type(self).__name__}.step: expected x_t [batch, width], got {shape_of(x_t)}")
        spikes, state = self(x_t.unsqueeze(1), state)
        return spikes.squeeze(1), state

    def _step_plan(self) -> StepPlan | None:
        """How a native kernel takes one step of this neuron with its present parameters; None: it does not."""
        return None

    def _step_settings(self) -> tuple:
        """All that the plan depends on besides the parameters and buffers."""
        return ()

    def _prepared_step(self, x_t: Tensor, state: State) -> tuple[Tensor, State] | None:
        """The step by a native kernel, or None where the operations must serve (and say what is wrong, if it is)."""
        if self._forward_hooks or self._forward_pre_hooks or self._modules or hooked_everywhere():
            return None  # a hook wants to see the step; a parametrization makes a parameter out of others
        if "forward" in self.__dict__ or self.output not in OUTPUTS:
            return None
        shape = x_t.shape if isinstance(x_t, Tensor) else ()
        if len(shape) != 2 or shape[0] == 0 or not plain_rows(x_t, (shape[0], self.width)) or not native_wanted():
            return None
        if state is None:
            state = self.initial_state(shape[0])
        return prepared_step(self, x_t, state) if self._plain_state(state, shape[0]) else None

    def _plain_state(self, state: State, batch: int) -> bool:
        """Whether the kernel can read this state as it lies."""
        return plain_rows(state, (batch, self.width))

    def _check_input(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[-1] != self.width:
            raise ValueError(
                f"{type(self).__name__}: expected x [batch, time, width = {self.width}], got {shape_of(x)}"
            )
        sequence(type(self).__name__, x)

    def _zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros on the module's device; float64 for a float64 module, else float32."""
        tensors = [*self.parameters(), *self.buffers()]
        device = tensors[0].device if tensors else None
        wide = any(t.dtype == torch.float64 for t in tensors)
        real = torch.float64 if wide else torch.float32
        if dtype is not None and dtype.is_complex:
            real = torch.complex128 if wide else torch.complex64
        return torch.zeros(*shape, dtype=real, device=device)

    def _widened(self, x: Tensor) -> Tensor:
        """Arithmetic in front of an operation is done as inside it: in float32 or wider, whatever `x` is stored in."""
        return x.to(compute_dtype(x))

    def extra_repr(self) -> str:
        parts = [str(self.width)]
        if self.levels is not None:
            parts.append(f"levels={self.levels}")
        if self.output != "spikes":
            parts.append(f"output={self.output!r}")
        return ", ".join(parts)


def hooked_everywhere() -> bool:
    """Whether all modules of this process have a forward hook."""
    return bool(module._global_forward_hooks or module._global_forward_pre_hooks)


def detach(state: State) -> State:
    """The same state without its history: carry it across calls without back-propagating through earlier ones."""
    return pytree.tree_map_only(Tensor, Tensor.detach, state)
