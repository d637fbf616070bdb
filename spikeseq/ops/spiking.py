"""The public operations that spike; the conventions are those of `linear.py`."""

from __future__ import annotations

from torch import Tensor

from . import checks, native
from .dispatch import Request, choose, native_wanted, widened
from .opaque import opaque, unwatched
from .surrogate import Surrogate, atan, integer

OUTPUTS = ("spikes", "membrane")


def _spikes_and_state(x: Tensor, complex_state: bool = False, lags: int | None = None) -> tuple[Tensor, ...]:
    """Unfilled outputs: spikes like `x`, the end state [batch, width], and the last inputs where `lags` are kept."""
    batch, time, width = x.shape
    dtype = checks.compute_dtype(x)
    end = x.new_empty((batch, width), dtype=checks.complex_of(dtype) if complex_state else dtype)
    history = () if lags is None else (x.new_empty((batch, lags - 1, width), dtype=dtype),)
    return x.new_empty((batch, time, width)), end, *history


@opaque(lambda membrane, **_: (membrane.new_empty(membrane.shape),))
def spike(
    membrane: Tensor, threshold: Tensor | float = 1.0, surrogate: Surrogate = atan(), strict: bool = False
) -> Tensor:
    """`s = H(u - V)` forward (`u > V` if `strict`), the surrogate's derivative backward; integers for `integer(N)`.

    `membrane` may have any shape; `threshold` broadcasts against it.
    """
    if isinstance(membrane, Tensor) and isinstance(threshold, float) and unwatched() and native_wanted():
        spikes = native.spike_few(membrane, threshold, surrogate, strict)
        if spikes is not None:
            return spikes
    if not isinstance(membrane, Tensor) or membrane.dtype not in checks.FLOATING or membrane.numel() == 0:
        raise TypeError(f"spike: expected a floating, non-empty membrane, got {checks.shape_of(membrane)}")
    dtype = checks.compute_dtype(membrane)
    checks.countable("spike", surrogate.levels, membrane.dtype)
    if isinstance(threshold, (int, float)):
        checks.reachable("spike", threshold, surrogate.levels)
    if not isinstance(threshold, Tensor):
        threshold = checks.number("spike", "threshold", threshold, dtype, membrane.device)
    checks.reachable("spike", threshold, surrogate.levels)
    threshold = threshold.to(device=membrane.device, dtype=dtype)
    by_channel = membrane.ndim > 0 and threshold.shape in ((), (1,), membrane.shape[-1:])
    run = choose(Request("spike", membrane.device, dtype, by_channel=by_channel))
    spikes, witness = run.spike(widened(run, membrane, dtype), threshold, surrogate, strict)
    checks.finite_run("spike", witness, membrane=membrane)
    return spikes.to(membrane.dtype)


@opaque(lambda x, **_: _spikes_and_state(x))
def lif(
    x: Tensor,
    decay: Tensor | float,
    threshold: Tensor | float = 1.0,
    state: Tensor | None = None,
    starts: Tensor | None = None,
    *,
    reset: str = "soft",
    rho: Tensor | float | None = None,
    strict: bool = False,
    surrogate: Surrogate = atan(),
    output: str = "spikes",
    detach_reset: bool = True,
) -> tuple[Tensor, Tensor]:
    """Leaky integrate-and-fire with its true reset, in parallel over batch and width, one pass over time.

        u_t = decay * v_{t-1} + x_t;   s_t = H(u_t - threshold)
        v_t = u_t - rho * s_t  (soft)  |  u_t * (1 - s_t)  (hard)  |  u_t  (none)

    x: [batch, time, width]; decay, threshold, rho: scalar or [width]; rho None means threshold; `strict` fires at
    `u > threshold`. state: [batch, width], v, the membrane after the reset. `output`: "spikes", or "membrane" for u
    (before the reset). The reset is detached, which gives the same gradient as the decoupled reset of arXiv
    2410.03530 (Algorithm 2), and equals its spikes; `detach_reset=False` (backend "reference" only) differentiates
    through the reset. Gradients for x, decay, threshold (through the firing condition) and state; rho is a constant.
    """
    checks.sequence("lif", x)
    checks.choice("lif", "reset", reset, ("soft", "hard", "none"))
    checks.choice("lif", "output", output, OUTPUTS)
    checks.countable("lif", surrogate.levels, x.dtype)
    if reset == "hard" and surrogate.levels not in (None, 1):
        raise ValueError(f"lif: expected reset 'soft' or 'none' with integer spikes, got 'hard' with {surrogate}")
    dtype = checks.compute_dtype(x)
    decay = checks.per_channel("lif", "decay", decay, x, dtype)
    threshold = checks.firing_threshold("lif", threshold, surrogate.levels, x, dtype)
    amount = threshold if rho is None else checks.per_channel("lif", "rho", rho, x, dtype)
    begin = checks.state_like("lif", state, (x.shape[0], x.shape[2]), x, dtype)
    starts = checks.start_mask("lif", starts, x)
    run = choose(Request("lif", x.device, dtype, reset=reset, detach_reset=detach_reset, starts=starts is not None,
                         levels=surrogate.levels))  # fmt: skip
    amount = amount.detach() if detach_reset else amount
    drive = widened(run, x, dtype)
    out, end = run.lif(drive, decay, threshold, amount, begin, starts, surrogate, reset, strict, output, detach_reset)
    checks.finite_run("lif", end, x=x, decay=decay, threshold=threshold, rho=amount, state=begin)
    return checks.narrowed("lif", out, x.dtype), end


