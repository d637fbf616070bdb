"""`python -m spikeseq generate`: text from a language model's checkpoint, token by token."""

import sys
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningArgumentParser

from .blocks import generate
from .cli import RunCLI, load_checkpoint
from .language import VOCABULARY_FILE
from .tasks.vocabulary import Vocabulary, digest, read_vocabulary

SAMPLING = ("temperature", "top_k", "seed")


class GenerateCLI(RunCLI):
    """The keys of a run and those of `generate`; nothing runs."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, run=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument("--prompt", type=str, default="", help="The text to go on with; none begins a document.")
        parser.add_argument("--tokens", type=int, default=200, help="How many tokens to write.")
        parser.add_argument("--vocabulary", type=str, help=f"A {VOCABULARY_FILE}; by default that of the run.")
        parser.add_function_arguments(generate, skip={"model", "prompt"})


def generate_command(arguments: list[str]) -> None:
    """Print the prompt and what the model goes on with, each token as it comes."""
    config = (cli := GenerateCLI(arguments)).config
    checkpoint = load_checkpoint(cli)
    file = config["vocabulary"] or find_vocabulary(Path(config["ckpt_path"]))
    try:
        vocabulary = trained_vocabulary(Path(file).expanduser(), checkpoint)
        prompt = torch.tensor([vocabulary.start, *vocabulary.encode(config["prompt"].encode(), "prompt")])
        tokens = generate(cli.model.model.eval(), prompt, **{name: config[name] for name in SAMPLING})
    except ValueError as error:
        cli.parser.error(str(error), error)
    out = sys.stdout.buffer
    for token in chain(prompt.tolist(), islice(tokens, config["tokens"])):
        out.write(vocabulary.decode([token]))
        out.flush()
    out.write(b"\n")
    out.flush()


def find_vocabulary(checkpoint: Path) -> Path:
    """The vocabulary of the run that a checkpoint belongs to."""
    folders = (checkpoint.parent.parent, checkpoint.parent)
    for folder in folders:
        if (folder / VOCABULARY_FILE).is_file():
            return folder / VOCABULARY_FILE
    raise FileNotFoundError(
        f"expected {VOCABULARY_FILE} in {folders[0]}, as fit leaves it, found none: --vocabulary FILE"
    )


def trained_vocabulary(file: Path, checkpoint: dict[str, Any]) -> Vocabulary:
    """The vocabulary of `file`. ValueError where the checkpoint was trained with another, or with none."""
    if not file.is_file():
        raise FileNotFoundError(f"vocabulary: expected a file, found nothing at {file}")
    vocabulary = read_vocabulary(file)
    if checkpoint.get("vocabulary") != digest(vocabulary):
        raise ValueError(f"{file}: expected the vocabulary that the checkpoint was trained with")
    return vocabulary
