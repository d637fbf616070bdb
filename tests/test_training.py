"""Training: parameter groups, schedule, metrics, checkpoints that any run can resume from exactly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.nn import functional as F

from spikeseq.blocks import PairClassifier, SequenceClassifier
from spikeseq.neurons import Neuron
from spikeseq.tasks.digits import Digits
from spikeseq.training import SequenceTask, Training, parameter_groups, warmup_cosine


def small(**options):
    torch.manual_seed(1)
    return SequenceClassifier(inputs=1, classes=10, width=8, depth=2, neuron="PRF", **options)


def trainer(folder, **options):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_a_task_has_to_say_what_its_model_takes():
    with pytest.raises(NotImplementedError, match="Training says not what its model takes of a batch"):
        Training(small()).model_inputs((torch.zeros(1, 4, 1), torch.zeros(1)))


def test_each_parameter_is_in_the_group_it_belongs_to():
    model = small(neuron_options={"train_tau": True})
    groups = {g["name"]: g for g in parameter_groups(model, lr=0.1, neuron_lr=0.01, weight_decay=0.5)}
    names = {id(p): name for name, p in model.named_parameters()}
    found = {key: {names[id(p)] for p in group["params"]} for key, group in groups.items()}

    assert sorted(n for part in found.values() for n in part) == sorted(names.values())
    neurons = {name: module for name, module in model.named_modules() if isinstance(module, Neuron)}
    owned = {f"{name}.{p}" for name, module in neurons.items() for p, _ in module.named_parameters()}
    assert found["neurons"] == owned
    assert {n.rsplit(".", 1)[-1] for n in owned} == {"log_dt", "log_theta", "log_tau"}
    assert all(model.get_parameter(n).ndim >= 2 for n in found["decay"])
    assert {n for n in found["no_decay"] if "bias" in n or "norm" in n or "log_alpha" in n} == found["no_decay"]
    settings = {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()}
    assert settings == {"neurons": (0.01, 0.0), "no_decay": (0.1, 0.0), "decay": (0.1, 0.5)}


def test_frozen_parameters_and_empty_groups_are_left_out():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False))
    model[0].requires_grad_(False)
    (group,) = parameter_groups(model, 0.1, 0.01, 0.5)
    assert group["name"] == "decay"
    assert group["params"][0] is model[1].weight


@given(st.integers(0, 50), st.integers(1, 200))
def test_warmup_rises_linearly_and_cosine_falls_to_zero(warmup, length):
    total = warmup + length
    factors = [warmup_cosine(step, warmup, total) for step in range(total + 1)]
    steps = [b - a for a, b in zip(factors[: warmup + 1], factors[1 : warmup + 1], strict=False)]
    assert steps == pytest.approx([1 / (warmup + 1)] * warmup)
    assert factors[warmup] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert all(b < a for a, b in zip(factors[warmup:], factors[warmup + 1 :], strict=False))
    half = warmup_cosine(warmup + length, warmup, warmup + 2 * length)
    assert half == pytest.approx(0.5)


def test_the_schedule_runs_over_the_trainers_steps_for_all_groups(tmp_path):
    task = SequenceTask(small(), lr=0.1, neuron_lr=0.01, warmup_steps=2)
    seen = []
    task.on_train_batch_start = lambda *_: seen.append([g["lr"] for g in task.trainer.optimizers[0].param_groups])  # type: ignore
    trainer(tmp_path, max_epochs=2, limit_train_batches=3, limit_val_batches=0, enable_checkpointing=False).fit(
        task, Digits()
    )
    expected = [warmup_cosine(step, 2, 6) for step in range(6)]
    assert seen == [pytest.approx([0.01 * f, 0.1 * f, 0.1 * f]) for f in expected]


def test_a_run_without_an_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give the trainer max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1, enable_checkpointing=False).fit(SequenceTask(small()), Digits())


def test_negative_warmup_is_refused():
    with pytest.raises(ValueError, match="warmup_steps"):
        SequenceTask(small(), warmup_steps=-1)


def test_logged_metrics_are_means_over_items_not_batches(tmp_path):
    """360 validation items in batches of 64 leave a short batch, which must weigh less."""
    task, data = SequenceTask(small(), label_smoothing=0.1), Digits(batch_size=64)
    (logged,) = trainer(tmp_path).validate(task, data, verbose=False)
    batches = list(data.val_dataloader())
    assert len({len(y) for _, y in batches}) == 2
    with torch.no_grad():
        logits = torch.cat([task.eval()(x) for x, _ in batches])
    y = torch.cat([y for _, y in batches])
    assert logged["val_accuracy"] == pytest.approx(float((logits.argmax(-1) == y).float().mean()))
    assert logged["val_loss"] == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-5)


def test_label_smoothing_is_for_training_alone():
    task = SequenceTask(small().eval(), label_smoothing=0.5)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    x, y = torch.rand(4, 16, 1), torch.arange(4)
    logits = task(x)
    assert task.training_step((x, y), 0) == F.cross_entropy(logits, y, label_smoothing=0.5)
    assert task._score((x, y), "val") == F.cross_entropy(logits, y)


def test_batches_with_lengths_reach_the_model():
    task = SequenceTask(small().eval())
    x, lengths = torch.rand(3, 10, 1), torch.tensor([10, 4, 7])
    longer = F.pad(x, (0, 0, 0, 5))
    probabilities = task.predict_step((x, lengths, torch.zeros(3)), 0)
    assert torch.allclose(probabilities.sum(-1), torch.ones(3))
    assert torch.allclose(probabilities, task.predict_step((longer, lengths, torch.zeros(3)), 0), atol=1e-6)
    pairs = SequenceTask(PairClassifier(vocabulary=5, classes=2, width=8, depth=1))
    documents, both = torch.randint(5, (3, 2, 9)), torch.tensor([[9, 2], [3, 9], [1, 1]])
    assert pairs.predict_step((documents, both, torch.zeros(3)), 0).shape == (3, 2)


def test_checkpoints_load_with_weights_only_and_carry_the_model(tmp_path):
    task = SequenceTask(small())
    fit = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    fit.fit(task, Digits())
    path = next(tmp_path.rglob("*.ckpt"))
    checkpoint = torch.load(path, weights_only=True)
    again = SequenceTask(small())
    again.load_state_dict(checkpoint["state_dict"])
    assert all(a.equal(b) for a, b in zip(task.state_dict().values(), again.state_dict().values(), strict=True))


class KilledAt(Callback):
    """Ends the process as a power cut would: in epoch 1, after 2 of its 4 batches."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        if trainer.current_epoch == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def run(folder, *callbacks, checkpoint=None, seed=2):
    """Three epochs that depend on all a checkpoint must hold: dropout, batch order, AdamW, schedule, batch norm."""
    keep = ModelCheckpoint(folder, save_last=True)
    task = SequenceTask(small(dropout=0.3), warmup_steps=3, weight_decay=0.1)
    torch.manual_seed(seed)
    trainer(folder, max_epochs=3, limit_train_batches=4, limit_val_batches=1, callbacks=[keep, *callbacks]).fit(
        task, Digits(), ckpt_path=checkpoint, weights_only=True
    )
    return {name: value.clone() for name, value in task.state_dict().items()}


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is the run to resume
def test_a_killed_and_resumed_run_equals_the_whole_run_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole")
    code = (
        "import sys, pathlib, torch; sys.path.insert(0, sys.argv[1]); torch.set_num_threads(1)\n"
        "torch.use_deterministic_algorithms(True)\n"
        "from test_training import KilledAt, run; run(pathlib.Path(sys.argv[2]), KilledAt())\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "cut")]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    last = tmp_path / "cut" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0

    resumed = run(tmp_path / "cut", checkpoint=last, seed=99)
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not resumed[name].equal(whole[name])] == []


@pytest.mark.parametrize("step", [2, 6])
def test_a_run_resumed_in_mid_epoch_equals_the_whole_run_bit_for_bit(step, tmp_path):
    """Of 4 batches an epoch; the checkpoint knows which of them it has seen."""

    def keep(folder):
        return ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1, filename="{step}")

    whole = run(tmp_path / "whole", keep(tmp_path / "steps"))
    checkpoint = tmp_path / "steps" / f"step={step}.ckpt"
    resumed = run(tmp_path / "resumed", keep(tmp_path / "others"), checkpoint=checkpoint, seed=99)
    assert [name for name in whole if not resumed[name].equal(whole[name])] == []


def test_the_resume_test_can_fail(tmp_path):
    """Another random state for dropout gives other weights, so equality above says something."""
    first, second = run(tmp_path / "a", seed=2), run(tmp_path / "b", seed=3)
    assert any(not first[name].equal(second[name]) for name in first)
