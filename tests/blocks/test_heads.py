"""Laws of whole models: counts, pooling, streaming, folding, doors."""

import copy
from typing import Any

import pytest
import torch
from block_laws import LAWS, neurons, options, seeds, shapes, used
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from spikeseq.blocks import PairClassifier, SequenceClassifier, TokenModel

places = st.sampled_from(["pre", "post"])


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def classifier(neuron: str = "PRF", tokens: bool = False, **more: Any) -> SequenceClassifier:
    source: dict[str, Any] = {"vocabulary": 11} if tokens else {"inputs": 2}
    return used(SequenceClassifier(**source, classes=3, width=6, depth=2, **options(neuron, **more)))


def draw(shape: tuple[int, int], tokens: bool = False) -> Tensor:
    return torch.randint(0, 11, shape) if tokens else torch.randn(*shape, 2, dtype=torch.float64) * 2


def test_published_parameter_counts() -> None:
    """PRF paper (arXiv 2410.03530), App. H: ListOps, Text, Retrieval, Pathfinder; and the sMNIST model of 167k."""
    listops = SequenceClassifier(vocabulary=20, classes=10, width=128, depth=8, placement="post")
    assert parameters(listops) == 272_146
    assert parameters(SequenceClassifier(vocabulary=135, classes=2, width=256, depth=6)) == 831_240
    assert parameters(PairClassifier(vocabulary=100, classes=2, width=256, depth=6)) == 1_084_680
    pathfinder = SequenceClassifier(vocabulary=256, classes=2, width=256, depth=6, bidirectional=True)
    assert parameters(pathfinder) == 1_258_504
    smnist = SequenceClassifier(
        inputs=1, classes=10, width=200, depth=4, channel_mixer=False, neuron_options={"train_tau": True}
    )
    assert round(parameters(smnist) / 1000) == 168  # 4 * (3*200 + 200*201 + 400) + 400 + 400 + 2010 = 167,610


@LAWS
@given(shapes, seeds, neurons, st.booleans(), places)
def test_streaming_gives_the_logits_of_every_prefix(
    shape: tuple[int, int], seed: int, neuron: str, tokens: bool, place: str
) -> None:
    torch.manual_seed(seed)
    model, x = classifier(neuron, tokens, placement=place), draw(shape, tokens)
    state = None
    for t, x_t in enumerate(x.unbind(1)):
        logits, state = model.step(x_t, state)
        torch.testing.assert_close(logits, model(x[:, : t + 1]))


def test_streaming_in_float32_stays_close_over_a_long_sequence() -> None:
    torch.manual_seed(0)
    model, x = classifier("PRF").float(), draw((2, 2000)).float()
    state = model.initial_state(2)
    logits = torch.empty(0)
    for x_t in x.unbind(1):
        logits, state = model.step(x_t, state)
    # a spike that rounding flips moves a mean over 2,000 steps by about 1e-3 at most
    torch.testing.assert_close(logits, model(x), rtol=1e-3, atol=1e-3)
    assert state.steps.tolist() == [2000, 2000]