@opaque(lambda x, **_: _spikes_and_state(x, complex_state=True))
def prf(
    x: Tensor,
    decay: Tensor | complex,
    gain: Tensor | float,
    threshold: Tensor | float = 1.0,
    state: Tensor | None = None,
    starts: Tensor | None = None,
    *,
    reset: str = "none",
    rho: Tensor | float | None = None,
    strict: bool = False,
    surrogate: Surrogate = atan(),
    output: str = "spikes",
    detach_reset: bool = True,
) -> tuple[Tensor, Tensor]:
    """The parallel resonate-and-fire neuron (arXiv 2410.03530): a complex membrane that fires on its real part.

        z_t = decay * v_{t-1} + gain * x_t;   s_t = H(Re z_t - threshold)
        v_t = z_t  (none, the paper's neuron)  |  z_t - rho * s_t  (soft)

    x: real [batch, time, width]; decay: complex scalar or [width], exp(dt * (-1/tau + i theta)) in the paper; gain,
    threshold, rho: scalar or [width]. state: complex [batch, width], v. `output`: "spikes", or "membrane" for Re z.
    Gradients for x, decay, gain, threshold and state, with the reset detached as in `lif`.
    """
    checks.sequence("prf", x)
    checks.choice("prf", "reset", reset, ("none", "soft"))
    checks.choice("prf", "output", output, OUTPUTS)
    checks.countable("prf", surrogate.levels, x.dtype)
    dtype = checks.compute_dtype(x)
    wide = checks.complex_of(dtype)
    decay = checks.per_channel("prf", "decay", decay, x, wide)
    gain = checks.per_channel("prf", "gain", gain, x, dtype)
    threshold = checks.firing_threshold("prf", threshold, surrogate.levels, x, dtype)
    amount = threshold if rho is None else checks.per_channel("prf", "rho", rho, x, dtype)
    begin = checks.state_like("prf", state, (x.shape[0], x.shape[2]), x, wide)
    starts = checks.start_mask("prf", starts, x)
    run = choose(Request("prf", x.device, dtype, reset=reset, detach_reset=detach_reset, starts=starts is not None,
                         complex_state=True, levels=surrogate.levels))  # fmt: skip
    amount = amount.detach() if detach_reset else amount
    out, end = run.prf(
        widened(run, x, dtype),
        decay,
        gain,
        threshold,
        amount,
        begin,
        starts,
        surrogate,
        reset,
        strict,
        output,
        detach_reset,
    )
    checks.finite_run("prf", end, x=x, decay=decay, gain=gain, threshold=threshold, rho=amount, state=begin)
    return checks.narrowed("prf", out, x.dtype), end


