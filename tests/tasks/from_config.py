"""A config of the repository with its data in another folder."""

from pathlib import Path

import torch
from torch import Tensor

CONFIGS = Path(__file__).parents[2] / "configs"


def logits(config: str, folder: Path, *more: str) -> Tensor:
    """Of the config's model, fresh, for two items of its first test batch."""
    from spikeseq.cli import RunCLI

    options = ["--ckpt_path", "none", "--trainer.accelerator", "cpu", "--data.init_args.data_dir", str(folder), *more]
    cli = RunCLI(["--config", str(CONFIGS / config), *options], run=False)
    x, _ = next(iter(cli.datamodule.test_dataloader()))
    with torch.no_grad():
        return cli.model.eval()(x[:2])