@LAWS
@given(shapes, seeds, neurons, st.booleans(), st.booleans(), places)
def test_logits_alone_are_logits_in_a_padded_batch(
    shape: tuple[int, int], seed: int, neuron: str, tokens: bool, both: bool, place: str
) -> None:
    torch.manual_seed(seed)
    model = classifier(neuron, tokens, bidirectional=both, placement=place)
    x, lengths = draw(shape, tokens), torch.randint(1, shape[1] + 1, shape[:1])
    logits = model(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(logits[row], model(x[row : row + 1, :length])[0])


@LAWS
@given(shapes, seeds, neurons, st.booleans(), st.booleans(), places, st.booleans())
def test_folding_changes_no_logit(
    shape: tuple[int, int], seed: int, neuron: str, tokens: bool, both: bool, place: str, outer: bool
) -> None:
    torch.manual_seed(seed)
    model = classifier(neuron, tokens, bidirectional=both, placement=place, outer_residual=outer)
    x, lengths = draw(shape, tokens), torch.randint(1, shape[1] + 1, shape[:1])
    folded = model.fold()
    torch.testing.assert_close(folded(x, lengths), model(x, lengths), rtol=1e-9, atol=1e-9)
    if place == "pre" and not outer:
        assert isinstance(folded.backbone.blocks()[0].norm, nn.Identity)
    assert isinstance(folded.backbone.final_norm, nn.Identity)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_folding_the_other_models(place: str) -> None:
    torch.manual_seed(0)
    tokens = used(TokenModel(11, 6, 2, **options("LIF", placement=place)))
    x = torch.randint(0, 11, (2, 9))
    torch.testing.assert_close(tokens.fold()(x)[0], tokens(x)[0])
    pairs = used(PairClassifier(vocabulary=11, classes=2, width=6, depth=2, **options("LIF", placement=place)))
    x = torch.randint(0, 11, (3, 2, 9))
    torch.testing.assert_close(pairs.fold()(x), pairs(x))


def test_token_model_streams_and_carries() -> None:
    torch.manual_seed(0)
    model = used(TokenModel(11, 6, 2, **options("DSN")))
    x = torch.randint(0, 11, (2, 12))
    whole, end = model(x)
    assert whole.shape == (2, 12, 11)
    first, state = model(x[:, :5])
    rest = []
    for x_t in x[:, 5:].unbind(1):
        logits, state = model.step(x_t, state)
        rest.append(logits)
    torch.testing.assert_close(torch.cat((first, torch.stack(rest, 1)), 1), whole)
    torch.testing.assert_close(state, end)


def test_pairs_are_two_documents_pooled_apart() -> None:
    torch.manual_seed(0)
    model = used(PairClassifier(vocabulary=11, classes=2, width=6, depth=2, **options("PRF")))
    x, lengths = torch.randint(0, 11, (3, 2, 9)), torch.randint(1, 10, (3, 2))
    logits = model(x, lengths)
    for row in range(3):
        a, b = (model.backbone(model.encoder(x[row, i : i + 1, : lengths[row, i]]))[0].mean(1)[0] for i in (0, 1))
        expected = model.head(F.gelu(model.compare(torch.cat((a, b, a - b, a * b)))))
        torch.testing.assert_close(logits[row], expected)


@pytest.mark.parametrize("tokens", [False, True])
def test_every_parameter_learns_and_copies_survive(tokens: bool) -> None:
    torch.manual_seed(0)
    model = classifier(tokens=tokens).train()
    x = draw((6, 20), tokens)
    F.cross_entropy(model(x, torch.randint(2, 21, (6,))), torch.arange(6) % 3).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    copied, loaded = copy.deepcopy(model).eval(), classifier(tokens=tokens)
    loaded.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(x), model.eval()(x))
    torch.testing.assert_close(loaded(x), model(x))


@pytest.mark.parametrize("tokens", [False, True])
def test_bfloat16_autocast(tokens: bool) -> None:
    torch.manual_seed(0)
    model = classifier(tokens=tokens).float().train()
    x = draw((4, 30), tokens)
    x = x if tokens else x.float()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(x)
        F.cross_entropy(logits, torch.arange(4) % 3).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        close = model(x)
    assert close.isfinite().all()
    # bfloat16 keeps 8 bits; flipped near-threshold spikes add to that
    torch.testing.assert_close(close.float(), model(x), rtol=0.1, atol=0.1)


