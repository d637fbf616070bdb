"""The rows of `python -m benchmarks gpu` as Markdown."""

from __future__ import annotations

from benchmarks.report import Row, latest, number, table

READING = """\
Bandwidth: forward as a share of what a device-to-device copy reaches (bytes that must move, over time), then forward +
backward in copies of the input, by the device's own time. Goals on [64, 4096, 256]: 80 % and 3.3. Beside others: time
on the device, and as called from Python. A dash is a pass that no CUDA graph can hold (the rows say why), or, above a
quarter second, one whose two times are the same. Matrix products may use TF32. A training step: forward, cross-entropy,
backward and AdamW of the ListOps configuration's model on random tokens, as called from Python."""


def _bandwidth(found: list[Row]) -> str:
    cells: dict[tuple[str, int], dict[int, str]] = {}
    at = {(row["case"], row["batch"], row["time"], row["method"], row["measure"]): row for row in found}
    for row in found:
        if row["method"] == "triton" and row["measure"] == "forward":
            here, channels = (row["case"], row["batch"], row["time"]), row["batch"] * row["width"]
            share = row["gb_s"] / at[(*here, "copy_", "forward")]["gb_s"]
            times = at[(*here, "triton", "forward+backward")]["ratio"]
            cells.setdefault((row["case"], channels), {})[row["time"]] = f"{100 * share:.0f} %, {times:.2f}"
    lengths = sorted({row["time"] for row in found})
    body = [[case, str(channels), *(line.get(time, "-") for time in lengths)]
            for (case, channels), line in cells.items()]  # fmt: skip
    return table(["case", "batch x width", *(f"T = {time}" for time in lengths)], body)


def _peers(found: list[Row]) -> str:
    body: dict[tuple, list[str]] = {}
    for row in found:
        key = row["case"], row["method"], f"[{row['batch']}, {row['time']}, {row['width']}]"
        line = body.setdefault(key, ["-"] * 4)
        at = 2 * (row["measure"] == "forward+backward")
        line[at] = number(row["ms"]) if "ms" in row else "-"
        line[at + 1] = number(row["called_ms"]) if "called_ms" in row else row["skipped"]
    head = ["case", "method", "shape", "forward, ms", "as called", "both, ms", "as called"]
    return table(head, ([*key, *line] for key, line in body.items()))


def _training(found: list[Row]) -> str:
    body = [[row["case"], row["method"], number(row["called_ms"]), number(row["peak_bytes"] / 2**30)] for row in found]
    return table(["model", "method", "ms", "peak memory, GiB"], body)


PARTS = {
    "bandwidth": ("Bandwidth", _bandwidth),
    "bfloat16": ("Bandwidth, bfloat16 in and out", _bandwidth),
    "peers": ("Beside others", _peers),
    "training": ("A training step of the ListOps model", _training),
}


def markdown(found: list[Row]) -> str:
    found = latest(found)
    first = found[0]
    versions = {"torch": first["torch"], "spikeseq": first["spikeseq"], **first["peers"]}
    about = ", ".join([first["cpu"], first["kernels"], *(f"{k} {v}" for k, v in versions.items()), first["date"][:10]])
    parts = ["# Triton kernels", f"Measured on {about}.", READING]
    for part, (title, render) in PARTS.items():
        if mine := [row for row in found if row["part"] == part]:
            parts += [f"## {title}", render(mine)]
    return "\n\n".join(parts) + "\n"
