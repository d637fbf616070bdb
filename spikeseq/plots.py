"""Figures: spike rasters, membranes, training curves. Each function returns a matplotlib Figure and shows nothing.

matplotlib is imported when a figure is drawn. Save one with `figure.savefig("raster.png")`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2b5c8a", "#d1602b", "#7a7a7a"


def raster(spikes: Tensor | Mapping[str, Tensor], title: str = "") -> Figure:
    """Spikes over time, one row of dots a neuron.

    spikes: [time, width], binary or integer, or several layers by name, drawn one above the other on one time axis.
    Integer spikes are darker where they are larger. Beside each panel stands its mean rate.
    """
    layers = dict(spikes) if isinstance(spikes, Mapping) else {"": spikes}
    if not layers:
        raise ValueError("raster: expected at least one layer of spikes, got none")
    for name, layer in layers.items():
        if layer.ndim != 2:
            raise ValueError(f"raster: expected spikes [time, width], got {list(layer.shape)} {name}".rstrip())
    figure = _figure(7.2, 0.6 + 1.7 * len(layers))
    axes = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, layer) in zip(axes, layers.items(), strict=True):
        values = layer.detach().float().cpu()
        time, neuron = values.nonzero(as_tuple=True)
        top = max(1.0, float(values.max())) if values.numel() else 1.0
        colours = [(0.17, 0.36, 0.54, float(v)) for v in values[time, neuron] / top]
        axis.scatter(time, neuron, s=_mark(values.shape[1]), c=colours or None, marker="|", linewidths=0.9)
        axis.set_xlim(-0.5, values.shape[0] - 0.5)
        axis.set_ylim(-1, values.shape[1])
        axis.set_ylabel("neuron")
        axis.set_title(name, loc="left", fontsize=8)
        rate = float(values.mean()) if values.numel() else 0.0
        text = f"{rate:.3f} spikes\na neuron\nand step"
        axis.text(1.01, 0.5, text, transform=axis.transAxes, va="center", color=GREY, fontsize=8)
        _bare(axis)
    axes[-1].set_xlabel("time (steps)")
    _title(figure, title)
    return figure


def membrane(values: Tensor, spikes: Tensor | None = None, threshold: float = 1.0, title: str = "") -> Figure:
    """One neuron's membrane [time] with its threshold and, if given, its spikes [time] as marks above."""
    if values.ndim != 1 or (spikes is not None and spikes.shape != values.shape):
        found = list(values.shape) if spikes is None else f"{list(values.shape)} and {list(spikes.shape)}"
        raise ValueError(f"membrane: expected values and spikes of one neuron, [time], got {found}")
    figure = _figure(7.2, 2.6)
    axis = figure.subplots()
    trace = values.detach().float().cpu()
    axis.plot(trace, color=BLUE, linewidth=1.1, label="membrane")
    axis.axhline(threshold, color=GREY, linewidth=0.8, linestyle="--", label="threshold")
    if spikes is not None:
        at = spikes.detach().cpu().nonzero().squeeze(1)
        top = max(float(trace.max()), threshold)
        height = top + 0.08 * (top - min(float(trace.min()), 0.0) + 1e-9)
        axis.scatter(at, [height] * len(at), marker="|", color=ORANGE, s=60, label="spike")
    axis.set_xlabel("time (steps)")
    axis.set_ylabel("membrane (threshold units)" if threshold == 1.0 else "membrane")
    axis.margins(x=0.01)
    _bare(axis)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    _title(figure, title)
    return figure


def training_curve(metrics: str | Path | Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Loss and accuracy of training and validation over epochs.

    metrics: Lightning's metrics.csv, or its rows as mappings with `epoch` and any of train_loss, val_loss,
    train_accuracy, val_accuracy. Empty cells are skipped. Raises ValueError where none of these is found.
    """
    if isinstance(metrics, (str, Path)):
        with open(metrics, newline="") as file:
            rows: Sequence[Mapping[str, Any]] = list(csv.DictReader(file))
    else:
        rows = metrics
    series = {
        f"{split}_{kind}": [(float(r["epoch"]), float(r[key])) for r in rows if r.get(key) not in (None, "")]
        for kind in ("loss", "accuracy")
        for split in ("train", "val")
        for key in (f"{split}_{kind}",)
    }
    if not any(series.values()):
        raise ValueError(f"training_curve: expected rows with one of {', '.join(series)}, got none")
    figure = _figure(7.2, 2.8)
    for axis, kind, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), (" (nats)", " (%)"), strict=True):
        for split, colour in (("train", GREY), ("val", BLUE)):
            points = series[f"{split}_{kind}"]
            if points:
                scale = 100.0 if kind == "accuracy" else 1.0
                x, y = [p[0] for p in points], [scale * p[1] for p in points]
                axis.plot(x, y, color=colour, linewidth=1.4, label={"train": "training", "val": "validation"}[split])
        axis.set_xlabel("epoch")
        axis.set_ylabel(kind + unit)
        _bare(axis)
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    _title(figure, title)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure without pyplot: nothing global, nothing to close, no display needed. Sizes in inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("spikeseq.plots needs matplotlib: pip install 'spikeseq[train]'") from error
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _title(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, fontsize=10)


def _bare(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_size(9)
    axis.yaxis.label.set_size(9)


def _mark(neurons: int) -> float:
    """Marker area in points squared: no taller than a neuron's row (a panel is about 100 points high), or rates lie."""
    return max(0.8, min(5.5, 100.0 / max(neurons, 1))) ** 2