def test_residual_stream_stays_float32_under_autocast() -> None:
    model = classifier().float()
    dtypes = []
    model.backbone.final_norm.register_forward_pre_hook(lambda _module, inputs: dtypes.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(draw((2, 5)).float())
    assert dtypes == [torch.float32]


@pytest.mark.parametrize(
    ("tokens", "x", "error", "message"),
    [
        (False, torch.zeros(2, 5, 2, dtype=torch.long), TypeError, "expected floating values, got .*int64"),
        (False, torch.zeros(2, 5), ValueError, r"expected \[batch, time, inputs = 2\].*got \(2, 5\)"),
        (False, torch.zeros(2, 5, 3), ValueError, r"expected 2 values a step, got \(2, 5, 3\)"),
        (False, torch.zeros(0, 5, 2), ValueError, r"each at least 1, got \(0, 5, 2\)"),
        (False, torch.tensor([[[0.0, 1.0], [0.0, float("nan")]]]), ValueError, r"finite.*nan.*\[0, 1, 1\]"),
        (True, torch.zeros(2, 5), TypeError, "expected integer tokens, got .*float32"),
        (True, torch.tensor([[1, 2], [3, 11]]), ValueError, r"tokens 0..10 .*got 11 at \[batch, time\] = \[1, 1\]"),
        (True, torch.tensor([[1, -1]]), ValueError, r"got -1 at \[batch, time\] = \[0, 1\]"),
        (True, torch.zeros(2, 5, 1, dtype=torch.long), ValueError, r"expected \[batch, time\].*got \(2, 5, 1\)"),
        (True, [[1, 2]], TypeError, "expected a tensor .*got list"),
    ],
)
def test_the_door_names_what_is_wrong(tokens: bool, x: Any, error: type[Exception], message: str) -> None:
    model = classifier(tokens=tokens).float()
    with pytest.raises(error, match=message):
        model(x)


def test_the_door_checks_lengths_states_and_arguments() -> None:
    model = classifier(tokens=True)
    x = draw((2, 5), True)
    with pytest.raises(ValueError, match=r"expected 1..5 .*got 6 in row 1"):
        model(x, torch.tensor([1, 6]))
    _, state = model.step(x[:, 0])
    with pytest.raises(ValueError, match=r"expected batch 1 .*got batch 2"):
        model.step(x[:1, 0], state)
    with pytest.raises(TypeError, match=r"expected the PooledState .*got tuple"):
        model.step(x[:, 0], ())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"exactly one of inputs .*inputs=1, vocabulary=2"):
        SequenceClassifier(1, 2, classes=2, width=4, depth=1)
    with pytest.raises(ValueError, match=r"classes: expected at least 1, got 0"):
        SequenceClassifier(1, classes=0, width=4, depth=1)
    with pytest.raises(RuntimeError, match=r"bidirectional"):
        classifier(bidirectional=True).step(draw((2, 1))[:, 0])
    pairs = PairClassifier(vocabulary=11, classes=2, width=4, depth=1)
    with pytest.raises(ValueError, match=r"expected 2 documents .*got \[2, 3, 5\]"):
        pairs(torch.zeros(2, 3, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\[batch, 2\] = \[2, 2\], got \[2\]"):
        pairs(torch.zeros(2, 2, 5, dtype=torch.long), torch.tensor([1, 2]))


@pytest.mark.parametrize("neuron", ["PSN", "MaskedPSN"])
def test_a_neuron_that_sees_the_future_cannot_stream(neuron: str) -> None:
    settings = {"steps": 8} if neuron == "PSN" else {"steps": 8, "order": 2}
    model = SequenceClassifier(inputs=2, classes=3, width=6, depth=1, neuron=neuron, neuron_options=settings).eval()
    assert model(torch.rand(1, 8, 2)).shape == (1, 3)
    with pytest.raises(TypeError, match=f"{neuron} has no serial form"):
        model.step(torch.rand(1, 2))


def test_a_classifier_is_built_from_plain_settings_and_refuses_unknown_ones() -> None:
    """As from YAML: `options` are known by name to jsonargparse, although they pass through two constructors."""
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SequenceClassifier, "model")
    plain = {"inputs": 1, "classes": 2, "width": 4, "depth": 1, "dropout": 0.1}
    settings = {"model": {**plain, "neuron": "LIF", "neuron_options": {"decay": 0.7}, "bidirectional": True}}
    model = parser.instantiate(parser.parse_object(settings)).model
    block = model.backbone.blocks()[0]
    assert (type(block.neuron).__name__, block.bidirectional, block.dropout.p) == ("LIF", True, 0.1)
    with pytest.raises(jsonargparse.ArgumentError, match="dropot"):
        parser.parse_object({"model": {**plain, "dropot": 0.1}})
