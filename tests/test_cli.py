"""The command line: runs from a YAML file, its errors are one line, its files lie where it says."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import spikeseq.cli  # noqa: F401 (here, so that Lightning's log goes to pytest's stream and not to one test's)
from spikeseq.__main__ import main

CONFIG = Path(__file__).parents[1] / "configs" / "smoke" / "digits.yaml"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The smoke config cut down to two epochs of three batches, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load(CONFIG.read_text())
    settings["trainer"] |= {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 1, "limit_test_batches": 2}
    settings["model"]["model"]["init_args"] |= {"width": 8}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_then_test_predict_and_energy_from_the_checkpoint(config, capsys):
    assert main(["fit", "--config", str(config)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2 ")
    assert "val_accuracy" in lines[1]
    run = Path("runs/digits/version_0")
    assert {p.name for p in run.iterdir()} == {"checkpoints", "config.yaml", "metrics.csv"}
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1

    for command in ("test", "predict"):
        assert main([command, "--config", str(config), "--ckpt_path", str(last)]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    (predictions,) = Path("runs").rglob("predictions.csv")
    rows = rows_of(predictions)
    assert [int(row["item"]) for row in rows] == list(range(359))
    assert all(0 <= int(row["class"]) < 10 and 0.1 <= float(row["probability"]) <= 1 for row in rows)

    assert main(["energy", "--config", str(config), "--ckpt_path", str(last)]) == 0
    printed = capsys.readouterr().out
    assert "full count:" in printed
    assert "verdict on the blocks: spike-driven" in printed


def test_fit_keeps_the_checkpoint_best_on_validation(config):
    main(["fit", "--config", str(config), "--trainer.max_epochs", "4"])
    rows = rows_of(Path("runs/digits/version_0/metrics.csv"))
    best = max(float(row["val_accuracy"]) for row in rows if row["val_accuracy"])
    (kept,) = (p for p in Path("runs/digits/version_0/checkpoints").iterdir() if p.name != "last.ckpt")
    assert kept.stem.endswith(f"val_accuracy{best:.4f}")


def test_overrides_win_over_the_file(config):
    main(["fit", "--config", str(config), "--model.lr", "0.25", "--trainer.max_epochs", "1"])
    saved = yaml.safe_load(Path("runs/digits/version_0/config.yaml").read_text())
    assert saved["model"]["init_args"]["lr"] == 0.25
    assert saved["trainer"]["max_epochs"] == 1


def test_demo_reports_and_writes_its_pictures(config, capsys):
    assert main(["demo", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    for word in ("test accuracy", "firing rate", "energy", "audit", "checkpoint", "raster", "training curve"):
        assert f"\n{word}" in printed
    paths = [Path(line.split()[-1]) for line in printed.splitlines()[-3:]]
    assert [p.suffix for p in paths] == [".ckpt", ".png", ".png"]
    assert all(p.is_file() and p.is_relative_to("runs/digits") for p in paths)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["trainer"].update(max_epoch=3),
        lambda c: c["model"].update(learning_rate=0.1),
        lambda c: c["model"]["model"]["init_args"].update(widht=3),
        lambda c: c["data"]["init_args"].update(batchsize=3),
        lambda c: c.update(sead=3),
    ],
)
def test_an_unknown_key_is_an_error_of_one_line_that_names_it(config, change, capsys):
    settings = yaml.safe_load(config.read_text())
    change(settings)
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(config)])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert any(key in errors[0] for key in ("max_epoch", "learning_rate", "widht", "batchsize", "sead"))
    assert len(errors[0]) < 400
    assert "Union" not in errors[0]
    assert not Path("runs").exists()


def test_an_unknown_command_is_an_error_of_one_line(capsys):
    assert main(["train"]) == 2
    assert capsys.readouterr().err == (
        "error: unknown command 'train': expected one of fit, validate, test, predict, energy, generate, demo, info\n"
    )


def test_energy_names_a_checkpoint_that_is_not_there(config, capsys):
    assert main(["energy", "--config", str(config), "--ckpt_path", "nowhere.ckpt"]) == 1
    assert "nothing at nowhere.ckpt" in capsys.readouterr().err


def test_info_names_versions_and_backends():
    done = subprocess.run([sys.executable, "-m", "spikeseq", "info"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("spikeseq 0.")
    for word in (f"torch {torch.__version__}", "native", "reference", "numpy"):
        assert word in done.stdout


def test_without_lightning_the_pip_line_is_given():
    code = "import sys; sys.modules['lightning'] = None; from spikeseq.__main__ import main; sys.exit(main(['fit']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: training needs Lightning: pip install 'spikeseq[train]'\n"


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.parametrize("path", [None, "last", "best"])
def test_scores_are_of_a_checkpoint(command, path, config, capsys):
    """Without one, the score would be that of random weights."""
    assert main([command, "--config", str(config), *(["--ckpt_path", path] if path else [])]) == 1
    assert f"error: {command}: expected --ckpt_path with a checkpoint file" in capsys.readouterr().err


def test_fit_says_where_its_checkpoints_are(config, capsys):
    assert main(["fit", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    best = re.search(r"best checkpoint  (.*\.ckpt)", out)
    last = re.search(r"last checkpoint  (.*last\.ckpt)", out)
    assert best
    assert last
    folders = set(Path("runs/digits").iterdir())
    assert main(["test", "--config", str(config), "--ckpt_path", best[1]]) == 0
    assert main(["validate", "--config", str(config), "--ckpt_path", last[1]]) == 0
    assert set(Path("runs/digits").iterdir()) == folders, "a score leaves no folder"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("neuron", "PFR", "unknown neuron 'PFR': expected one of"),
        ("neuron_options", "{taau: 5}", "taau"),
        ("depth", "0", "expected width and depth of at least 1"),
    ],
)
def test_settings_that_the_model_refuses_are_one_line(key, value, message, config, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(config), f"--model.model.init_args.{key}", value])
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert message in errors[0]
