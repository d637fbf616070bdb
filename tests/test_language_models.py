"""Training of language models: scores are what they say, state is carried, vocabularies stay with their weights."""

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from spikeseq.__main__ import main
from spikeseq.blocks import TokenModel
from spikeseq.language import LanguageTask
from spikeseq.neurons import Neuron
from spikeseq.tasks.chunks import Chunks
from spikeseq.tasks.digits import Digits
from spikeseq.tasks.language import Language

CONFIG = Path(__file__).parents[1] / "configs" / "smoke" / "lm.yaml"
LINES = "".join(f"the {word} line, number {i}\n" for i, word in enumerate(["first", "other", "same", "last"] * 30))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(LINES)
    return path


def small(vocabulary=257, **options):
    torch.manual_seed(0)
    return TokenModel(vocabulary, 8, 2, block="ssm", neuron="DSN", norm="layer", **options)


def trainer(folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, **(quiet | options))


def scores(task, data, folder):
    (found,) = trainer(folder).test(task, data, verbose=False)
    return found


def test_chunked_evaluation_is_the_whole_text_and_its_units_are_right(text, tmp_path):
    """Whatever the chunk, the mean over all tokens, each after all of the text before it."""
    model = small()
    task = LanguageTask(model)
    whole = Language(text=text, length=5, batch_size=3).split("test")
    chunk = Chunks(whole, 1, len(whole.tokens))[0]
    with torch.no_grad():
        nll = float(model.eval().nll(chunk.x, chunk.y)[0].mean())
    for length, batch in ((5, 3), (1, 7), (4000, 1)):
        found = scores(task, Language(text=text, length=length, batch_size=batch), tmp_path)
        assert found["test_loss"] == pytest.approx(nll, rel=1e-5)
        assert found["test_perplexity"] == pytest.approx(math.exp(nll), rel=1e-5)
        assert found["test_bits_per_byte"] == pytest.approx(nll / math.log(2), rel=1e-5)
    cut = scores(LanguageTask(model, carry=False), Language(text=text, length=5, batch_size=3), tmp_path)
    assert cut["test_loss"] != pytest.approx(nll, rel=1e-5)


def test_bits_per_byte_of_words_count_the_bytes_of_the_file(text, tmp_path):
    data = Language(text=text, level="words", min_count=5, length=5, batch_size=3)
    found = scores(LanguageTask(small(data.vocabulary.size, cutoffs=[4])), data, tmp_path)
    split = data.split("test")
    total = found["test_loss"] * len(split.tokens) / math.log(2)
    assert found["test_bits_per_byte"] == pytest.approx(total / split.bytes, rel=1e-5)
    assert found["test_perplexity"] == pytest.approx(math.exp(found["test_loss"]), rel=1e-5)


def test_training_carries_state_from_chunk_to_chunk_and_begins_epochs_afresh(text, tmp_path):
    class Seen(LanguageTask):
        def training_step(self, batch, batch_idx):
            neuron = next(m for m in self.model.modules() if isinstance(m, Neuron))
            hook = neuron.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
            loss = super().training_step(batch, batch_idx)
            hook.remove()
            return loss

    def fit(**options):
        states.clear()
        task = Seen(small(), **options)
        trainer(tmp_path, max_epochs=2, enable_checkpointing=False, limit_train_batches=3).fit(task, data)
        return [state is None for state in states]

    states: list = []
    data = Language(text=text, length=8, batch_size=2)
    assert fit() == [True, False, False, True, False, False]
    assert not any(leaf.requires_grad for leaf in states[1])
    assert fit(carry=False) == [True] * 6


def test_a_run_learns_and_resumed_at_an_epochs_end_equals_the_whole_run(text, tmp_path):
    def run(folder, checkpoint=None, seed=0):
        task = LanguageTask(small(dropout=0.2), lr=1e-2, warmup_steps=2)
        seed_everything(seed, verbose=False)
        each = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
        runner = trainer(folder, max_epochs=2, callbacks=[each], num_sanity_val_steps=0, limit_train_batches=30)
        runner.fit(task, Language(text=text, length=16, batch_size=2), ckpt_path=checkpoint, weights_only=True)
        return task.state_dict(), runner.callback_metrics["val_perplexity"]

    whole, perplexity = run(tmp_path / "whole")
    assert perplexity < 100  # 257 at first
    resumed, _ = run(tmp_path / "resumed", str(tmp_path / "whole" / "epoch=0.ckpt"), seed=99)
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not resumed[name].equal(whole[name])] == []
    other, _ = run(tmp_path / "other", seed=99)
    assert any(not other[name].equal(whole[name]) for name in whole)


