"""python -m spikeseq_agents train|eval|record --config configs/rl/cartpole_novel.yml"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from . import runs, settings


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m spikeseq_agents", description="Spiking policies, from one YAML file.")
    parser.add_argument("command", choices=["train", "eval", "record"])
    parser.add_argument("--config", required=True, help="YAML in rl-zoo3's shape, see configs/rl")
    parser.add_argument("--env", help="which environment of the file, where it has several")
    parser.add_argument("--algo", choices=list(settings.ALGORITHMS), help="instead of the file's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of the run; runs/<environment>_seed<seed> by default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--resume", type=Path, help="train: a checkpoint of a run that was stopped")
    parser.add_argument("--progress", action="store_true", help="train: a progress bar")
    parser.add_argument("--episodes", type=int, default=20, help="eval: how many")
    given = parser.parse_args(arguments)
    try:
        chosen = settings.read(given.config, given.env, given.algo)
        folder = given.folder or Path("runs") / f"{chosen.env.replace('/', '_')}_seed{given.seed}"
        if given.command == "train":
            runs.train(chosen, folder, given.seed, given.resume, given.progress, given.device)
            print(f"saved {folder / 'model.zip'}")
        elif given.command == "eval":
            returns, joule = runs.evaluate(chosen, folder, given.seed, given.episodes, given.device)
            print(f"{chosen.env}: {np.mean(returns):.2f} +- {np.std(returns):.2f} over {given.episodes} episodes")
            if joule is not None:
                print(f"energy: {1e9 * joule:.3f} nJ a decision (45 nm, the actor alone)")
        else:
            print(*runs.record(chosen, folder, given.seed, given.device), sep="\n")
    except (FileExistsError, FileNotFoundError, ImportError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
