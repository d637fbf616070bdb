"""Time of train() and of collecting, beside sb3-contrib's LSTM policy and an LSTM without its loop over time.

    python agents/benchmark.py [--width 128] [--steps 512] [--envs 8] [--epochs 2] [--rounds 3] [--env CartPoleNoVel-v1]

CPU seconds of one process on one thread, rounds interleaved, the least of them; each line is one JSON object. The
policies act at random at first, so episodes are short, as early in training: the stock buffer then pads most.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.env_util import make_vec_env
from torch import Tensor, nn

from spikeseq_agents import SpikingPPO


class LoopFreeLstmPolicy(RecurrentActorCriticPolicy):
    """The stock LSTM policy, for the stock buffer: that one cuts at episode starts, so only a first step can be one."""

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        sequences = lstm_states[0].shape[1]
        x = features.reshape(sequences, -1, lstm.input_size).swapaxes(0, 1)
        keep = (1 - episode_starts.reshape(sequences, -1)[:, 0]).view(1, -1, 1)
        out, state = lstm(x, (keep * lstm_states[0], keep * lstm_states[1]))
        return out.transpose(0, 1).flatten(0, 1), state


KINDS: dict[str, tuple[Any, Any]] = {
    "LSTM, stock": (RecurrentPPO, "MlpLstmPolicy"),
    "LSTM, no loop": (RecurrentPPO, LoopFreeLstmPolicy),
    "spiking, RecurrentPPO": (RecurrentPPO, "SpikingPolicy"),
    "spiking, SpikingPPO": (SpikingPPO, "SpikingPolicy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 128), ("steps", 512), ("envs", 8), ("epochs", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--env", default="CartPoleNoVel-v1")
    given = parser.parse_args()
    torch.set_num_threads(1)
    models, callbacks = {}, {}
    for kind, (cls, policy) in KINDS.items():
        models[kind] = cls(
            policy, make_vec_env(given.env, given.envs, seed=0), n_steps=given.steps, batch_size=given.steps,
            n_epochs=given.epochs, learning_rate=1e-5, seed=0, device="cpu",
            policy_kwargs={"lstm_hidden_size": given.width},
        )  # fmt: skip
        _, callbacks[kind] = models[kind]._setup_learn(10**9)
    spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(given.rounds):
        for kind, model in models.items():
            begin = time.process_time()
            model.collect_rollouts(model.env, callbacks[kind], model.rollout_buffer, given.steps)
            middle = time.process_time()
            model.train()
            spent[kind].append((middle - begin, time.process_time() - middle))
    best = {kind: [min(column) for column in zip(*rows, strict=True)] for kind, rows in spent.items()}
    for kind, (collect, train) in best.items():
        parameters = sum(p.numel() for p in models[kind].policy.parameters())
        print(json.dumps({
            "policy": kind, **vars(given), "collect_s": round(collect, 3), "train_s": round(train, 3),
            "stock_train_ratio": round(best["LSTM, stock"][1] / train, 2),
            "no_loop_train_ratio": round(best["LSTM, no loop"][1] / train, 2),
            "parameters": parameters,
        }))  # fmt: skip


if __name__ == "__main__":
    main()
