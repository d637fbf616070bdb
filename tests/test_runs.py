"""Runs as a person starts them: every smoke config trains, two processes equal one, early stopping, loggers, bf16."""

import csv
import importlib
import pkgutil
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer

import spikeseq.tasks
from spikeseq.__main__ import main
from spikeseq.blocks import SequenceClassifier
from spikeseq.cli import TASKS  # here, so that Lightning's log goes to pytest's stream and not to one test's
from spikeseq.neurons import Neuron
from spikeseq.tasks.digits import Digits
from spikeseq.training import SequenceTask

CONFIGS = Path(__file__).parents[1] / "configs"
DIGITS = str(CONFIGS / "smoke" / "digits.yaml")
FEW = ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]
SHORT = [*FEW, "--model.model.init_args.width", "8"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def losses(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(r[name]) for r in rows if r.get(name)] for name in ("train_loss", "val_loss")}


SMALL = {
    "listops": ["--data.init_args.train", "64", "--data.init_args.validation", "8", "--data.init_args.test", "8"],
    "pathfinder": ["--data.init_args.train", "4", "--data.init_args.validation", "2", "--data.init_args.test", "2"],
    "lm": ["--data.init_args.text", __file__],
}


@pytest.mark.parametrize("path", sorted((CONFIGS / "smoke").glob("*.yaml")), ids=lambda path: path.stem)
def test_smoke_configs_train_a_few_steps(path, folder, monkeypatch):
    monkeypatch.setattr("spikeseq.tasks.pathfinder.CHUNK", 8)
    batch = ["--data.init_args.batch_size", "2", *SMALL.get(path.stem, [])]
    assert main(["fit", "--config", str(path), "--trainer.max_epochs", "1", *FEW, *batch]) == 0
    (metrics,) = folder.rglob("metrics.csv")
    assert all(torch.tensor(values).isfinite().all() and values for values in losses(metrics.parent).values())


PARAMETERS = {"listops": 272_146, "text": 831_240, "retrieval": 1_084_680, "pathfinder": 1_258_504, "pathx": 1_258_504}


@pytest.mark.parametrize("stem", PARAMETERS)
def test_models_of_the_long_range_arena_have_the_published_number_of_parameters(stem):
    from spikeseq.cli import RunCLI

    path = CONFIGS / "lra" / f"{stem}.yaml"
    cli = RunCLI(["--config", str(path), "--ckpt_path", "none", "--trainer.accelerator", "cpu"], run=False)
    assert sum(p.numel() for p in cli.model.model.parameters()) == PARAMETERS[stem]


def fit(name, *arguments):
    """A run in processes of its own; float64, so that rounding moves no spike."""
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", ".", "--trainer.logger.name", name]
    command = [sys.executable, "-m", "spikeseq", "fit", "--config", str(CONFIGS / "smoke" / "listops.yaml"), *logger]
    command += [*SMALL["listops"], "--trainer.max_epochs", "2", "--model.model.init_args.width", "8"]
    command += ["--trainer.precision", "64-true", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return losses(Path(name) / "version_0")


def test_two_processes_give_the_loss_curve_of_one_at_the_same_global_batch():
    """Rows are padded to another length in each process, and batch norms count the steps of both."""
    two = fit("two", "--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.init_args.batch_size", "8")
    one = fit("one", "--data.init_args.batch_size", "16")
    for name, values in one.items():
        assert len(values) == 2
        assert two[name] == pytest.approx(values, rel=1e-9)


def test_early_stopping_ends_a_run(capsys):
    stop = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val_accuracy"]
    stop += ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", "1"]
    # nothing is learnt at lr 0, so the score cannot rise
    rate = ["--model.lr", "0", "--model.neuron_lr", "0", "--model.model.init_args.norm", "none"]
    assert main(["fit", "--config", DIGITS, "--trainer.max_epochs", "9", *SHORT, *rate, *stop]) == 0
    assert len(re.findall(r"^epoch ", capsys.readouterr().out, re.MULTILINE)) == 2


def test_tensorboard_is_one_option(folder):
    pytest.importorskip("tensorboard")
    log = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "boards"]
    assert main(["fit", "--config", DIGITS, "--trainer.max_epochs", "1", *SHORT, *log]) == 0
    assert list(folder.glob("boards/**/events.out.tfevents.*"))


