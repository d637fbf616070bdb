"""The command line's runs: LightningCLI with spikeseq's defaults."""

import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

try:
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import LightningDataModule, Trainer
    from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, ProgressBar, TQDMProgressBar
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
except ModuleNotFoundError as error:
    raise ImportError("training needs Lightning: pip install 'spikeseq[train]'") from error

from .callbacks import EpochLines, PredictionFile, RunNotes, kept_checkpoints
from .energy import audit, energy
from .tasks.cifar import CIFAR10
from .tasks.cifar10_dvs import CIFAR10DVS
from .tasks.digits import Digits
from .tasks.dvs_gesture import DVSGesture
from .tasks.language import Language
from .tasks.listops import ListOps
from .tasks.mnist import SequentialMNIST
from .tasks.nmnist import NMNIST
from .tasks.pathfinder import Pathfinder, PathX
from .tasks.retrieval import Retrieval
from .tasks.spoken import SHD, SSC
from .tasks.text import Text
from .training import Training, read_checkpoint

# `--data` takes the bare names of classes that are imported.
TASKS = (
    CIFAR10, CIFAR10DVS, DVSGesture, Digits, Language, ListOps, NMNIST, Pathfinder, PathX, Retrieval, SHD, SSC,
    SequentialMNIST, Text,
)  # fmt: skip
LOGGER = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs", "name": "spikeseq"}}


# jsonargparse's words for a value that is neither what was asked for nor None
OR_NONE = re.compile(
    r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - (.*?) "
    r"- Expected a <class 'NoneType'> Given value type: .*"
)


