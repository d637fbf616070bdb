"""`python -m benchmarks ops [options]` measures; `python -m benchmarks report [FILE]` renders rows again;
`python -m benchmarks exactness` counts spikes that differ from the definition; `python -m benchmarks language` and
`extrapolation` train small language models."""

import sys

from benchmarks import exactness, extrapolation, language, ops

COMMANDS = {
    "ops": ops.main,
    "report": ops.render,
    "exactness": exactness.main,
    "language": language.main,
    "extrapolation": extrapolation.main,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: python -m benchmarks {{{','.join(COMMANDS)}}} [--help]")
    COMMANDS[sys.argv[1]](sys.argv[2:])
