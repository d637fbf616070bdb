"""One step of a policy without Stable-Baselines3: for ONNX and torch.export.

The step is written in real arithmetic (ONNX has no complex numbers) and gives the action of `predict` with
`deterministic=True`. Observations come in as the environment gives them; VecNormalize is not part of it.
"""

from __future__ import annotations

from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from spikeseq.blocks.sdtcm import SDTCM, SPATIAL_THRESHOLD, SpatialNeuron
from spikeseq.neurons import DSN, LIF, PRF, Neuron
from spikeseq.ops import reference

from .policies import SpikingPolicy


class Step(nn.Module):
    """action, first, second = step(obs, first, second, start).

    obs: [envs, ...] as the environment gives it. first, second: the state, each [layers, envs, hidden_size], zeros for
    a fresh start. start: float [envs], 1 where an episode begins. The action has the environment's form, [envs, ...].
    """

    def __init__(self, policy: SpikingPolicy) -> None:
        super().__init__()
        if not isinstance(policy, SpikingPolicy):
            raise TypeError(f"export: expected a SpikingPolicy, got {type(policy).__name__}")
        self.policy = policy
        self.layers = nn.ModuleList([_real(layer) for layer in policy.actor_core.layers])

    def forward(self, obs: Tensor, first: Tensor, second: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        policy, core = self.policy, self.policy.actor_core
        out = BasePolicy.extract_features(policy, obs, policy.pi_features_extractor)
        keep = (1 - start).reshape(1, -1, 1)
        first, second = first * keep, second * keep
        out, ends = core.encoder(out), []
        for index, layer in enumerate(self.layers):
            step: Any = layer.step
            planes = [*first[index].split(core.width, -1), *second[index].split(core.width, -1)]
            out, planes = step(out, planes)
            half = len(planes) // 2
            ends.append((torch.cat(planes[:half], -1), torch.cat(planes[half:], -1)))
        out = policy.action_net(policy.mlp_extractor.forward_actor(core.final_norm(out)))
        return self._action(out), torch.stack([a for a, _ in ends]), torch.stack([b for _, b in ends])

    def _action(self, out: Tensor) -> Tensor:
        """The most probable action from the action network's output."""
        space = self.policy.action_space
        if isinstance(space, spaces.Discrete):
            return out.argmax(-1)
        if isinstance(space, spaces.MultiDiscrete):
            return torch.stack([part.argmax(-1) for part in out.split(space.nvec.tolist(), -1)], -1)
        if isinstance(space, spaces.MultiBinary):
            return (torch.sigmoid(out) > 0.5).to(torch.int64)
        assert isinstance(space, spaces.Box)
        low, high = (torch.as_tensor(bound, dtype=out.dtype) for bound in (space.low, space.high))
        out = out.reshape(-1, *space.shape)
        if self.policy.squash_output:
            return low + 0.5 * (torch.tanh(out) + 1) * (high - low)
        return torch.clamp(out, low, high)


class _RealNeuron(nn.Module):
    """`step` of a neuron: planes of the state in, planes out, as `Planes` lays them; an odd one is padded."""

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def _fire(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        return self.neuron.surrogate.fire(membrane, threshold, getattr(self.neuron, "strict", False))

    def _out(self, membrane: Tensor, spikes: Tensor) -> Tensor:
        return spikes if self.neuron.output == "spikes" else membrane


class _RealPRF(_RealNeuron):
    neuron: PRF
    a: Tensor
    c: Tensor
    gain: Tensor

    def __init__(self, neuron: PRF) -> None:
        super().__init__(neuron)
        decay, gain = neuron.coefficients()
        self.register_buffer("a", decay.real.detach().clone())
        self.register_buffer("c", decay.imag.detach().clone())
        self.register_buffer("gain", gain.detach().clone())

    def step(self, x: Tensor, planes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        re, im = planes
        threshold = re.new_tensor(self.neuron.threshold)
        membrane = (self.a * re - self.c * im) + self.gain * x
        im = self.c * re + self.a * im
        spikes = self._fire(membrane, threshold)
        re = membrane - threshold * spikes if self.neuron.reset == "soft" else membrane
        return self._out(membrane, spikes), [re, im]


class _RealLIF(_RealNeuron):
    neuron: LIF

    def step(self, x: Tensor, planes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        neuron, (before, empty) = self.neuron, planes
        threshold = before.new_tensor(neuron.threshold)
        membrane = neuron.decay * before + neuron.input_gain * x
        spikes = self._fire(membrane, threshold)
        after = membrane
        if neuron.reset == "soft":
            after = membrane - (neuron.threshold if neuron.rho is None else neuron.rho) * spikes
        elif neuron.reset == "hard":
            after = membrane * (1 - spikes)
        return self._out(membrane, spikes), [after, empty]


class _RealDSN(_RealNeuron):
    neuron: DSN

    def step(self, x: Tensor, planes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        neuron = self.neuron
        before, past = planes[0], planes[1 : neuron.kernel_size] if neuron.decay == "conv" else []
        gate = neuron.bias
        if neuron.decay == "linear":
            gate = nn.functional.linear(x, neuron.weight, neuron.bias)
        elif neuron.decay == "conv":
            for lag, value in enumerate([x, *reversed(past)]):
                gate = gate + neuron.weight[:, lag] * value
            past = [*past, x][1:] if past else []
        decay, complement = reference.gates(gate, neuron.tau)
        membrane = decay * before + complement * x
        spikes = self._fire(membrane, before.new_tensor(neuron.threshold))
        return self._out(membrane, spikes), [membrane, *past, *planes[1 + len(past) :]]


class _RealSpatial(nn.Module):
    """The channel mixer's neuron, without memory."""

    def __init__(self, spatial: SpatialNeuron) -> None:
        super().__init__()
        self.alpha = spatial.alpha

    def forward(self, membrane: Tensor) -> Tensor:
        return (membrane >= SPATIAL_THRESHOLD).to(membrane.dtype)


def _real(layer: nn.Module) -> Any:
    """A copy of a core's layer whose neurons do real arithmetic."""
    kinds: dict[type, Any] = {PRF: _RealPRF, LIF: _RealLIF, DSN: _RealDSN}
    copied: Any = deepcopy(layer).requires_grad_(False)
    copied.neuron = kinds[type(copied.neuron)](copied.neuron)
    if isinstance(layer, SDTCM) and layer.spatial is not None:
        copied.spatial = _RealSpatial(copied.spatial)
    return copied.eval()


def example(policy: SpikingPolicy, envs: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs of `Step`: sampled observations, a fresh state, all episodes beginning."""
    space = policy.observation_space
    if isinstance(space, spaces.Dict):
        raise ValueError("export: expected one array of observations, got a Dict")
    obs = torch.as_tensor(np.stack([np.asarray(space.sample()) for _ in range(envs)]))
    return obs, *policy.actor_core.initial_state(envs), torch.ones(envs)  # pyright: ignore[reportReturnType]


def step_program(model: BaseAlgorithm | BasePolicy) -> torch.export.ExportedProgram:
    """`Step` as a torch.export program, for any number of environments from two up, on the CPU."""
    step, inputs, batch = _prepared(model)
    return torch.export.export(step, inputs, dynamic_shapes=_shapes(batch), strict=False)


def export_onnx(model: BaseAlgorithm | BasePolicy, path: str | Path) -> None:
    """`Step` as an ONNX file with inputs obs, first, second, start and outputs action, first_out, second_out."""
    for library in ("onnx", "onnxscript"):
        if find_spec(library) is None:
            raise ImportError(f"export_onnx needs {library}: pip install onnx onnxscript")
    step, inputs, batch = _prepared(model)
    torch.onnx.export(
        step, inputs, str(path), dynamo=True, verbose=False, external_data=False, dynamic_shapes=_shapes(batch),
        input_names=["obs", "first", "second", "start"], output_names=["action", "first_out", "second_out"],
    )  # fmt: skip


def _prepared(model: BaseAlgorithm | BasePolicy) -> tuple[Step, tuple[Tensor, ...], Any]:
    policy: Any = model.policy if isinstance(model, BaseAlgorithm) else model
    step = Step(policy).eval().cpu()
    return step, example(policy), torch.export.Dim("envs", min=1)


def _shapes(batch: Any) -> Any:
    return {"obs": {0: batch}, "first": {1: batch}, "second": {1: batch}, "start": {0: batch}}
