"""The papers' own form, kept by name to reproduce and to measure: never chosen by "auto".

The membrane without reset is a convolution, `u'_t = sum_k decay^k x_{t-k}`, done by a zero-padded FFT. The soft reset
of LIF and PRF becomes a moving threshold (arXiv 2410.03530, Algorithm 2; with the leak in the bias, which the paper's
main text drops):

    b_1 = 0;  d_t = V + Re b_t;  s_t = H(Re u'_t - d_t);  b_{t+1} = decay * (b_t + rho * s_t)

The spikes in `b` are detached. `u'` and `d` grow like mean(x) / (1 - decay) and cancel, so float32 loses spikes near
decay = 1 that the fused forms keep; the state handed out is `u'_T - b`, the membrane after reset.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .surrogate import Surrogate, fire


def _powers(decay: Tensor, time: int) -> Tensor:
    """`decay^k` for k = 0..time, [time + 1, width], in double precision: a float32 phase is off by 6e-4 at k = 16k.

    By doubling, `decay^(n + k) = decay^n * decay^k`, which is right for a decay of 0 too (complex `0 ** k` is NaN).
    """
    wide = decay.to(torch.complex128 if decay.is_complex() else torch.float64)
    powers, leap = torch.ones_like(wide).unsqueeze(0), wide
    while powers.shape[0] <= time:
        powers, leap = torch.cat([powers, leap * powers]), leap * leap
    return powers[: time + 1]


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Zero-padded to 2T: without padding the end of the sequence leaks into its beginning."""
    time = x.shape[1]
    with torch.autocast(x.device.type, enabled=False):
        powers = _powers(decay, time).to(torch.promote_types(x.dtype, decay.dtype))
        if powers.is_complex():
            spectrum = torch.fft.fft(x, n=2 * time, dim=1) * torch.fft.fft(powers[:time], n=2 * time, dim=0)
            membrane = torch.fft.ifft(spectrum, dim=1)[:, :time]
        else:
            spectrum = torch.fft.rfft(x, n=2 * time, dim=1) * torch.fft.rfft(powers[:time], n=2 * time, dim=0)
            membrane = torch.fft.irfft(spectrum, n=2 * time, dim=1)[:, :time]
        membrane = membrane + powers[1:] * state.unsqueeze(1)
    return membrane, membrane[:, -1].clone()


def _biases(membrane: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, surrogate: Surrogate, strict: bool):
    """`b_t + rho * s_t`, the bias right after each step, [batch, time, width].

    Spikes come from a loop without gradient. Where decay is learned, the bias is made again from those spikes by a
    second convolution, because it depends on decay too; without that share the gradient of decay would be wrong.
    """
    with torch.no_grad():
        bias = torch.zeros(membrane.shape[0], membrane.shape[2], dtype=decay.dtype, device=membrane.device)
        amounts = torch.empty_like(membrane)
        biases = torch.empty(membrane.shape, dtype=decay.dtype, device=membrane.device)
        for t, u in enumerate(membrane.unbind(1)):
            moved = bias.real if bias.is_complex() else bias
            amounts[:, t] = rho * surrogate.fire(u - moved, threshold, strict)
            biases[:, t] = bias + amounts[:, t]
            bias = decay * biases[:, t]
    if decay.requires_grad and torch.is_grad_enabled():
        return linear_scan(amounts, decay, torch.zeros_like(biases[:, 0]), None)[0]
    return biases


def _decoupled(free: Tensor, decay, threshold, rho, surrogate: Surrogate, reset: str, strict: bool, output: str):
    membrane = free.real if free.is_complex() else free
    state = free[:, -1]
    if reset == "soft":
        after = _biases(membrane, decay, threshold, rho, surrogate, strict)
        moved = torch.nn.functional.pad(decay * after[:, :-1], (0, 0, 1, 0))
        membrane, state = membrane - (moved.real if moved.is_complex() else moved), state - after[:, -1]
    return (fire(membrane, threshold, surrogate, strict) if output == "spikes" else membrane), state


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    free, _ = linear_scan(x, decay, state, starts)
    return _decoupled(free, decay, threshold, rho, surrogate, reset, strict, output)


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    free, _ = linear_scan(gain * x, decay, state, starts)
    return _decoupled(free, decay, threshold, rho, surrogate, reset, strict, output)
