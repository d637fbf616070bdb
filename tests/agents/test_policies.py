"""The policies in sb3-contrib's RecurrentPPO: equality of training and acting, spaces, saving, everyday tools."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

import spikeseq_agents
from spikeseq_agents import SpikingPolicy, SpikingPPO

from .environments import ACTIONS, DICT, IMAGE, OBSERVATIONS, Noise

SMALL = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"}
CORES = {
    "separate": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "none": {"enable_critic_lstm": False},
    "two extractors": {"share_features_extractor": False},
}


def small(env: Any, policy: Any = "SpikingPolicy", cls: Any = RecurrentPPO, **kwargs: Any) -> Any:
    options = {"lstm_hidden_size": 8, **kwargs.pop("policy_kwargs", {})}
    return cls(policy, env, policy_kwargs=options, **{**SMALL, **kwargs})


def noise(observations=OBSERVATIONS["box"], actions=ACTIONS["discrete"], n_envs=2, **kwargs):
    return make_vec_env(lambda: Noise(observations, actions), n_envs=n_envs, seed=0, **kwargs)


def evaluate_rollout(model):
    """The rollout that the model holds, in one parallel pass: values and log-probabilities [steps, envs]."""
    buffer, policy = model.rollout_buffer, model.policy
    steps, envs = buffer.buffer_size, buffer.n_envs

    def batch_first(array):
        return torch.as_tensor(array).transpose(0, 1).flatten(0, 1)

    names = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
    pi_a, pi_b, vf_a, vf_b = (torch.as_tensor(getattr(buffer, name)[0]) for name in names)
    states = RNNStates((pi_a, pi_b), (vf_a, vf_b))
    actions = batch_first(buffer.actions)
    if isinstance(model.action_space, spaces.Discrete):
        actions = actions.long().flatten()
    with torch.no_grad():
        values, log_prob, _ = policy.evaluate_actions(
            batch_first(buffer.observations), actions, states, batch_first(buffer.episode_starts)
        )
    return (x.reshape(envs, steps).transpose(0, 1).numpy() for x in (values, log_prob))


@pytest.mark.parametrize(
    ("neuron", "cores"),
    [*(("PRF", cores) for cores in CORES), ("LIF", "none"), ("DSN", "none"), ("PRF in SD-TCM", "separate")],
)
def test_training_sees_the_log_probabilities_of_acting(neuron, cores):
    """20 rollouts with starts anywhere; both passes are float32, a flip at the threshold is counted, not forbidden."""
    core = {"neuron": neuron[:3], **({"sdtcm": {}} if neuron.endswith("SD-TCM") else {})}
    kwargs = {"n_lstm_layers": 2, "lstm_kwargs": core, **CORES[cores]}
    model = small(noise(n_envs=4), policy_kwargs=kwargs, n_steps=32)
    _, callback = model._setup_learn(10_000)
    apart, seen = 0, 0
    for _ in range(20):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, 32)
        values, log_prob = evaluate_rollout(model)
        wrong = np.abs(log_prob - model.rollout_buffer.log_probs) > 1e-5
        wrong |= np.abs(values - model.rollout_buffer.values) > 1e-5
        apart, seen = apart + int(wrong.sum()), seen + wrong.size
        assert model.rollout_buffer.episode_starts[1:].any()
    assert apart <= 1e-3 * seen


@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_observation_spaces(observations):
    model = small(noise(OBSERVATIONS[observations])).learn(32)
    evaluate_policy(model, noise(OBSERVATIONS[observations]), n_eval_episodes=2)


@pytest.mark.parametrize("actions", ACTIONS)
def test_action_spaces(actions):
    small(noise(actions=ACTIONS[actions])).learn(32)


@pytest.mark.parametrize(("policy", "space"), [("CnnSpikingPolicy", IMAGE), ("MultiInputSpikingPolicy", DICT)])
@pytest.mark.parametrize("cores", CORES)
def test_images_and_dictionaries(policy, space, cores):
    extractor = {"features_dim": 8} if policy.startswith("Cnn") else {"cnn_output_dim": 8}
    model = small(noise(space), policy, policy_kwargs={"features_extractor_kwargs": extractor, **CORES[cores]})
    model.learn(32)


@pytest.mark.parametrize("cls", [RecurrentPPO, SpikingPPO])
@pytest.mark.parametrize("squash", [False, True])
def test_state_dependent_exploration(squash, cls):
    env = noise(actions=ACTIONS["box"])
    small(env, cls=cls, use_sde=True, sde_sample_freq=4, policy_kwargs={"squash_output": squash}).learn(64)


@pytest.mark.parametrize("policy", ["MultiInputSpikingPolicy", "SpikingPolicy"])
def test_the_wrong_policy_for_the_space_is_named(policy):
    space = DICT if policy == "SpikingPolicy" else OBSERVATIONS["box"]
    with pytest.raises(ValueError, match="MultiInputSpikingPolicy"):
        small(noise(space), policy)


def test_an_unsupported_space_is_named():
    box = OBSERVATIONS["box"]
    with pytest.raises(ValueError, match="expected observations of Box"):
        SpikingPolicy(spaces.Tuple((box, box)), ACTIONS["discrete"], lambda _: 1e-3)


def test_nan_observations_are_named():
    class Broken(Noise):
        def step(self, action):
            obs, *rest = super().step(action)
            return np.full_like(obs, np.nan), *rest

    with pytest.raises(ValueError, match="finite features, got nan"):
        small(make_vec_env(lambda: Broken(OBSERVATIONS["box"]))).learn(16)


def test_the_optimizer_holds_all_parameters():
    policy = small(noise()).policy
    held = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in policy.parameters()}
    assert not any(isinstance(module, torch.nn.LSTM) for module in policy.modules())


def test_learning_moves_every_parameter():
    model = small(noise(), n_steps=32)
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    model.learn(256)
    assert [name for name, p in model.policy.named_parameters() if torch.equal(p, before[name])] == []


def act(model, observations):
    state, start, actions = None, np.ones(2, bool), []
    for obs in observations:
        action, state = model.predict(obs, state=state, episode_start=start, deterministic=True)
        start = np.zeros(2, bool)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize("cores", CORES)
def test_saved_and_loaded_acts_the_same(tmp_path, cores):
    core = {"neuron": "DSN", "sdtcm": {} if cores == "shared" else None}
    kwargs = {"n_lstm_layers": 2, "lstm_kwargs": core, **CORES[cores]}
    model = small(noise(actions=ACTIONS["box"]), policy_kwargs=kwargs).learn(32)
    observations = np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32)
    expected = act(model, observations)
    model.save(tmp_path / "model.zip")
    assert np.array_equal(act(RecurrentPPO.load(tmp_path / "model.zip"), observations), expected)
    model.policy.save(str(tmp_path / "policy.pth"))
    policy = SpikingPolicy.load(str(tmp_path / "policy.pth"), device="cpu")
    assert np.array_equal(act(policy, observations), expected)


def test_loading_with_another_number_of_environments_and_learning_on(tmp_path):
    small(noise()).learn(32).save(tmp_path / "model.zip")
    model = RecurrentPPO.load(tmp_path / "model.zip", env=noise(n_envs=3), device="cpu")
    model.learn(48, reset_num_timesteps=False)
    assert model.num_timesteps == 32 + 48


def test_resumed_from_a_checkpoint_file(tmp_path):
    """CheckpointCallback's file holds what a killed run needs: weights, optimizer, steps done."""
    model = small(noise()).learn(64, callback=CheckpointCallback(16, str(tmp_path), "run"))
    files = sorted(tmp_path.glob("run_*_steps.zip"))
    assert files
    resumed = RecurrentPPO.load(tmp_path / "run_64_steps.zip", env=noise(), device="cpu")
    assert resumed.num_timesteps == 64
    assert resumed.policy.optimizer.state_dict()["state"]
    resumed.learn(32, reset_num_timesteps=False)
    assert resumed.num_timesteps == 96
    assert model.num_timesteps == 64


