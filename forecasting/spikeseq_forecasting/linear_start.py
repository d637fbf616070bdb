"""Where training starts from, in closed form: the linear paths and the spread."""

from __future__ import annotations

import torch
from torch import Tensor

from .series_model import Seen, SeriesModel
from .training_data import Block

PENALTIES = torch.logspace(-2, 3, 11, dtype=torch.float64)
HELD_OUT = 0.25  # of the steps, the newest ones, on which the penalty is chosen
LARGEST = 20_000  # rows of the regression
FEWEST = 8
LEAST = 0.01  # mean absolute error that the spread begins with, in units of the scale: below, the loss is too steep


def ridge_start(model: SeriesModel, block: Block, cut: int) -> None:
    """Set U and V, the linear paths of the network from what it knows ahead and from its inputs, by ridge regressions,
    and the spread at each step ahead by what these leave, its mean absolute value or, of counts, its dispersion:

        U = argmin sum_t,h |r_{t,h} - U known_{t+h}|^2 + p n |U|^2, then V on what that leaves: |r_t - V x_t|^2 likewise

    r: the residuals over the baseline, with targets before `cut`; n rows. The penalty p is the one of PENALTIES with
    the least absolute error on the newest quarter of the steps, after a fit on what lies before; then all rows are
    fitted. Rows with a missing target are left out; too few rows change nothing.
    """
    network, horizon = model.network, model.framing.horizon
    seen = model.look(block.values)
    age = seen.age[:, : max(cut - horizon, 0)]
    if not age.numel():
        return
    warm = torch.minimum(age[:, -1:] // 2, torch.tensor(model.framing.window - 1))
    rows, steps = (age > warm).nonzero(as_tuple=True)
    kept = slice(None, None, max(1, -(-len(rows) // LARGEST)))
    rows, steps = rows[kept, None], steps[kept, None]
    some = Seen(*(part[rows, steps] for part in seen))
    baseline = model.framing.baseline_of(some.window, some.slope)[:, 0]
    target = block.values[rows, steps + torch.arange(1, horizon + 1)]
    scale = model.scale(some)
    residual = ((target - baseline) / scale).double()
    whole = ~residual.isnan().any(1)
    rows, steps, residual, target, scale = (part[whole] for part in (rows, steps, residual, target, scale))
    if len(steps) < FEWEST:
        return
    edge = steps.double().quantile(1 - HELD_OUT)
    early, late = (steps + horizon < edge)[:, 0], (steps >= edge)[:, 0]
    if not early.any():
        return
    with torch.no_grad():
        if network.known is not None:
            known = model.known(steps, block.calendar, block.exogenous, rows[:, 0])
            assert known is not None
            flat = known.flatten(0, 2).double()
            when = (mask.repeat_interleave(horizon) for mask in (early, late))
            u = best_ridge(flat, residual.reshape(-1, 1), *when)
            network.known.weight[:1] = u.T
            residual = residual - (flat @ u).view_as(residual)
        if network.shortcut is not None:
            parts = Seen(*(part[whole] for part in some))
            x = model.inputs(parts, block.calendar[rows, steps], block.exogenous[rows, steps])
            x = x[:, 0].double()
            v = best_ridge(x, residual, early, late)
            network.shortcut.weight.copy_(v.T)
            residual = residual - x @ v
        error = residual.abs().mean(0).clamp(min=LEAST)
        raw = network.distribution.start(error, dispersion(residual * scale, target, block.unit[rows]))
        network.output.bias.copy_(raw.flatten())


def dispersion(error: Tensor, target: Tensor, unit: Tensor) -> Tensor:
    """What variance is left beyond the mean of counts, over the squared mean, by moments: [n, horizon] -> [horizon].

    error, target: divided by their series' unit [n, 1], so that each series counts alike.
    """
    target = target.double()
    return (error.square() - target / unit).mean(0) / target.square().mean(0).clamp(min=LEAST**2)


def best_ridge(x: Tensor, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """x [n, inputs], y [n, outputs] -> [inputs, outputs], with the penalty that serves the `late` rows best."""
    errors = [(y[late] - x[late] @ v).abs().mean() for v in ridge(x[early], y[early], PENALTIES)]
    best = int(torch.stack(errors).argmin())
    return ridge(x, y, PENALTIES[best : best + 1])[0]


def ridge(x: Tensor, y: Tensor, penalties: Tensor) -> list[Tensor]:
    """x [n, inputs], y [n, outputs] -> [inputs, outputs] for each penalty."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    projected = vectors.T @ (x.T @ y) / len(x)
    return [vectors @ (projected / (values.clamp(min=0) + p)[:, None]) for p in penalties]
