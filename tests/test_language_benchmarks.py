"""The benchmarks of language models: the peers keep the interface, windows are fresh, tables hold what was measured."""

import json
import math

import pytest
import torch

from benchmarks import extrapolation, language
from benchmarks.recurrent import RecurrentModel
from spikeseq.blocks import TokenModel
from spikeseq.tasks.chunks import Text

BYTES = b"a line of some words, again and again\n" * 160


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(BYTES)
    return path


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_a_peer_carries_its_state_and_steps(cell):
    torch.manual_seed(0)
    model = RecurrentModel(11, 6, 2, cell).eval()
    x, y = torch.randint(11, (2, 3, 9))
    y[0, 3] = -100
    logits, _ = model(x)
    wanted = -logits.log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0] * (y != -100)
    first, state = model.nll(x[:, :4], y[:, :4])
    second, _ = model.nll(x[:, 4:], y[:, 4:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), wanted)
    state, steps = None, []
    for x_t in x.unbind(1):
        logits_t, state = model.step(x_t, state)
        steps.append(logits_t)
    torch.testing.assert_close(torch.stack(steps, 1), logits)
    with pytest.raises(ValueError, match="expected one document"):
        model.nll(x, y, None, torch.zeros(3, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected one of GRU, LSTM, got 'RNN'"):
        RecurrentModel(11, 6, 2, "RNN")


def test_the_peers_have_as_many_parameters():
    sizes = {name: sum(p.numel() for p in build().parameters()) for name, build in language.models(192, 6).items()}
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes


def test_language_trains_every_model_and_says_what_it_cost(text, capsys):
    language.main(["--data", str(text), "--minutes", "0.002", "--width", "8", "--depth", "3", "--length", "16"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == list(language.models(8, 3))
    for row in rows:
        steps, tokens, bits = int(row[2].replace(",", "")), int(row[3].replace(",", "")), float(row[5].split()[0])
        assert tokens == 16 * 16 * steps
        assert 0 < bits < 9


def test_perplexity_is_of_fresh_windows(monkeypatch):
    monkeypatch.setattr(extrapolation, "LENGTHS", (16, 32))
    torch.manual_seed(0)
    model = TokenModel(257, 8, 1, block="ssm", neuron="LIF")
    tokens = torch.randint(0, 256, (64,), dtype=torch.int32)
    begins = torch.zeros(64, dtype=torch.bool)
    begins[0] = True
    found = extrapolation.perplexity(model, Text(tokens, begins, 256, 64), 16, None)
    x = torch.cat((torch.tensor([256]), tokens[:-1])).view(4, 16)
    with torch.no_grad():
        nll, _ = model.nll(x, tokens.view(4, 16).long())
    assert found == pytest.approx(math.exp(float(nll.mean())), rel=1e-5)
    masked = {"neuron": "MaskedPSN", "neuron_options": {"steps": 32, "order": 4}}
    fixed = TokenModel(257, 8, 1, block="ssm", **masked)
    with torch.no_grad():
        fixed.get_parameter("backbone.layers.0.neuron.weight").mul_(8)  # so that it fires
    whole, short = (extrapolation.perplexity(fixed, Text(tokens, begins, 256, 64), length, 32) for length in (32, 16))
    assert whole != short
    with torch.no_grad():
        nll = fixed.nll(torch.cat((x, x.flip(1)), 1), tokens.view(4, 16).repeat(1, 2).long())[0][:, :16]
    assert short == pytest.approx(math.exp(float(nll.mean())), rel=1e-5)


def test_extrapolation_scores_each_length_and_draws_them(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extrapolation, "LENGTHS", (8, 16, 32))
    monkeypatch.setattr(extrapolation, "TOKENS", 96)
    out = tmp_path / "rows.jsonl"
    common = ["--minutes", "0.002", "--width", "8", "--depth", "1", "--length", "16", "--out", str(out)]
    monkeypatch.setattr(extrapolation, "neurons", lambda length, levels: {
        "LIF": {"levels": levels}, "MaskedPSN": {"levels": levels, "order": 4, "steps": length}})  # fmt: skip
    extrapolation.main(["--data", str(text), *common])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [list(row["perplexity"]) for row in rows] == [["8", "16", "32"], ["8", "16"]]
    assert all(1 < score < 400 for row in rows for score in row["perplexity"].values())
    printed = capsys.readouterr().out
    assert "| MaskedPSN |" in printed
    assert printed.count("- |\n") == 1
    assert out.with_suffix(".png").stat().st_size > 5000
    extrapolation.main(["--out", str(out)])
    assert capsys.readouterr().out == printed
    monkeypatch.setattr(extrapolation, "TOKENS", 100000)
    with pytest.raises(ValueError, match="expected 100000 bytes of held-out text"):
        extrapolation.main(["--data", str(text), "--only", "LIF", *common])
