"""`python -m spikeseq demo`: train a small network, test its best checkpoint once, and show what it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import SpatialNeuron
from .cli import RunCLI, first_test_batch
from .energy import audit, energy
from .neurons import Neuron
from .plots import raster, training_curve

# in a checkout, or where a wheel puts it
CONFIGS = (Path(__file__).parents[1] / "configs" / "smoke" / "digits.yaml", Path(__file__).parent / "digits.yaml")


def demo_command(arguments: list[str]) -> None:
    """Fit the config, test the checkpoint that did best on validation, and report; arguments as for `fit`."""
    if not any(word in ("-c", "--config") or word.startswith("--config=") for word in arguments):
        config = next((path for path in CONFIGS if path.is_file()), None)
        if config is None:
            raise FileNotFoundError(
                f"{CONFIGS[0]} is missing: run the demo in a checkout of spikeseq, or give --config"
            )
        arguments = ["--config", str(config), *arguments]
    torch.set_num_threads(1)  # so small a network gains nothing from more, and loses much on a busy machine
    cli = RunCLI(["fit", *arguments])
    folder = Path(cli.trainer.log_dir or cli.trainer.default_root_dir)
    best = cli.trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr] (RunCLI adds it)
    (scores,) = cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False, weights_only=True)

    model = cli.model.model
    batch = first_test_batch(cli.model, cli.datamodule)
    report, checked = energy(model, batch), audit(model, batch)
    curve, dots = folder / "training.png", folder / "raster.png"
    training_curve(folder / "metrics.csv", title="training").savefig(curve)
    raster(layer_spikes(model, batch), title="spikes on the first test sequence").savefig(dots)

    parameters = sum(p.numel() for p in model.parameters())
    print(f"\ntest accuracy   {100 * scores['test_accuracy']:.2f} %, once, of the checkpoint best on validation")
    print(f"parameters      {parameters:,}")
    print("firing rate     " + ", ".join(f"{name} {100 * rate:.2f} %" for name, rate in report.firing_rates.items()))
    joule, counted = report.full_joule * 1e9, f"45 nm, every layer counted, mean of {report.samples} test sequences"
    print(f"energy          {joule:.1f} nJ a sample ({counted})")
    verdict = "every product inside the blocks saw spikes only" if checked.spike_driven else "NOT spike-driven"
    print(f"audit           {verdict}; float input: {', '.join(checked.exceptions) or 'none'}")
    for name, path in (("checkpoint", best), ("raster", dots), ("training curve", curve)):
        print(f"{name:<15} {path}")


def layer_spikes(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The spikes [time, width] of each neuron layer, by name, on the first sequence of the batch."""
    spikes: dict[str, Tensor] = {}
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (Neuron, SpatialNeuron))}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            spikes[name] = (output[0] if isinstance(output, tuple) else output)[0]

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    first = tuple(t[:1] for t in (batch if isinstance(batch, tuple) else (batch,)))
    training = model.training
    try:
        model.eval()(*first)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return spikes
