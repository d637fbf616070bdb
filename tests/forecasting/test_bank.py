"""The spiking convolution bank against its definition; the border from sktime's panels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeseq_forecasting.bank import TAPS, ConvolutionBank, differences
from spikeseq_forecasting.panel import channel_means, read_panel


def by_definition(bank, x, kernel):
    """Rates of one series [time, channels], from the formula of the docstring, for one kernel."""
    views = [x, np.vstack((np.zeros_like(x[:1]), np.diff(x, axis=0)))]
    weights = np.where(np.isin(np.arange(9), TAPS[kernel]), 2.0, -1.0)
    for row, ((view, dilation), signs) in enumerate(zip(bank.plan, bank.signs.numpy(), strict=True)):
        z = views[view] @ signs
        u = [
            sum(w * z[t + (i - 4) * dilation] for i, w in enumerate(weights) if 0 <= t + (i - 4) * dilation < len(z))
            for t in range(len(z))
        ]
        for number, threshold in enumerate(bank.thresholds[row, :, kernel].numpy()):
            yield row, number, np.mean(np.array(u) >= threshold)


@settings(max_examples=25)
@given(time=st.integers(1, 40), channels=st.integers(1, 4), seed=st.integers(0, 99), kernel=st.integers(0, 83))
def test_rates_are_those_of_the_definition(time, channels, seed, kernel):
    torch.manual_seed(seed)
    x = torch.randint(-3, 4, (5, time, channels)).float()  # whole numbers: no rounding on either side
    bank = ConvolutionBank(1000).fit(x, torch.full((5,), time))
    bank.thresholds.round_().add_(0.5)
    rates = bank(x, torch.full((5,), time))
    assert rates.shape == (5, bank.width)
    count = bank.thresholds.shape[1]
    for row, number, rate in by_definition(bank, x[2].numpy(), kernel):
        assert rates[2, (row * count + number) * 84 + kernel].item() == pytest.approx(rate)


@settings(max_examples=25)
@given(time=st.integers(1, 30), channels=st.integers(1, 3), more=st.integers(0, 20), seed=st.integers(0, 99))
def test_padding_and_company_change_nothing(time, channels, more, seed):
    torch.manual_seed(seed)
    lengths = torch.randint(1, time + 1, (6,))
    x = torch.randn(6, time, channels)
    x[torch.arange(time) >= lengths[:, None]] = 0.0
    bank = ConvolutionBank(500).fit(x, lengths)
    padded = torch.cat((x, torch.zeros(6, more, channels)), 1)
    together = bank(padded, lengths)
    for i, length in enumerate(lengths.tolist()):
        assert torch.equal(bank(x[i : i + 1, :length], lengths[i : i + 1])[0], together[i])


def test_thresholds_spread_the_rates():
    x = torch.randn(20, 100, 1)
    rates = ConvolutionBank(5000).fit(x, torch.full((20,), 100))(x, torch.full((20,), 100)).mean(0)
    assert rates.min() < 0.1
    assert rates.max() > 0.9
    assert abs(rates.mean() - 0.5) < 0.05


def test_differences_stop_at_the_end():
    x = torch.tensor([[1.0, 3.0, 0.0]])[..., None]
    assert differences(x, torch.tensor([2])).flatten().tolist() == [0.0, 2.0, 0.0]


def test_a_panel_is_filled_cut_and_masked():
    one = np.array([[np.nan, 1.0, np.nan, 3.0, np.nan], [5.0, np.nan, np.nan, np.nan, np.nan]])
    panel = read_panel(np.stack((one, np.where(np.isnan(one), np.nan, np.nan_to_num(one) + 1)))[:1])
    assert panel.lengths.tolist() == [4]
    assert panel.values[0].T.tolist() == [[1.0, 1.0, 2.0, 3.0], [5.0] * 4]
    assert panel.observed[0].T.tolist() == [[False, True, False, True], [True, False, False, False]]
    assert channel_means(one[None]).tolist() == [2.0, 5.0]


def test_small_movements_far_from_zero_survive():
    values = 1e9 + np.array([0.0, 1.0, 0.0, 2.0])
    panel = read_panel(values[None, None], centre=np.array([1e9]))
    assert panel.values.flatten().tolist() == [0.0, 1.0, 0.0, 2.0]