@opaque(lambda x, **_: _spikes_and_state(x))
def dsn(
    x: Tensor,
    gate: Tensor,
    tau: float = 0.25,
    threshold: Tensor | float = 1.0,
    state: Tensor | None = None,
    starts: Tensor | None = None,
    *,
    surrogate: Surrogate = integer(),
    strict: bool = False,
    output: str = "spikes",
) -> tuple[Tensor, Tensor]:
    """The dynamic-decay spiking neuron (arXiv 2602.01133): the input decides how fast the membrane forgets.

        alpha_t = sigmoid(gate_t)^(1/tau);   u_t = alpha_t u_{t-1} + (1 - alpha_t) x_t;   s_t = fire(u_t)

    x, gate: [batch, time, width]; tau > 0 in steps (gate = 0: the half-life); threshold: scalar or [width]. No reset,
    and |u_t| <= max(|u_0|, max|x|) always. `surrogate` integer(N) fires round(clip(u / threshold, 0, N)), any other
    fires H(u - threshold). state: [batch, width], u. Gradients for x, gate, threshold and state.
    """
    checks.sequence("dsn", x)
    checks.choice("dsn", "output", output, OUTPUTS)
    checks.countable("dsn", surrogate.levels, x.dtype)
    checks.time_constant("dsn", tau)
    if not isinstance(gate, Tensor) or gate.shape != x.shape or gate.device != x.device:
        raise ValueError(f"dsn: expected gate like x {checks.shape_of(x)}, got {checks.shape_of(gate)}")
    dtype = checks.compute_dtype(x)
    threshold = checks.firing_threshold("dsn", threshold, surrogate.levels, x, dtype)
    begin = checks.state_like("dsn", state, (x.shape[0], x.shape[2]), x, dtype)
    starts = checks.start_mask("dsn", starts, x)
    run = choose(Request("dsn", x.device, dtype, starts=starts is not None, varying=True, levels=surrogate.levels))
    drive, gates = widened(run, x, dtype), widened(run, gate, dtype)
    out, end = run.dsn(drive, gates, tau, threshold, begin, starts, surrogate, strict, output)
    checks.finite_run("dsn", end, x=x, gate=gate, threshold=threshold, state=begin)
    checks.finite("dsn", "gate", gate)  # infinity opens or shuts a gate for good, and leaves no trace in the state
    return checks.narrowed("dsn", out, x.dtype), end


@opaque(lambda x, weight, **_: _spikes_and_state(x, lags=weight.shape[1]))
def conv_dsn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | float | None = None,
    tau: float = 0.25,
    threshold: Tensor | float = 1.0,
    state: tuple[Tensor, Tensor] | None = None,
    starts: Tensor | None = None,
    *,
    surrogate: Surrogate = integer(),
    strict: bool = False,
    output: str = "spikes",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`dsn` whose gate is `sliding(x, weight, bias)`: the whole neuron of arXiv 2602.01133 in one pass.

    Arguments as for those two. state: (membrane [batch, width], last k-1 inputs [batch, k-1, width]).
    """
    checks.sequence("conv_dsn", x)
    checks.choice("conv_dsn", "output", output, OUTPUTS)
    checks.countable("conv_dsn", surrogate.levels, x.dtype)
    checks.time_constant("conv_dsn", tau)
    checks.lag_weights("conv_dsn", weight, x)
    if state is not None and not (isinstance(state, tuple) and len(state) == 2):
        raise ValueError(f"conv_dsn: expected state as (membrane, history), got {type(state).__name__}")
    dtype = checks.compute_dtype(x)
    offset = checks.per_channel("conv_dsn", "bias", 0.0 if bias is None else bias, x, dtype)
    threshold = checks.firing_threshold("conv_dsn", threshold, surrogate.levels, x, dtype)
    membrane, history = state if state is not None else (None, None)
    membrane = checks.state_like("conv_dsn", membrane, (x.shape[0], x.shape[2]), x, dtype)
    past = checks.state_like("conv_dsn", history, (x.shape[0], weight.shape[1] - 1, x.shape[2]), x, dtype)
    # a gate of infinity gives a decay of 0 or 1, which the final state does not show
    for name, value in (("weight", weight), ("bias", offset), ("history", past)):
        checks.finite("conv_dsn", name, value)
    starts = checks.start_mask("conv_dsn", starts, x)
    run = choose(Request("conv_dsn", x.device, dtype, starts=starts is not None, varying=True, levels=surrogate.levels))
    out, end, history = run.conv_dsn(
        widened(run, x, dtype),
        weight.to(dtype),
        offset,
        threshold,
        membrane,
        past,
        starts,
        tau,
        surrogate,
        strict,
        output,
    )
    checks.finite_run("conv_dsn", end, x=x, weight=weight, bias=offset, state=membrane, history=past)
    return checks.narrowed("conv_dsn", out, x.dtype), (end, history)
