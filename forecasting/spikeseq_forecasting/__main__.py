"""python -m spikeseq_forecasting bench forecast|horizons|classify|streaming|table ..."""

from __future__ import annotations

import argparse
import sys

from .bench import command


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m spikeseq_forecasting", description="Spiking forecasters.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command.add_arguments(commands.add_parser("bench", help="the benchmark; each KIND has its own --help"))
    given = parser.parse_args(arguments)
    try:
        command.main(given)
    except (FileNotFoundError, ImportError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
