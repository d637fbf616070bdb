"""`python -m benchmarks ops [options]` measures; `python -m benchmarks report [FILE]` renders rows again."""

import sys

from benchmarks import ops

COMMANDS = {"ops": ops.main, "report": ops.render}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: python -m benchmarks {{{','.join(COMMANDS)}}} [--help]")
    COMMANDS[sys.argv[1]](sys.argv[2:])
