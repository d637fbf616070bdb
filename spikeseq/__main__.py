"""The command line.

usage: python -m spikeseq fit|validate|test|predict --config FILE.yaml [--key.subkey VALUE ...]
       python -m spikeseq energy --config FILE.yaml --ckpt_path FILE.ckpt
       python -m spikeseq generate --config FILE.yaml --ckpt_path FILE.ckpt [--prompt TEXT --tokens N --temperature X]
       python -m spikeseq demo [--config FILE.yaml]
       python -m spikeseq info

`python -m spikeseq fit --help` lists every key.
"""

import sys

from . import __version__, backends

RUNS = ("fit", "validate", "test", "predict")
DESCRIBE = ("--config", "-c", "--model", "--data", "--help", "-h", "--print_config")  # one of them makes a run
OTHERS = ("energy", "generate", "demo", "info")


def main(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        if command in (*RUNS, "energy", "generate"):
            from . import cli  # noqa: F401 (first what is missing altogether)

            if not any(word.startswith(DESCRIBE) for word in rest):
                print(f"error: {command}: expected --config FILE.yaml, see configs/", file=sys.stderr)
                return 2
        if command in RUNS:
            from .cli import RunCLI

            RunCLI([command, *rest])
        elif command == "energy":
            from .cli import energy_command

            energy_command(rest)
        elif command == "generate":
            from .generation import generate_command

            generate_command(rest)
        elif command == "demo":
            from .demo import demo_command

            demo_command(rest)
        elif command == "info":
            print(info())
        elif command in ("-h", "--help"):
            print(__doc__)
        else:
            known = ", ".join((*RUNS, *OTHERS))
            print(f"error: unknown command {command!r}: expected one of {known}", file=sys.stderr)
            return 2
    except (ImportError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def info() -> str:
    """Versions of what is installed, the devices, and which backends are here."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    lines = [f"spikeseq {__version__}", f"python {platform.python_version()}, {platform.platform()}"]
    for package in ("torch", "numpy", "triton", "lightning", "jsonargparse", "matplotlib", "scikit-learn"):
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lines.append(f"devices: CPU with {torch.get_num_threads()} threads" + "".join(f", {name}" for name in devices))
    return "\n".join((*lines, "backends:", repr(backends())))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