def test_models_and_data_of_other_vocabularies_do_not_meet(text, tmp_path):
    data = Language(text=text, length=16, batch_size=2)
    with pytest.raises(ValueError, match=r"model: expected vocabulary=257 as the data has, got vocabulary=300"):
        scores(LanguageTask(small(300)), data, tmp_path)
    with pytest.raises(TypeError, match=r"expected a Language data module, got Digits"):
        scores(LanguageTask(small()), Digits(), tmp_path)
    words = tmp_path / "words.txt"
    words.write_text("a b c\n" * 50)
    others = tmp_path / "others.txt"
    others.write_text("a b d\n" * 50)
    seen, unseen = (Language(text=path, level="words", length=4, batch_size=2) for path in (words, others))
    task = LanguageTask(small(seen.vocabulary.size))
    trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1).fit(task, seen)
    (path,) = (tmp_path / "checkpoints").iterdir()
    with pytest.raises(ValueError, match=r"checkpoint: expected the vocabulary that it was trained with"):
        trainer(tmp_path).test(task, unseen, ckpt_path=str(path), weights_only=True)


@pytest.fixture
def config(tmp_path, monkeypatch, text):
    """The smoke config on a text of words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load(CONFIG.read_text())
    settings["data"]["init_args"] |= {"text": str(text)}
    settings["trainer"] |= {"max_epochs": 1, "limit_train_batches": 3}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_fit_test_energy_and_generate_from_the_command_line(config, capsysbinary):
    assert main(["fit", "--config", str(config)]) == 0
    out = capsysbinary.readouterr().out.decode()
    assert re.search(r"epoch 1/1 .*val_bits_per_byte \d.*val_perplexity \d", out)
    best = re.search(r"best checkpoint  (.*val_loss[\d.]+\.ckpt)", out)
    assert best
    run = Path("runs/lm/version_0")
    assert json.loads((run / "vocabulary.json").read_text()) == {"level": "bytes"}
    common = ["--config", str(run / "config.yaml"), "--ckpt_path", best[1]]
    assert main(["test", *common]) == 0
    assert b"test_bits_per_byte" in capsysbinary.readouterr().out
    assert main(["energy", *common]) == 0
    assert b"backbone.layers.0.gate (block)" in capsysbinary.readouterr().out

    written = []
    for seed in ("1", "1", "2"):
        sampling = ["--prompt", "the ", "--tokens", "30", "--temperature", "0.8", "--top_k", "40", "--seed", seed]
        assert main(["generate", *common, *sampling]) == 0
        written.append(capsysbinary.readouterr().out)
    assert written[0].startswith(b"the ")
    assert len(written[0]) == len(b"the ") + 30 + len(b"\n")
    assert written[0] == written[1] != written[2]


def test_generate_says_what_is_missing(config, capsys):
    assert main(["fit", "--config", str(config)]) == 0
    run = Path("runs/lm/version_0")
    common = ["generate", "--config", str(config)]
    last = str(run / "checkpoints" / "last.ckpt")
    (run / "words.json").write_text('{"level": "words", "words": ["a"]}')
    capsys.readouterr()
    for more, message in (
        (["--temperature", "-1"], "expected temperature of at least 0, got -1.0"),
        (
            ["--vocabulary", str(run / "words.json")],
            "words.json: expected the vocabulary that the checkpoint was trained",
        ),
        (["--vocabulary", str(run / "config.yaml")], "config.yaml: expected a vocabulary as spikeseq writes it"),
    ):
        with pytest.raises(SystemExit):
            main([*common, "--ckpt_path", last, *more])
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    (run / "vocabulary.json").unlink()
    capsys.readouterr()
    for arguments, message in (
        (["--ckpt_path", "nowhere.ckpt"], "nothing at nowhere.ckpt"),
        (["--ckpt_path", last], "expected vocabulary.json in runs/lm/version_0, as fit leaves it"),
        (["--ckpt_path", last, "--vocabulary", "no.json"], "nothing at no.json"),
    ):
        assert main([*common, *arguments]) == 1
        assert message in capsys.readouterr().err


def test_predict_points_to_generate(config):
    main(["fit", "--config", str(config)])
    last = "runs/lm/version_0/checkpoints/last.ckpt"
    with pytest.raises(TypeError, match="spikeseq generate"):
        main(["predict", "--config", str(config), "--ckpt_path", last])


def test_two_processes_read_the_streams_of_one(config):
    """The same loss curve at the same global batch; the vocabulary is written once."""

    def losses(name):
        run = Path("runs") / name / "version_0"
        assert (run / "vocabulary.json").is_file()
        rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
        scores = [f"{split}_{score}" for split in ("train", "val") for score in ("loss", "perplexity", "bits_per_byte")]
        return {score: [float(row[score]) for row in rows if row.get(score)] for score in scores}

    common = ["fit", "--config", str(config), "--trainer.precision", "64-true", "--trainer.logger.init_args.name"]
    assert main([*common, "one", "--data.init_args.batch_size", "4"]) == 0
    more = ["two", "--data.init_args.batch_size", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "spikeseq", *common, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = losses("one"), losses("two")
    for name, values in one.items():
        assert len(values) == 1
        assert two[name] == pytest.approx(values, rel=1e-6), name
