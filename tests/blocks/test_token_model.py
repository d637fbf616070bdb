"""Models of the next token: likelihoods, bands of rare tokens, sampling."""

from itertools import islice

import pytest
import torch
from block_laws import LAWS, options, seeds, shapes, used
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from spikeseq.blocks import TokenModel, generate
from spikeseq.blocks.adaptive import AdaptiveEncoder

VOCABULARY = 23


def model(cutoffs: list[int] | None = None, **more: object) -> TokenModel:
    return used(TokenModel(VOCABULARY, 16, 2, cutoffs, **options("LIF", **more)))


cutoffs = st.one_of(
    st.none(), st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=2, unique=True).map(sorted)
)


@LAWS
@given(shapes, seeds, cutoffs, st.sampled_from(["sdtcm", "ssm"]))
def test_nll_is_that_of_the_logits(shape: tuple[int, int], seed: int, bands: list[int] | None, block: str) -> None:
    torch.manual_seed(seed)
    tokens = model(bands, block=block)
    x, y = torch.randint(VOCABULARY, (2, *shape))
    y[torch.rand(shape) < 0.3] = -100
    logits, state = tokens(x)
    if bands is not None:
        torch.testing.assert_close(logits.exp().sum(-1), torch.ones(shape, dtype=torch.float64))
    nll, end = tokens.nll(x, y)
    wanted = -logits.log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(nll, wanted * (y != -100))
    torch.testing.assert_close(end, state)


@LAWS
@given(shapes, seeds, cutoffs)
def test_streaming_and_folding_keep_the_logits(shape: tuple[int, int], seed: int, bands: list[int] | None) -> None:
    torch.manual_seed(seed)
    tokens, x = model(bands, placement="pre"), torch.randint(VOCABULARY, shape)
    whole, _ = tokens(x)
    state, steps = None, []
    for x_t in x.unbind(1):
        logits, state = tokens.step(x_t, state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(tokens.fold()(x)[0], whole, rtol=1e-9, atol=1e-9)


def test_each_token_has_an_embedding_of_its_band_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    encoder = AdaptiveEncoder(VOCABULARY, 16, [4, 9])
    x = torch.arange(VOCABULARY).view(1, -1)
    y = encoder(x)[0]
    for token in range(VOCABULARY):
        band = (token >= 4) + (token >= 9)
        embedding, linear = encoder.bands[band]  # type: ignore[misc]
        assert embedding.weight.shape[1] == 16 // 4**band
        torch.testing.assert_close(y[token], linear(embedding.weight[token - (0, 4, 9)[band]]))
    tokens = model([4, 9]).train()
    tokens.nll(x, x)[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tokens.parameters())


@pytest.mark.parametrize("bands", [[0, 5], [5, 5], [7, 3], [VOCABULARY]])
def test_cutoffs_ascend_within_the_vocabulary(bands: list[int]) -> None:
    with pytest.raises(ValueError, match="cutoffs: expected ascending numbers within"):
        model(bands)


def test_a_band_needs_some_width() -> None:
    with pytest.raises(ValueError, match="expected a width of at least 64 for 3, got 16"):
        model([3, 4, 5])


@pytest.mark.parametrize("bands", [None, [5]])
def test_a_token_out_of_range_is_named(bands: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"expected tokens 0..22.*got 23 at \[batch, time\] = \[0, 1\]"):
        model(bands)(torch.tensor([[1, 23]]))


@given(seeds, st.integers(1, 6), cutoffs)
def test_greedy_generation_is_the_argmax_of_the_whole_pass(seed: int, length: int, bands: list[int] | None) -> None:
    torch.manual_seed(seed)
    tokens, prompt = model(bands), torch.randint(VOCABULARY, (length,))
    written = list(islice(generate(tokens, prompt, temperature=0), 8))
    x = torch.cat((prompt, torch.tensor(written)))
    with torch.no_grad():
        assert written == tokens(x[None])[0][0, length - 1 : -1].argmax(-1).tolist()


def test_draws_follow_the_model_temperature_and_top_k() -> None:
    torch.manual_seed(0)
    tokens, prompt = model(), torch.tensor([3])
    with torch.no_grad():
        logits = tokens(prompt[None])[0][0, -1]
    counts = torch.zeros(VOCABULARY)
    for seed in range(3000):
        counts[next(generate(tokens, prompt, temperature=0.7, top_k=5, seed=seed))] += 1
    wanted = torch.zeros(VOCABULARY)
    best = logits.topk(5).indices
    wanted[best] = (logits[best] / 0.7).softmax(-1).float()
    assert not counts[wanted == 0].any()
    deviation = (3000 * wanted * (1 - wanted)).sqrt()
    assert ((counts - 3000 * wanted).abs() <= 4.5 * deviation).all()


def test_a_seed_repeats_and_another_differs() -> None:
    torch.manual_seed(0)
    tokens, prompt = model(), torch.tensor([3])
    first, again, other = (list(islice(generate(tokens, prompt, seed=seed), 30)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_generation_reads_the_prompt_once_and_then_keeps_no_past() -> None:
    torch.manual_seed(0)
    tokens, sizes, passes = model(block="ssm"), [], []
    tokens.register_forward_hook(lambda *_: passes.append(1))
    step = tokens.step

    def counted(x_t: torch.Tensor, state: object) -> object:
        assert x_t.shape == (1,)
        leaves = pytree.tree_leaves(state)
        sizes.append(sum(t.numel() for t in leaves if isinstance(t, torch.Tensor)))
        return step(x_t, state)  # type: ignore[arg-type]

    tokens.step = counted  # type: ignore[method-assign]
    list(islice(generate(tokens, torch.randint(VOCABULARY, (7,))), 40))
    assert passes == [1]
    assert len(sizes) == 39
    assert len(set(sizes)) == 1
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature of at least 0, got -1.0"),
        ({"temperature": float("nan")}, "temperature of at least 0, got nan"),
        ({"top_k": 0}, "top_k of at least 1"),
        ({"prompt": torch.empty(0, dtype=torch.long)}, r"at least one token, got \[0\]"),
    ],
)
def test_generation_refuses_at_once(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(model(), **{"prompt": torch.tensor([1]), **arguments})
