"""The command line of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from .. import loaders
from . import classification, forecast, horizons, peers, report, sets, streaming


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    small = kinds.add_parser("forecast", help="small public series: MASE, weighted quantile loss, fit time")
    several(small, "sets", sets.SETS, sets.SETS)
    several(small, "models", peers.MODELS, peers.MODELS)
    small.add_argument("--refit", choices=forecast.REFITS, default="each", help="before each window or the first")
    long = kinds.add_parser("horizons", help="published protocols on multivariate sets: MSE, MAE, R2, RSE, fit time")
    long.add_argument("--data-dir", type=Path, required=True, help="folder with the published files")
    long.add_argument("--protocol", choices=list(horizons.PROTOCOLS), default="long")
    several(long, "sets", loaders.SETS, ("ETTh1", "exchange_rate"))
    several(long, "models", horizons.FITTERS, horizons.FITTERS)
    long.add_argument("--horizons", type=int, nargs="+", metavar="H", help="in steps; the protocol's by default")
    classify = kinds.add_parser("classify", help="UCR and UEA sets: accuracy, fit time, firing rates")
    classify.add_argument("--data-dir", type=Path, help="folder of the UCR archive; by default sktime's own sets")
    classify.add_argument("--sets", nargs="+", metavar="NAME", help="by default all of the folder, or sktime's")
    several(classify, "models", classification.MODELS, ("spikeseq", "minirocket"))
    stream = kinds.add_parser("streaming", help="cost of one new value after short and long histories")
    several(stream, "models", streaming.FORECASTERS, streaming.FORECASTERS)
    stream.add_argument("--rows", type=int, nargs="+", default=(1_000, 10_000, 100_000), metavar="N")
    for kind in (small, long, classify, stream):
        kind.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), metavar="SEED")
        kind.add_argument("--out", type=Path, help="file to which JSON lines are appended, one a run")
    table = kinds.add_parser("table", help="tables of files that --out wrote")
    table.add_argument("files", type=Path, nargs="+")


def several(parser: argparse.ArgumentParser, name: str, known: Iterable[str], default: Iterable[str]) -> None:
    """An option that takes some of the `known` names."""
    names = ", ".join(known)
    parser.add_argument(
        f"--{name}", nargs="+", choices=list(known), default=list(default), metavar="NAME", help=f"of {names}"
    )


def main(given: argparse.Namespace) -> None:
    if given.kind == "table":
        rows = report.read(given.files)
    elif given.kind == "forecast":
        rows = report.run(forecast.jobs(given.sets, given.models, given.seeds, given.refit), given.out)
    elif given.kind == "horizons":
        wanted = horizons.jobs(given.protocol, given.data_dir, given.sets, given.models, given.horizons, given.seeds)
        rows = report.run(wanted, given.out)
    elif given.kind == "classify":
        names = classification.BUNDLED if given.data_dir is None else classification.sets_in(given.data_dir)
        wanted = classification.jobs(given.sets or names, given.models, given.seeds, given.data_dir)
        rows = report.run(wanted, given.out)
    else:
        rows = report.run(streaming.jobs(given.models, given.rows, given.seeds), given.out)
    print(report.tables(rows))
