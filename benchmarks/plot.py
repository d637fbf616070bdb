"""Time against T, log-log, one panel a neuron."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmarks.report import latest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = ("LIF", "PRF", "DSN")
# The peers that DSN is meant to beat: case, method, colour.
EXTRA = {"DSN": (("PSN", "gemm", "#222222"), ("SlidingPSN", "native", "#d1a02b"))}
COLOURS = {
    "native": "#2b5c8a",
    "torch": "#3f9c6c",
    "fft": "#8a5cb0",
    "reference": "#d1602b",
    "spikingjelly": "#b08a2b",
    "snntorch": "#c0507a",
    "norse": "#5aa5a5",
    "sinabs": "#7a7a2b",
    "clone": "#999999",
}
NAMES = {
    "native": "C kernels",
    "torch": "plain torch",
    "fft": "FFT, the papers' form",
    "reference": "sequential loop",
    "gemm": "dense product",
    "spikingjelly": "spikingjelly",
    "snntorch": "snntorch",
    "norse": "norse",
    "sinabs": "sinabs",
    "clone": "clone (forward, the roof)",
}


def _lines(rows: list[dict[str, Any]], case: str) -> Iterable[tuple[str, list[int], list[float]]]:
    """(method, T, ms) of one case, in the order measured."""
    mine = [row for row in rows if row["case"] == case and "ms" in row
            and (row["measure"] == "forward+backward" or row["method"] == "clone")]  # fmt: skip
    for method in dict.fromkeys(row["method"] for row in mine):
        points = sorted((row["time"], row["ms"]) for row in mine if row["method"] == method)
        yield method, [t for t, _ in points], [ms for _, ms in points]


def time_against_length(rows: Iterable[dict[str, Any]]) -> Figure:
    """Forward + backward in ms against T from the sweep's rows; `clone` is forward, the roof."""
    from matplotlib.figure import Figure

    rows = [row for row in latest(rows) if row["part"] == "sweep"]
    panels = [case for case in PANELS if any(row["case"] == case for row in rows)]
    if not panels:
        raise ValueError(f"time_against_length: expected sweep rows of one of {PANELS}, got none")
    figure = Figure(figsize=(1.0 + 4.4 * len(panels), 5.2), layout="constrained", dpi=150)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    ticks = sorted({row["time"] for row in rows})
    for axis, case in zip(axes, panels, strict=True):
        for method, lengths, ms in _lines(rows, case):
            style = "--" if method == "clone" else "-"
            axis.loglog(lengths, ms, style, color=COLOURS[method], marker="o", markersize=3, label=NAMES[method])
        for name, wanted, colour in EXTRA.get(case, ()):
            for method, lengths, ms in _lines(rows, name):
                if method == wanted:
                    label = f"{name}, {NAMES[method]}"
                    axis.loglog(lengths, ms, ":", color=colour, marker="o", markersize=3, label=label)
        axis.set_title(case, loc="left")
        axis.set_xticks(ticks, [str(t) for t in ticks], rotation=45)
        axis.minorticks_off()
        axis.set_xlabel("T (steps)")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    first = rows[0]
    axes[0].set_ylabel("forward + backward (ms)")
    about = f"batch {first['batch']}, width {first['width']}, {first['threads']} thread(s), {first['cpu']}"
    figure.suptitle(about, fontsize=9)
    return figure