def test_under_bf16_autocast_the_scan_stays_in_float32():
    """Neurons see the residual stream, which keeps the parameters' dtype; only the Linear layers are narrow."""
    torch.manual_seed(0)
    model = SequenceClassifier(inputs=1, classes=10, width=8, depth=2, neuron_options={"dt_min": 0.1, "dt_max": 1.0})
    dtypes, products = [], []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, x, y: dtypes.extend((x[0].dtype, y[1].dtype, y[0].dtype)))
        elif type(module) is torch.nn.Linear:
            module.register_forward_hook(lambda _, x, y: products.append(y.dtype))  # noqa: ARG005
    trainer = Trainer(
        accelerator="cpu", precision="bf16-mixed", max_epochs=1, limit_train_batches=3, limit_val_batches=1,
        enable_checkpointing=False, logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(SequenceTask(model), Digits())
    assert products
    assert set(products) == {torch.bfloat16}
    assert {torch.promote_types(dtype.to_real(), torch.float32) for dtype in dtypes} == {torch.float32}
    assert torch.bfloat16 not in dtypes
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in model.parameters())


def test_a_checkpoint_of_another_model_is_one_line(folder, capsys):
    assert main(["fit", "--config", DIGITS, "--trainer.max_epochs", "1", *SHORT]) == 0
    (last,) = folder.rglob("last.ckpt")
    for command in ("fit", "test", "energy"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([command, "--config", DIGITS, "--ckpt_path", str(last), "--model.model.init_args.width", "9"])
        assert stop.value.code == 2
        (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
        assert re.search(r"last\.ckpt: expected a checkpoint of this model.*expected \[9, 1\], got \[8, 1\]", line)
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(SystemExit):
        main(["test", "--config", DIGITS, "--ckpt_path", str(last), *SHORT[-2:]])
    assert "last.ckpt: expected a whole checkpoint" in capsys.readouterr().err
    last.write_text("# A readme\n")
    with pytest.raises(SystemExit):
        main(["test", "--config", DIGITS, "--ckpt_path", str(last), *SHORT[-2:]])
    said = capsys.readouterr().err
    assert "last.ckpt: expected a whole checkpoint" in said
    assert "weights_only" not in said


def test_bad_data_is_one_line(folder, capsys):
    (folder / "new_aan_pairs.train.tsv").write_text("nonsense\n")
    for name in ("eval", "test"):
        (folder / f"new_aan_pairs.{name}.tsv").write_text("")
    config = str(CONFIGS / "lra" / "retrieval.yaml")
    with pytest.raises(SystemExit):
        main(["fit", "--config", config, "--trainer.accelerator", "cpu", "--data.init_args.data_dir", str(folder)])
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "new_aan_pairs.train.tsv, line 1: expected label, id1, id2, text1, text2" in errors[0]


def test_a_finished_run_says_so(folder, capsys):
    run = ["fit", "--config", DIGITS, "--trainer.max_epochs", "1", *SHORT]
    assert main(run) == 0
    (last,) = folder.rglob("last.ckpt")
    assert main([*run, "--ckpt_path", str(last)]) == 0
    assert "nothing to train: the checkpoint has all 1 epochs" in capsys.readouterr().out


def test_fewer_epochs_than_the_checkpoint_has(folder, capsys):
    assert main(["fit", "--config", DIGITS, "--trainer.max_epochs", "3", *SHORT]) == 0
    (last,) = folder.rglob("last.ckpt")
    with pytest.raises(SystemExit):
        main(["fit", "--config", DIGITS, "--trainer.max_epochs", "1", *SHORT, "--ckpt_path", str(last)])
    assert re.search(r"error: trainer.max_epochs: expected at least 2, .*got 1", capsys.readouterr().err)


@pytest.mark.parametrize("command", ["fit", "test", "energy", "generate"])
def test_a_run_that_is_not_described(command, capsys):
    assert main([command, "--trainer.max_epochs", "1"]) == 2
    assert capsys.readouterr().err == f"error: {command}: expected --config FILE.yaml, see configs/\n"


def test_data_modules_have_short_names():
    names = [module.name for module in pkgutil.iter_modules(spikeseq.tasks.__path__, "spikeseq.tasks.")]
    found = {
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and issubclass(value, LightningDataModule) and value.__module__ == name
    }
    shared = {task for task in found if getattr(getattr(task, "read", None), "__isabstractmethod__", False)}
    assert set(TASKS) == found - shared
    assert main(["fit", "--config", DIGITS, "--data", "Digits", "--trainer.max_epochs", "1", *SHORT]) == 0


def test_an_interrupted_run_says_how_to_go_on():
    command = [sys.executable, "-m", "spikeseq", "fit", "--config", DIGITS, "--trainer.max_epochs", "1000", *SHORT]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}

    def listen() -> None:  # a shell starts background jobs deaf to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, preexec_fn=listen, **options) as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            if line.startswith("epoch 2/"):
                run.send_signal(signal.SIGINT)
    hint = re.search(r"interrupted; go on with --ckpt_path (.*last\.ckpt)", "".join(lines))
    assert hint
    assert torch.load(hint[1], weights_only=True)["epoch"] >= 0
