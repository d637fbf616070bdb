"""Training in parallel beside acting step by step: how far apart are the log-probabilities of the same actions?

    python agents/exactness.py [--env CartPoleNoVel-v1] [--rollouts 20] [--steps 128] [--envs 8]

The policy learns between the rollouts, so that its weights are not only those of the start; before each update the
rollout is evaluated once more, all steps at once. Each line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from stable_baselines3.common.env_util import make_vec_env

from spikeseq_agents import SpikingPPO

CORES: dict[str, dict[str, Any]] = {
    "PRF": {"neuron": "PRF"},
    "LIF": {"neuron": "LIF"},
    "DSN": {"neuron": "DSN"},
    "PRF in SD-TCM": {"sdtcm": {}},
}


def differences(model: SpikingPPO) -> torch.Tensor:
    """|log-probability in training - in acting| of each step of the rollout that the model holds."""
    buffer = model.rollout_buffer
    buffer.prepare()
    batches = [buffer.samples(buffer.chunk_of_each_environment(chunk)) for chunk in range(buffer.chunks)]
    found = []
    with torch.no_grad():
        for batch in batches:
            actions = batch.actions.long().flatten()
            _, log_prob, _ = model.policy.evaluate_actions(
                batch.observations, actions, batch.lstm_states, batch.episode_starts
            )
            found.append((log_prob - batch.old_log_prob).abs())
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPoleNoVel-v1")
    for name, default in (("rollouts", 20), ("steps", 128), ("envs", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, core in CORES.items():
        kwargs = {"n_lstm_layers": 2, "lstm_kwargs": dict(core)}
        model = SpikingPPO(
            "SpikingPolicy", make_vec_env(given.env, given.envs, seed=0), n_steps=given.steps, n_epochs=2,
            batch_size=2 * given.steps, seed=0, device="cpu", policy_kwargs=kwargs,
        )  # fmt: skip
        _, callback = model._setup_learn(10**9)
        found = []
        for _ in range(given.rollouts):
            model.collect_rollouts(model.env, callback, model.rollout_buffer, given.steps)  # pyright: ignore
            found.append(differences(model))
            model.train()
        apart = torch.cat(found)
        print(json.dumps({
            "core": name, **vars(given), "largest": float(apart.max()), "above 1e-5": int((apart > 1e-5).sum()),
            "of": len(apart),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
