"""SpikingPPO: the chunk buffer holds every step once and unpadded; its states; its settings; what it logs."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import RecurrentPPO

from spikeseq_agents import SpikeStatistics, SpikingPPO
from spikeseq_agents.ppo import chunk_length

from .environments import ACTIONS, DICT, OBSERVATIONS
from .test_policies import CORES, evaluate_rollout, noise, small


def rollout(model: Any) -> Any:
    _, callback = model._setup_learn(10_000)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return model.rollout_buffer


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("neuron", ["PRF", "DSN"])
def test_minibatches_give_the_log_probabilities_of_acting(cores, neuron):
    """Before the first update all ratios are 1, wherever chunks are cut and episodes start."""
    kwargs = {"lstm_kwargs": {"neuron": neuron}, "n_lstm_layers": 2, **CORES[cores]}
    model = small(noise(n_envs=3), cls=SpikingPPO, n_steps=48, batch_size=32, policy_kwargs=kwargs)
    buffer = rollout(model)
    seen = apart = 0
    for batch in buffer.get(32):
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(
                batch.observations, batch.actions.long().flatten(), batch.lstm_states, batch.episode_starts
            )
        wrong = (log_prob - batch.old_log_prob).abs().gt(1e-5) | (values.flatten() - batch.old_values).abs().gt(1e-5)
        apart, seen = apart + int(wrong.sum()), seen + len(wrong)
        assert batch.mask.all()
    assert seen == 3 * 48
    assert apart <= 1e-2 * seen


@settings(max_examples=20)
@given(envs=st.integers(1, 3), chunks=st.integers(1, 4), length=st.integers(1, 8), per_batch=st.integers(1, 5))
def test_every_step_comes_once_in_its_order(envs, chunks, length, per_batch):
    model = small(noise(n_envs=envs), cls=SpikingPPO, n_steps=chunks * length, batch_size=None, chunk_length=length)
    buffer = rollout(model)
    numbers = np.arange(buffer.returns.size).reshape(buffer.returns.shape).astype(np.float32)
    buffer.returns = numbers.copy()
    batches = [batch.returns.numpy().reshape(-1, length) for batch in buffer.get(length * per_batch)]
    found = np.concatenate(batches)
    assert sorted(found.flatten()) == sorted(numbers.flatten())
    assert (np.diff(found, axis=1) == envs).all()  # the next step of the same environment
    assert all(len(batch) == per_batch for batch in batches[:-1])


def test_a_whole_rollout_is_one_minibatch_without_batch_size():
    model = small(noise(), cls=SpikingPPO, batch_size=None)
    assert [len(batch.returns) for batch in rollout(model).get(None)] == [32]


def test_states_at_chunk_beginnings_are_those_of_acting():
    stock, chunked = (
        rollout(small(noise(), cls=cls, n_steps=32, batch_size=8, **options))
        for cls, options in ((RecurrentPPO, {}), (SpikingPPO, {"chunk_length": 8}))
    )
    assert stock.hidden_states_pi.shape[0] == 32
    assert np.array_equal(chunked.hidden_states_pi, stock.hidden_states_pi[::8])
    assert np.array_equal(chunked.cell_states_vf, stock.cell_states_vf[::8])


@pytest.mark.parametrize("cores", CORES)
def test_refreshed_states_follow_the_weights(cores):
    """With the weights of acting they stay; with others they are what those would have come to."""
    options = {"n_steps": 32, "chunk_length": 8, "refresh_states": True, "policy_kwargs": CORES[cores]}
    model = small(noise(), cls=SpikingPPO, **options)
    buffer = rollout(model)
    buffer.prepare()
    before = buffer.hidden_states_pi.copy()
    model._refresh()
    assert np.allclose(buffer.hidden_states_pi, before, atol=1e-5)
    with torch.no_grad():
        for p in model.policy.parameters():
            p.add_(0.1)
    model._refresh()
    assert np.array_equal(buffer.hidden_states_pi[0], before[0])
    assert not np.allclose(buffer.hidden_states_pi[1:], before[1:], atol=1e-3)
    last = buffer.samples(buffer.chunk_of_each_environment(2))
    ends = model.policy.final_states(last.observations, last.lstm_states, last.episode_starts)
    assert np.allclose(buffer.hidden_states_pi[3], ends.pi[0].numpy())
    assert np.allclose(buffer.cell_states_vf[3], ends.vf[1].numpy())


def test_refresh_runs_once_an_epoch_after_the_first():
    model = small(noise(), cls=SpikingPPO, n_epochs=4, refresh_states=True)
    calls = []
    model.rollout_buffer.refresh = lambda: calls.append(1)
    model.learn(32)
    assert len(calls) == 3


@pytest.mark.parametrize("options", [{}, {"refresh_states": True}, {"clip_range_vf": 0.2}, {"target_kl": 1e-6}])
def test_it_learns_on_every_space(options):
    for actions in ACTIONS.values():
        small(noise(actions=actions), cls=SpikingPPO, **options).learn(32)
    for observations in OBSERVATIONS.values():
        small(noise(observations), cls=SpikingPPO, **options).learn(32)
    kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
    small(noise(DICT), "MultiInputSpikingPolicy", SpikingPPO, policy_kwargs=kwargs, **options).learn(32)


def test_save_load_with_another_number_of_environments(tmp_path):
    model = small(noise(), cls=SpikingPPO, chunk_length=8, refresh_states=True).learn(32)
    model.save(tmp_path / "model.zip")
    loaded: Any = SpikingPPO.load(tmp_path / "model.zip", env=noise(n_envs=3), device="cpu")
    assert (loaded.chunk_length, loaded.refresh_states) == (8, True)
    assert loaded.rollout_buffer.refresh is not None
    loaded.learn(48, reset_num_timesteps=False)
    assert loaded.num_timesteps == 32 + 48


def test_chunk_lengths():
    assert chunk_length(128, 256) == 128
    assert chunk_length(2048, 64) == 64
    assert chunk_length(100, None) == 100
    assert chunk_length(128, 256, 32) == 32
    with pytest.warns(UserWarning, match="no common divisor above 4"):
        assert chunk_length(100, 64) == 4
    with pytest.raises(ValueError, match="divide n_steps = 128"):
        chunk_length(128, 256, 48)


def test_it_wants_a_spiking_policy():
    with pytest.raises(ValueError, match="expected a SpikingPolicy"):
        small(noise(), "MlpLstmPolicy", SpikingPPO)


@pytest.mark.parametrize("cores", ["separate", "shared"])
@pytest.mark.parametrize("cls", [RecurrentPPO, SpikingPPO])
def test_rates_and_time_constants_are_logged(cls, cores):
    model = small(noise(), cls=cls, policy_kwargs=CORES[cores])
    model.learn(32, callback=SpikeStatistics() if cls is RecurrentPPO else None, log_interval=100)
    found = {name: value for name, value in model.logger.name_to_value.items() if "spike" in name or "time_c" in name}
    who = ["pi", "vf"] if cores == "separate" else ["pi"]
    kinds = ("spike_rate", "time_constant", "time_constant_max")
    assert set(found) == {f"train/{kind}_{w}" for kind in kinds for w in who}
    assert all(0 < found[f"train/spike_rate_{w}"] < 1 for w in who)
    assert all(1 < found[f"train/time_constant_{w}"] < found[f"train/time_constant_max_{w}"] < 300 for w in who)


def test_the_logged_rate_is_that_of_acting():
    model = small(noise(), cls=SpikingPPO, n_epochs=1, learning_rate=0.0, n_steps=32, batch_size=32)
    spikes: list[Any] = []
    core = model.policy.actor_core
    whole = core.sequence

    def watched(x, state=None, starts=None):
        out, state = whole(x, state, starts)
        if x.shape[1] == 1 and not torch.is_grad_enabled():
            spikes.append(out.mean())
        return out, state

    core.sequence = watched
    model.learn(64, log_interval=100)
    assert model.logger.name_to_value["train/spike_rate_pi"] == pytest.approx(float(torch.stack(spikes[:32]).mean()))


def test_watching_leaves_the_run_as_it_was():
    runs = [small(noise()).learn(64, callback=callback) for callback in (None, SpikeStatistics())]
    assert all(torch.equal(a, b) for a, b in zip(*(run.policy.parameters() for run in runs), strict=True))


def test_one_long_chunk_equals_the_rollout():
    model = small(noise(n_envs=2), cls=SpikingPPO, n_steps=32, batch_size=64)
    buffer = rollout(model)
    _, log_prob = evaluate_rollout(model)
    assert np.allclose(log_prob, buffer.log_probs, atol=1e-5)