class RunParser(LightningArgumentParser):
    """A parser whose errors are one line that says what is wrong, not all that would be right and all that came."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:
            return super().error(message, ex)
        sys.stderr.write("error: " + OR_NONE.sub(r"\1", " ".join(str(message).split())) + "\n")
        raise SystemExit(2) from ex


class RunCLI(LightningCLI):
    """fit, validate, test and predict from one YAML file with the keys seed_everything, trainer, model, data.

    `model` is a task (`Training`) by class_path, or the arguments of SequenceTask directly; `data` is a data module by
    class_path. `checkpoint` are ModelCheckpoint's: by default the best by validation accuracy and the last are kept.
    Logs go to CSV files under runs/. On a terminal there is a progress bar, otherwise one line an epoch. With
    run=False nothing runs, there is no subcommand, and `--ckpt_path` is a key beside the others.
    """

    def __init__(self, args: list[str] | None = None, run: bool = True) -> None:
        quieten()
        self._checkpoint_key = not run
        super().__init__(
            Training,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            trainer_defaults={"logger": LOGGER, "log_every_n_steps": 1},
            parser_class=RunParser,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        if self._checkpoint_key:
            parser.add_argument("--ckpt_path", type=str, required=True, help="A checkpoint of this model.")
            # a key of the config.yaml that fit leaves, so that the file serves here too
            parser.add_argument("--weights_only", type=bool | None, help="Not used: always true.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "model": {"class_path": "spikeseq.training.SequenceTask"},  # its keys may stand under `model` directly
                "checkpoint.monitor": "val_accuracy",
                "checkpoint.mode": "max",
                "checkpoint.filename": "epoch{epoch}-val_accuracy{val_accuracy:.4f}",
                "checkpoint.auto_insert_metric_name": False,
            }
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning's looks for settings in the checkpoint; ours are in the config.yaml of its run."""

    def before_instantiate_classes(self) -> None:
        """Weights must come from a file: without one Lightning would score the network it has just initialised."""
        if self.subcommand is None:
            return
        path = self._get(self.config, "ckpt_path")
        if path is None and self.subcommand == "fit":
            return
        if path is None or not Path(path).is_file():
            found = "nothing" if path is None else f"no file at {path}"
            raise FileNotFoundError(f"{self.subcommand}: expected --ckpt_path with a checkpoint file, found {found}")

    def instantiate_classes(self) -> None:
        """Settings that a class refuses are one line, as those that the parser refuses."""
        try:
            super().instantiate_classes()
        except (TypeError, ValueError, MisconfigurationException) as error:
            self.parser.error(f"{type(error).__name__}: {error}", error)

    def _look_before_running(self) -> None:
        """Data and checkpoint are read before any work is done; what is wrong with them is one line."""
        path = self._get(self.config, "ckpt_path")
        try:
            if isinstance(self.datamodule, TASKS):
                self.datamodule.setup()
            if path is not None:
                epoch, most = read_checkpoint(path, self.model).get("epoch", 0), self.trainer.max_epochs
                if self.subcommand == "fit" and most is not None and -1 < most < epoch:
                    raise ValueError(f"trainer.max_epochs: expected at least {epoch}, of which {path} is, got {most}")
        except ValueError as error:
            self.parser.error(str(error), error)

    before_fit = before_validate = before_test = before_predict = _look_before_running

    def after_fit(self) -> None:
        if self.trainer.is_global_zero:
            for name, path in kept_checkpoints(self.trainer):
                print(f"{name} checkpoint  {path}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = [RunNotes()] if self.subcommand == "fit" else []
        if self.subcommand == "predict":
            callbacks.append(PredictionFile())
        if config["logger"] is not False and self.subcommand == "fit":
            callbacks.append(LearningRateMonitor("epoch"))
        if config["enable_checkpointing"] is not False:
            # ModelCheckpoint's own save_last is the last *best* one, which is not where a run should resume.
            callbacks.append(ModelCheckpoint(filename="last", enable_version_counter=False))
        if self.subcommand in ("validate", "test"):
            kwargs["logger"] = False  # their scores are printed; a folder for each would only push the numbers up
        if self.subcommand != "fit" or config["logger"] is False:
            self.save_config_callback = None  # it would write config.yaml where the user stands
        wanted = config["enable_progress_bar"] is not False
        if wanted and not sys.stdout.isatty():
            kwargs["enable_progress_bar"] = False
            callbacks.append(EpochLines())
        elif wanted and not any(isinstance(c, ProgressBar) for c in config["callbacks"] or ()):
            callbacks.append(TQDMProgressBar())  # one line; Lightning's other bar wraps on 80 columns
        self.trainer_defaults["callbacks"] = callbacks
        return super().instantiate_trainer(**kwargs)


def load_checkpoint(cli: RunCLI) -> dict[str, Any]:
    """The checkpoint of `--ckpt_path`, whose weights are now in the model."""
    path = Path(cli.config["ckpt_path"])
    if not path.is_file():
        raise FileNotFoundError(f"ckpt_path: expected a checkpoint file, found nothing at {path}")
    try:
        checkpoint = read_checkpoint(path, cli.model)
    except ValueError as error:
        cli.parser.error(str(error), error)
    cli.model.load_state_dict(checkpoint["state_dict"])
    return checkpoint


def energy_command(arguments: list[str]) -> None:
    """Print the energy report and the spike-driven audit of a checkpoint on the first test batch."""
    cli = RunCLI(arguments, run=False)
    load_checkpoint(cli)
    batch = first_test_batch(cli.model, cli.datamodule)
    print(energy(cli.model.model, batch), audit(cli.model.model, batch), sep="\n\n")


def first_test_batch(task: Training, data: LightningDataModule) -> Tensor | tuple[Tensor, Tensor]:
    """What a model takes of the first test batch: x, or (x, lengths)."""
    data.prepare_data()
    data.setup("test")
    return task.model_inputs(next(iter(data.test_dataloader())))


def quieten() -> None:
    """Leave out what Lightning says that no user of this command line can act on."""
    # Data lies in memory (spikeseq/tasks/memory.py): worker processes would only copy it.
    warnings.filterwarnings("ignore", "The '.*_dataloader' does not have many workers", UserWarning)
    # We hand LightningCLI the words after the command name; it fears that this is a mistake.
    warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended to run", UserWarning)
    # Lightning's own use of a name that torch has deprecated.
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
    # A run that reads another run's checkpoint writes into a folder of its own.
    warnings.filterwarnings("ignore", "The dirpath has changed from", UserWarning)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless" not in record.getMessage()
