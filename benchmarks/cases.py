"""What is measured: each case is one operation or neuron, each method one way to compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

import spikeseq
from benchmarks import modules, peers

DECAY = 0.9  # of LIF, in every library


class Shape(NamedTuple):
    """[batch, time, width] of the input, float32."""

    batch: int
    time: int
    width: int

    @property
    def elements(self) -> int:
        return self.batch * self.time * self.width

    def __str__(self) -> str:
        return f"batch {self.batch}, width {self.width}, T = {self.time}"


Build = Callable[[Shape], nn.Module]


def _streams(shape: Shape) -> int:
    return 25 * 4 * shape.elements


def _streams_and_matrix(shape: Shape) -> int:
    """PSN: the matrix, its initial draw or copy, and its gradient."""
    return _streams(shape) + 3 * 4 * shape.time**2


@dataclass(frozen=True)
class Method:
    """One way to compute a case.

    build: a module with `(output, state) = module(x)`. backend: of spikeseq, while the module runs. time_first: x is
    wanted as [time, batch, width]. bytes_needed: a generous guess at the memory of forward and backward. foreign: the
    module and its weights are a peer's. twin: builds the module of spikeseq that should give the same; None where the
    method is its own definition, or where a peer's weights cannot be ours.
    """

    name: str
    build: Build
    backend: str = "auto"
    time_first: bool = False
    bytes_needed: Callable[[Shape], int] = _streams
    foreign: bool = False
    twin: Build | None = None


@dataclass(frozen=True)
class Case:
    """scale: standard deviation of the input, chosen so that neurons fire. forward_bytes, both_bytes: bytes an element
    that must cross the memory bus, x and the output once forward, x and two gradients once backward. output: its dtype.
    """

    name: str
    methods: tuple[Method, ...]
    scale: float = 1.0
    forward_bytes: int = 8
    both_bytes: int = 8 + 12
    output: torch.dtype = torch.float32


def _ours(build: Build, *backends: str) -> tuple[Method, ...]:
    return tuple(Method(name, build, backend=name) for name in backends)


def _lif(shape: Shape) -> nn.Module:
    return spikeseq.LIF(shape.width, DECAY)


def _spikingjelly_lif(_: Shape) -> nn.Module:
    return peers.spikingjelly_lif(DECAY)


def _snntorch_lif(_: Shape) -> nn.Module:
    return peers.SnnTorchLIF(DECAY)


def _snntorch_twin(shape: Shape) -> nn.Module:
    return spikeseq.LIF(shape.width, DECAY, rho=1 / DECAY, strict=True)


def _norse_lif(_: Shape) -> nn.Module:
    return peers.NorseLIF(DECAY)


def _norse_twin(shape: Shape) -> nn.Module:
    return spikeseq.LIF(shape.width, DECAY, strict=True)


def _sinabs_lif(_: Shape) -> nn.Module:
    return peers.SinabsLIF(DECAY)


def _sliding(shape: Shape) -> nn.Module:
    return modules.Sliding(shape.width)


def _complex_scan(shape: Shape) -> nn.Module:
    return modules.ComplexScan(shape.width)


ALL = ("native", "torch", "fft", "reference")
NO_FFT = ("native", "torch", "reference")
_LIF = (
    *_ours(_lif, *ALL),
    Method("spikingjelly", _spikingjelly_lif, time_first=True, foreign=True, twin=_lif),
    Method("snntorch", _snntorch_lif, foreign=True, twin=_snntorch_twin),
    Method("norse", _norse_lif, foreign=True, twin=_norse_twin),
    Method("sinabs", _sinabs_lif, foreign=True, twin=_lif),
)
_PSN = (
    Method("gemm", lambda s: spikeseq.PSN(s.width, steps=s.time), bytes_needed=_streams_and_matrix),
    Method(
        "spikingjelly",
        lambda s: peers.spikingjelly_psn(s.time),
        time_first=True,
        foreign=True,
        bytes_needed=_streams_and_matrix,
    ),
)
CASES = {
    case.name: case
    for case in (
        Case("LIF", _LIF),
        Case("PRF", _ours(lambda s: spikeseq.PRF(s.width), *ALL), scale=10.0),
        Case("DSN", _ours(lambda s: spikeseq.DSN(s.width), *NO_FFT), scale=2.0),
        Case("dsn_op", _ours(lambda s: modules.Gated(*s), *NO_FFT), scale=2.0, forward_bytes=12, both_bytes=12 + 20),
        Case("linear_scan", _ours(lambda s: modules.Scan(s.width), *ALL)),
        Case(
            "complex_scan",
            (*_ours(_complex_scan, *ALL), Method("s5", lambda s: modules.S5Scan(s.width), twin=_complex_scan)),
            forward_bytes=12, both_bytes=12 + 16, output=torch.complex64,
        ),
        Case("sliding", (
            *_ours(_sliding, *NO_FFT),
            Method("conv1d", lambda s: modules.SlidingConv1d(s.width), twin=_sliding),
        )),
        Case("PSN", _PSN),
        Case("SlidingPSN", (
            *_ours(lambda s: spikeseq.SlidingPSN(s.width), *NO_FFT),
            Method("conv1d", lambda s: modules.PSNConv1d(s.width)),
        )),
    )
}  # fmt: skip


def absent(method: Method) -> str | None:
    """Why the method cannot run here, or None."""
    if method.backend in ALL:
        reason = spikeseq.backends()[method.backend]
        return None if reason is None else f"backend {method.backend} is not here: {reason}"
    return peers.missing(method.name)
