"""One exported step acts as `predict` does."""

from typing import Any

import numpy as np
import pytest
import torch

from spikeseq_agents.export import Step, example, export_onnx, step_program

from .environments import ACTIONS, DICT, OBSERVATIONS
from .test_policies import noise, small

NEURONS: dict[str, dict[str, Any]] = {
    "PRF": {},
    "PRF soft": {"neuron": "PRF", "neuron_options": {"reset": "soft"}, "readout": "membrane"},
    "LIF": {"neuron": "LIF"},
    "LIF hard": {"neuron": "LIF", "neuron_options": {"reset": "hard", "strict": True, "input_gain": 0.5}},
    "LIF no reset": {"neuron": "LIF", "neuron_options": {"reset": "none", "levels": 3}},
    "DSN": {"neuron": "DSN"},
    "DSN short": {"neuron": "DSN", "neuron_options": {"kernel_size": 1, "levels": None}},
    "DSN odd": {"neuron": "DSN", "neuron_options": {"kernel_size": 3}},
    "DSN linear": {"neuron": "DSN", "neuron_options": {"decay": "linear"}},
    "DSN none": {"neuron": "DSN", "neuron_options": {"decay": "none"}},
    "SD-TCM": {"sdtcm": {"outer_residual": True}},
    "SD-TCM LIF": {"neuron": "LIF", "sdtcm": {"norm": "none", "channel_mixer": False}},
}


def agreement(model: Any, step: Any, envs: int = 3, steps: int = 60) -> float:
    """The share of actions that are those of `predict`, with episode starts at random."""
    random = np.random.default_rng(0)
    model.observation_space.seed(0)
    state, (_, first, second, _) = None, example(model.policy, envs)
    same = []
    for t in range(steps):
        obs = np.stack([np.asarray(model.observation_space.sample()) for _ in range(envs)])
        start = (random.random(envs) < 0.2) if t else np.ones(envs, bool)
        expected, state = model.predict(obs, state=state, episode_start=start, deterministic=True)
        action, first, second = step(torch.as_tensor(obs), first, second, torch.as_tensor(start, dtype=torch.float32))
        same += [np.allclose(a, b, atol=1e-5) for a, b in zip(np.asarray(action), expected, strict=True)]
        assert np.asarray(action).shape == expected.shape
    return float(np.mean(same))


@pytest.mark.parametrize("neuron", NEURONS)
def test_the_step_in_real_arithmetic_acts_as_predict(neuron):
    options = {"lstm_kwargs": NEURONS[neuron], "n_lstm_layers": 2}
    model = small(noise(actions=ACTIONS["discrete"]), policy_kwargs=options).learn(32)
    with torch.no_grad():
        assert agreement(model, Step(model.policy)) >= 0.99


@pytest.mark.parametrize("actions", ACTIONS)
def test_actions_of_every_space(actions):
    model = small(noise(actions=ACTIONS[actions])).learn(32)
    with torch.no_grad():
        assert agreement(model, Step(model.policy)) >= 0.99


def test_squashed_actions():
    model = small(noise(actions=ACTIONS["box"]), use_sde=True, policy_kwargs={"squash_output": True}).learn(32)
    with torch.no_grad():
        assert agreement(model, Step(model.policy)) >= 0.99


@pytest.mark.parametrize(("observations", "neuron"), [("matrix", "PRF"), ("multidiscrete", "SD-TCM")])
def test_torch_export(observations, neuron):
    model = small(noise(OBSERVATIONS[observations]), policy_kwargs={"lstm_kwargs": NEURONS[neuron]}).learn(32)
    program = step_program(model).module()
    with torch.no_grad():
        assert agreement(model, program) >= 0.99


def test_dictionaries_are_refused():
    kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
    model = small(noise(DICT), "MultiInputSpikingPolicy", policy_kwargs=kwargs)
    with pytest.raises(ValueError, match="got a Dict"):
        step_program(model)
    with pytest.raises(TypeError, match="expected a SpikingPolicy"):
        step_program(small(noise(), "MlpLstmPolicy"))


def test_onnx_without_its_libraries(monkeypatch, tmp_path):
    monkeypatch.setattr("spikeseq_agents.export.find_spec", lambda _name: None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript"):
        export_onnx(small(noise()), tmp_path / "step.onnx")


@pytest.mark.peers
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("neuron", ["PRF", "LIF", "DSN", "SD-TCM"])
def test_onnx_in_onnxruntime(neuron, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = small(noise(), policy_kwargs={"lstm_kwargs": NEURONS[neuron], "n_lstm_layers": 2}).learn(32)
    torch.use_deterministic_algorithms(False)
    export_onnx(model, tmp_path / "step.onnx")
    session = runtime.InferenceSession(str(tmp_path / "step.onnx"))

    def step(*inputs: torch.Tensor) -> list[torch.Tensor]:
        names = [entry.name for entry in session.get_inputs()]
        return [
            torch.as_tensor(x) for x in session.run(None, dict(zip(names, (i.numpy() for i in inputs), strict=True)))
        ]

    assert agreement(model, step) >= 0.99
