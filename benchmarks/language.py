"""`python -m benchmarks language --data FILE`: spiking language models beside a GRU and an LSTM of the same size.

Bytes of one text, 90 % training, the last 5 % test (no validation: nothing is selected). Every model has about the
same number of parameters, the same chunks in the same order, carried state, AdamW with the same learning rate and
schedule, and the same processor time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning.pytorch import seed_everything
from torch import nn

from benchmarks import machine
from benchmarks.budget import Budget, train
from benchmarks.recurrent import RecurrentModel
from spikeseq.blocks import TokenModel
from spikeseq.tasks.language import Language

VOCABULARY = 257


def models(width: int, depth: int) -> dict[str, Callable[[], nn.Module]]:
    """A layer has 2 width^2 weights in both blocks, 6 in a GRU and 8 in an LSTM: as many in fewer layers."""
    layers = max(1, round(depth / 3))
    return {
        "SSM, DSN": lambda: TokenModel(VOCABULARY, width, depth, block="ssm", neuron="DSN"),
        "SD-TCM, DSN": lambda: TokenModel(VOCABULARY, width, depth, neuron="DSN", norm="layer"),
        "GRU": lambda: RecurrentModel(VOCABULARY, width, layers, "GRU"),
        "LSTM": lambda: RecurrentModel(VOCABULARY, round(width * 0.75**0.5), layers, "LSTM"),
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks language", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE")
    parser.add_argument("--minutes", type=float, default=3.0, help="processor time for each model")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the models")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = Language(text=chosen.data, length=chosen.length, batch_size=chosen.batch)
    budget = Budget(chosen.minutes, chosen.lr, chosen.lr, warmup_steps=50, carry=True)
    print(f"{machine.cpu_model()}, one thread, torch {torch.__version__}, {vars(chosen)}\n")
    print("| model | parameters | steps | tokens | CPU minutes | bits per byte |\n|---|--:|--:|--:|--:|--:|")
    for name, build in models(chosen.width, chosen.depth).items():
        if chosen.only and name not in chosen.only:
            continue
        seed_everything(chosen.seed, verbose=False)
        model = build()
        done = train(model, data, budget)
        (scores,) = done.trainer.test(done.task, data, verbose=False)
        size, tokens = sum(p.numel() for p in model.parameters()), done.steps * chosen.length * chosen.batch
        bits = scores["test_bits_per_byte"]
        print(f"| {name} | {size:,} | {done.steps:,} | {tokens:,} | {done.minutes:.1f} | {bits:.3f} |", flush=True)
