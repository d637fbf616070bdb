"""Every Triton kernel compiled ahead of time for sm_90, as the backend would start it there: no register spills.

The calls of the backend are recorded on CPU tensors, so what is compiled is what would run, flags and absent arguments
included. It needs no GPU: ptxas comes with Triton.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

triton = pytest.importorskip("triton", reason="Triton is not installed: pip install 'spikeseq[gpu]'")
if triton.knobs.runtime.interpret:
    pytest.skip("TRITON_INTERPRET is set: kernels cannot be compiled", allow_module_level=True)

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from spikeseq import ops  # noqa: E402
from spikeseq.ops import gpu  # noqa: E402
from spikeseq.ops.gpu import split  # noqa: E402

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float64: "*fp64", torch.int32: "*i32",
         torch.int64: "*i64", torch.uint8: "*u8"}  # fmt: skip
LAUNCH = {"num_warps", "enable_fp_fusion"}


def compiled(kernel: Any, given: dict[str, Any]) -> Any:
    """The kernel for these arguments, specialised as a launch on a device would."""
    given = dict(given)
    options = {name: given.pop(name) for name in LAUNCH}
    signature, constants, hints = {}, {}, {}
    for i, parameter in enumerate(kernel.params):
        value = given.pop(parameter.name)
        one = isinstance(value, int) and value == 1 and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or one:
            signature[parameter.name], constants[(i,)] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[parameter.name], hints[(i,)] = TYPES[value.dtype], [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, int) and value % 16 == 0 and not parameter.do_not_specialize:
                hints[(i,)] = [["tt.divisibility", 16]]
    assert not given, f"arguments that {kernel.__name__} does not know: {given.keys()}"
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=hints)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def resources(kernel: Any, folder: Path) -> dict[str, int]:
    """Registers a thread and bytes of local memory (spills), as the assembler wrote them into the binary."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    report = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", report.stdout + report.stderr))
    return {name: int(found[name]) for name in ("REG", "STACK", "LOCAL")}


