"""The public operations that are linear: checked at the door, served by the chosen backend.

Every operation takes `x` [batch, time, width], an optional `state` from the call before and an optional bool `starts`
[batch, time] (True: step t begins a new episode with a fresh state), and returns the output and the state to carry on
with; gradients flow through both. float32, float64, bfloat16 and float16 inputs; the state is float32 or wider, the
output has the input's dtype. NaN and infinity raise ValueError on a CPU. Units: time in steps.
"""

from __future__ import annotations

from torch import Tensor

from . import checks
from .dispatch import Request, choose, widened
from .opaque import opaque


def _membrane_and_state(x: Tensor, decay: Tensor, **_: Tensor | None) -> tuple[Tensor, ...]:
    batch, time, width = x.shape
    real = checks.compute_dtype(x)
    turning = x.is_complex() or decay.is_complex()
    state = checks.complex_of(real) if turning else real
    membrane = x.new_empty((batch, time, width), dtype=state if turning else x.dtype)
    return membrane, x.new_empty((batch, width), dtype=state)


def _values_and_history(x: Tensor, weight: Tensor, **_: Tensor | None) -> tuple[Tensor, ...]:
    batch, time, width = x.shape
    history = x.new_empty((batch, weight.shape[1] - 1, width), dtype=checks.compute_dtype(x))
    return x.new_empty((batch, time, width)), history


@opaque(_membrane_and_state)
def linear_scan(
    x: Tensor, decay: Tensor | complex, state: Tensor | None = None, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`z_t = decay_t * z_{t-1} + x_t`: the leaky integrator, real or complex.

    x: [batch, time, width], real or complex. decay: scalar, [width] or [batch, time, width], real or complex.
    state: [batch, width], complex where decay is. Returns membrane [batch, time, width] and state [batch, width].
    """
    checks.sequence("linear_scan", x, allow_complex=True)
    real = checks.compute_dtype(x)
    if not isinstance(decay, Tensor):
        turns = x.is_complex() or isinstance(decay, complex)
        decay = checks.number("linear_scan", "decay", decay, checks.complex_of(real) if turns else real, x.device)
    if x.is_complex() and not decay.is_complex():
        decay = decay.to(checks.complex_of(real))
    dtype = checks.complex_of(real) if decay.is_complex() else real
    if decay.ndim == 3:
        if decay.shape != x.shape or decay.device != x.device:
            raise ValueError(
                f"linear_scan: expected a time-varying decay like x {checks.shape_of(x)}, got {checks.shape_of(decay)}"
            )
        decay = decay.to(dtype)
    else:
        decay = checks.per_channel("linear_scan", "decay", decay, x, dtype)
    begin = checks.state_like("linear_scan", state, (x.shape[0], x.shape[2]), x, dtype)
    starts = checks.start_mask("linear_scan", starts, x)
    run = choose(Request("linear_scan", x.device, real, starts=starts is not None, varying=decay.ndim == 3,
                         complex_state=dtype.is_complex))  # fmt: skip
    values = x.to(dtype) if x.is_complex() else widened(run, x, real)
    membrane, end = run.linear_scan(values, decay, begin, starts)
    checks.finite_run("linear_scan", end, x=x, decay=decay, state=begin)
    return membrane if dtype.is_complex else checks.narrowed("linear_scan", membrane, x.dtype), end


@opaque(_values_and_history)
def sliding(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | float | None = None,
    state: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Causal depthwise convolution, `y_t = bias + sum_{j<k} weight[:, j] * x_{t-j}`, over the last k inputs.

    x: [batch, time, width]; weight: [width, k], lag 0 first; bias: None, scalar or [width]. state:
    [batch, k-1, width], the last k-1 inputs, oldest first, zeros at the beginning and after a start.
    """
    checks.sequence("sliding", x)
    checks.lag_weights("sliding", weight, x)
    dtype = checks.compute_dtype(x)
    offset = checks.per_channel("sliding", "bias", 0.0 if bias is None else bias, x, dtype)
    begin = checks.state_like("sliding", state, (x.shape[0], weight.shape[1] - 1, x.shape[2]), x, dtype)
    starts = checks.start_mask("sliding", starts, x)
    run = choose(Request("sliding", x.device, dtype, starts=starts is not None))
    for name, value in (("x", x), ("weight", weight), ("bias", offset), ("state", begin)):
        checks.finite("sliding", name, value)  # a convolution forgets: its state does not answer for what came in
    y, end = run.sliding(widened(run, x, dtype), weight.to(dtype), offset, begin, starts)
    return checks.narrowed("sliding", y, x.dtype), end
