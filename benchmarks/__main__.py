"""`python -m benchmarks ops [options]` measures; `python -m benchmarks report [FILE]` renders rows again;
`python -m benchmarks backbone` measures whole training steps and where their time goes;
`python -m benchmarks exactness` counts spikes that differ from the definition; `python -m benchmarks language` and
`extrapolation` train small language models, `neurons` one network with each neuron; `gpu` tests and measures the Triton
kernels on a device, `forms` measures other ways to cut their work."""

import sys

from benchmarks import backbone, exactness, extrapolation, forms, gpu, language, neurons, ops

COMMANDS = {
    "ops": ops.main,
    "report": ops.render,
    "backbone": backbone.main,
    "exactness": exactness.main,
    "language": language.main,
    "extrapolation": extrapolation.main,
    "gpu": gpu.main,
    "forms": forms.main,
    "neurons": neurons.main,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: python -m benchmarks {{{','.join(COMMANDS)}}} [--help]")
    COMMANDS[sys.argv[1]](sys.argv[2:])