def instructions(kernel: Any, folder: Path) -> list[str]:
    """The longest loop of the machine code, an instruction a line."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    text = subprocess.run([tool, "-c", binary], capture_output=True, text=True, check=True).stdout
    lines, labels, longest = text.splitlines(), {}, range(0)
    for i, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line.strip()):
            labels[label[1]] = i
        if back := re.search(r"BRA.*`\((\.L\w+)\)", line):
            longest = max(longest, range(labels.get(back[1], i), i), key=len)
    return [lines[i] for i in longest if re.match(r"\s*/\*", lines[i])]


def tensors(dtype: torch.dtype, time: int, width: int) -> dict[str, Tensor]:
    vector, state = torch.ones(width), torch.zeros(2, width)
    x = torch.zeros(2, time, width, dtype=dtype)
    return {"x": x, "vector": vector, "state": state, "turning": torch.complex(vector, vector), "z": state + 0j,
            "pairs": x + 0j, "weight": torch.ones(width, 4), "history": torch.zeros(2, 3, width)}  # fmt: skip


STARTS = torch.zeros(2, 20, dtype=torch.bool)
NEURON = (STARTS, ops.atan(), "soft", False, "spikes", True)
INTEGERS = (STARTS, ops.integer(4), False, "spikes")


def conv_dsn(starts: Tensor | None, x: Tensor, w: Tensor, b: Tensor, v: Tensor, s: Tensor, h: Tensor) -> Any:
    return gpu.conv_dsn(x, w, b, v, s, h, starts, 0.25, ops.integer(4), False, "spikes")


Call = Callable[..., Any]
CALLS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "lif soft bfloat16": (lambda x, a, v, s: gpu.lif(x, a, v, v, s, *NEURON), ("x", "vector", "vector", "state")),
    "lif hard": (
        lambda x, a, v, s: gpu.lif(x, a, v, v, s, STARTS, ops.sigmoid(), "hard", False, "spikes", True),
        ("x", "vector", "vector", "state"),
    ),
    "prf": (
        lambda x, a, g, v, z: gpu.prf(x, a, g, v, v, z, *NEURON),
        ("x", "turning", "vector", "vector", "z"),
    ),
    "lif in chunks": (
        lambda x, a, v, s: gpu.lif(
            x, a, v, v, s, torch.zeros(x.shape[:2], dtype=torch.bool), ops.atan(), "none", False, "spikes", True
        ),
        ("x", "vector", "vector", "state"),
    ),
    "prf in chunks": (
        lambda x, a, g, v, z: gpu.prf(x, a, g, v, v, z, None, ops.atan(), "none", False, "spikes", True),
        ("x", "turning", "vector", "vector", "z"),
    ),
    "complex scan": (lambda x, a, z: gpu.linear_scan(x, a, z, None), ("pairs", "turning", "z")),
    "varying scan": (lambda x, a, s: gpu.linear_scan(x, a, s, STARTS), ("x", "x", "state")),
    "dsn": (lambda x, g, v, s: gpu.dsn(x, g, 0.25, v, s, *INTEGERS), ("x", "x", "vector", "state")),
    "dsn logarithm": (lambda x, g, v, s: gpu.dsn(x, g, 0.6, v, s, *INTEGERS), ("x", "x", "vector", "state")),
    "conv_dsn": (lambda *given: conv_dsn(STARTS, *given), ("x", "weight", "vector", "vector", "state", "history")),
    "conv_dsn in chunks": (
        lambda *given: conv_dsn(None, *given),
        ("x", "weight", "vector", "vector", "state", "history"),
    ),
    "sliding": (lambda x, w, b, s: gpu.sliding(x, w, b, s, None), ("x", "weight", "vector", "history")),
    "sliding, width odd": (lambda x, w, b, s: gpu.sliding(x, w, b, s, STARTS), ("x", "weight", "vector", "history")),
    "spike": (lambda x, v: gpu.spike(x, v, ops.integer(4), False), ("x", "vector")),
}


Launches = list[tuple[Any, dict[str, Any]]]


def launches_of(name: str, time: int, dtype: torch.dtype, width: int, monkeypatch: pytest.MonkeyPatch) -> Launches:
    """Kernels and arguments as the backend would start them, forward and backward."""
    launches: Launches = []

    def record(self: Any, *, grid: Any, warmup: bool, **arguments: Any) -> None:  # noqa: ARG001
        launches.append((self, arguments))

    call, names = CALLS[name]
    given = tensors(dtype, time, width)
    with monkeypatch.context() as patch:
        patch.setattr(JITFunction, "run", record)
        out, *_ = call(*(given[n].clone().requires_grad_() for n in names))
        out.backward(torch.zeros_like(out))
    return launches


@pytest.mark.parametrize("name", CALLS)
def test_no_spills(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chunks = name.endswith("in chunks")
    time = split.GAIN * split.LEAST if chunks else 20
    dtype, width = torch.bfloat16 if name.endswith("bfloat16") else torch.float32, 33 if name.endswith("odd") else 32
    launches = launches_of(name, time, dtype, width, monkeypatch)
    passes = [kernel.__name__.rpartition("_")[2] for kernel, _ in launches if kernel.__name__ != "pack"]
    once = ["forward", "backward"]
    assert passes == (["forward", "carry", "forward", "backward", "carry", "backward"] if chunks else once)
    for kernel, arguments in launches:
        used = resources(compiled(kernel, arguments), tmp_path)
        print(f"{name}: {kernel.__name__} takes {used['REG']} registers")  # pytest -s
        assert used["STACK"] == used["LOCAL"] == 0, f"{kernel.__name__} of {name} spills: {used}"


@pytest.mark.parametrize("name", ["lif hard", "prf", "varying scan", "dsn", "conv_dsn"])
def test_the_next_rows_are_asked_for_before_the_arithmetic(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else each tile waits for the memory: arithmetic and transfer would take turns."""
    launches = launches_of(name, 20, torch.float32, 32, monkeypatch)
    for kernel, arguments in [launch for launch in launches if launch[0].__name__ != "pack"]:
        loop = instructions(compiled(kernel, arguments), tmp_path)
        loads = [i for i, line in enumerate(loop) if "LDG" in line]
        sums = [i for i, line in enumerate(loop) if re.search(r"\b(FADD|FFMA)\b", line)]
        rows = arguments.get("ROWS") or 2 * arguments["TILE"]  # going back, of x and of the gradients
        assert len(sums) >= arguments["TILE"]
        early = sum(i < sums[len(sums) // 10] for i in loads)
        assert early >= rows, f"{kernel.__name__} of {name}: {early} of {rows}"
