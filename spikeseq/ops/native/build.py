"""How the C kernels are compiled: one shared library with one copy of each kernel per instruction set.

Used by the package's build hook and, for a checkout that was never installed, by hand:
`python spikeseq/ops/native/build.py`. Needs a C compiler (`cc`, or what the variable CC names) and nothing else: no
torch headers, so one library serves every torch.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARY = "_kernels.so"
# Multiply-add is fused only where the source says so: membranes round as the reference's do, bit for bit, and every
# copy of a kernel's body rounds like the others, so that results do not depend on the number of threads.
FLAGS = [
    "-O3", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
    "-pthread",
]  # fmt: skip
SOURCES = ("kernels", "gated")
ONCE = ("cpu", "threads")  # not once for each instruction set
X86 = {
    "avx512": ["-march=x86-64-v4", "-mtune=skylake-avx512", "-mprefer-vector-width=512"],
    "avx2": ["-march=x86-64-v3"],
    "generic": [],
}


class CompilerMissing(RuntimeError):
    """No C compiler was found, or it failed."""


def variants() -> dict[str, list[str]]:
    """Instruction sets to build for, best first, with their compiler flags."""
    return X86 if platform.machine().lower() in ("x86_64", "amd64") else {"generic": []}


def fingerprint(directory: Path) -> str:
    """Of the C sources there: a library serves the Python beside it only if both come from the same ones."""
    found = hashlib.sha256()
    for path in sorted([*directory.glob("*.c"), *directory.glob("*.h")]):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def build(directory: Path) -> Path:
    """Compile the sources in `directory` to `directory / LIBRARY`. Raises CompilerMissing."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        raise CompilerMissing(f"no C compiler: {command[0]!r} is not on the PATH (set CC to name another)")

    with tempfile.TemporaryDirectory() as scratch:
        jobs = [(directory / f"{name}.c", Path(scratch, f"{name}.o"), [f'-DSOURCES="{fingerprint(directory)}"'])
                for name in ONCE]  # fmt: skip
        for name, flags in variants().items():
            for source in SOURCES:
                target = Path(scratch, f"{source}_{name}.o")
                jobs.append((directory / f"{source}.c", target, [*flags, f"-DVARIANT={name}"]))

        def compile_one(job: tuple[Path, Path, list[str]]) -> None:
            source, target, flags = job
            _run([*command, *FLAGS, *flags, "-c", str(source), "-o", str(target)])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, jobs))
        linked = Path(scratch, LIBRARY)
        _run([*command, "-shared", "-pthread", *(str(target) for _, target, _ in jobs), "-o", str(linked)])
        # moved into place whole: a process that has the old library mapped keeps it
        staged = directory / f"{LIBRARY}.{os.getpid()}"
        shutil.copyfile(linked, staged)
        staged.replace(directory / LIBRARY)
    return directory / LIBRARY


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerMissing(f"the C compiler failed:\n{shlex.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    print(build(Path(__file__).parent))
