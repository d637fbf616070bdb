"""Energy of a decision and the actor's spikes, on the observations of an episode."""

from typing import Any

import numpy as np
import pytest
import torch

from spikeseq.energy import ACCUMULATE, MAC, MULTIPLY
from spikeseq_agents.decisions import energy_per_decision, spikes

from .environments import DICT
from .test_policies import noise, small

OBSERVATIONS = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)


def test_the_energy_is_that_of_the_actor_counted_by_hand():
    model = small(noise(), policy_kwargs={"net_arch": []})
    rate = float(spikes(model.policy, OBSERVATIONS)["lstm_actor.layers.0"].mean())
    assert 0 < rate < 1
    joule, report = energy_per_decision(model.policy, OBSERVATIONS)
    mixer = MAC * 3 * 8 + ACCUMULATE * 8  # 3 values to 8 neurons, and the bias
    neurons = MULTIPLY * 5 * 8 + ACCUMULATE * 3 * 8
    actions = ACCUMULATE * (rate * 8 * 3 + 3)  # spikes to 3 logits, and the bias
    assert joule == pytest.approx(mixer + neurons + actions, rel=1e-6)
    assert report.steps == 30


def test_one_observation_counts_too():
    model = small(noise(), policy_kwargs={"net_arch": []})
    assert torch.equal(spikes(model.policy, OBSERVATIONS[:1])["lstm_actor.layers.0"],
                       spikes(model.policy, OBSERVATIONS)["lstm_actor.layers.0"][:1])  # fmt: skip
    one, several = (energy_per_decision(model.policy, OBSERVATIONS[:n])[1] for n in (1, 2))
    assert [row.name for row in one.rows] == [row.name for row in several.rows]


@pytest.mark.parametrize("core", [{"neuron": "LIF"}, {"neuron": "DSN"}, {"sdtcm": {}}])
def test_spikes_are_those_of_acting(core):
    model = small(noise(), policy_kwargs={"n_lstm_layers": 2, "lstm_kwargs": core})
    layers = spikes(model.policy, OBSERVATIONS)
    assert list(layers) == ["lstm_actor.layers.0", "lstm_actor.layers.1"]
    acted: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    state: Any = None
    for name, into in acted.items():
        neuron = model.policy.get_submodule(name).neuron
        neuron.step = watched(neuron.step, into)
    for obs in OBSERVATIONS:
        _, state = model.predict(obs[None], state=state, deterministic=True)
    for name, into in acted.items():
        assert (torch.cat(into) == layers[name]).float().mean() > 0.99
        assert layers[name].mean() > 0


def watched(step, into):
    def call(x, state=None):
        out, state = step(x, state)
        into.append(out.clone())
        return out, state

    return call


def test_a_membrane_readout_is_no_spike():
    model = small(noise(), policy_kwargs={"n_lstm_layers": 2, "lstm_kwargs": {"readout": "membrane"}})
    assert list(spikes(model.policy, OBSERVATIONS)) == ["lstm_actor.layers.0"]


def test_dictionaries_have_spikes_but_no_count():
    kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
    model: Any = small(noise(DICT), "MultiInputSpikingPolicy", policy_kwargs=kwargs)
    steps = [DICT.sample() for _ in range(4)]
    observations = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
    assert spikes(model.policy, observations)["lstm_actor.layers.0"].shape == (4, 8)
    with pytest.raises(ValueError, match="one array of observations"):
        energy_per_decision(model.policy, observations)  # pyright: ignore[reportArgumentType]


def test_other_policies_are_refused():
    with pytest.raises(ValueError, match="expected a SpikingPolicy"):
        spikes(small(noise(), "MlpLstmPolicy").policy, OBSERVATIONS)