def test_a_model_of_another_architecture_is_refused(tmp_path):
    small(noise()).save(tmp_path / "spiking.zip")
    wide = small(noise(), policy_kwargs={"lstm_hidden_size": 16})
    with pytest.raises(ValueError, match="another architecture"):
        wide.set_parameters(str(tmp_path / "spiking.zip"), device="cpu")
    small(noise(), "MlpLstmPolicy").save(tmp_path / "lstm.zip")
    with pytest.raises(ValueError, match="LSTM policy"):
        wide.set_parameters(str(tmp_path / "lstm.zip"), device="cpu")


def test_one_seed_gives_one_run():
    first, second = (small(noise()).learn(64) for _ in range(2))
    pairs = zip(first.policy.parameters(), second.policy.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_everyday_tools(tmp_path):
    train = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=0, vec_env_cls=SubprocVecEnv))
    test = VecNormalize(make_vec_env("CartPole-v1", n_envs=1, seed=1), training=False, norm_reward=False)
    evaluation = EvalCallback(test, eval_freq=16, n_eval_episodes=2, best_model_save_path=str(tmp_path), verbose=0)
    model = small(train).learn(64, callback=evaluation)
    best = RecurrentPPO.load(tmp_path / "best_model.zip", device="cpu")
    mean, _ = evaluate_policy(best, test, n_eval_episodes=2)
    assert isinstance(mean, float)
    assert mean > 0
    assert model.num_timesteps == 64
    train.close()


def test_aliases_are_registered_once_and_the_stock_ones_stay():
    spikeseq_agents.register()
    assert {"MlpLstmPolicy", "SpikingPolicy", "CnnSpikingPolicy", "MultiInputSpikingPolicy"} <= set(
        RecurrentPPO.policy_aliases
    )


def test_the_policy_by_class_and_the_callers_options():
    model = small(noise(), SpikingPolicy, policy_kwargs={"lstm_kwargs": {"time_constants": (5, 50)}})
    assert model.policy.lstm_actor.time_constants().min() >= 4.99
    with pytest.raises(TypeError, match="colour"):
        small(noise(), policy_kwargs={"lstm_kwargs": {"colour": 1}})


def test_more_steps_before_time_limits_bootstrap_from_the_membrane():
    """A truncated episode asks the critic for the value of its last observation, one environment at a time."""
    env = make_vec_env(lambda: gym.wrappers.TimeLimit(Noise(OBSERVATIONS["box"], ends=0.0), 5), n_envs=3, seed=0)
    for cores in CORES.values():
        small(env, policy_kwargs=cores, batch_size=48).learn(48)
