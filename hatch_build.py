"""Build hook: compiles the C kernels into one shared library inside the package.

The recipe (sources, flags) lives in spikeseq/ops/native/build.py, which is loaded by its path, because torch is
not installed in the isolated environment that builds the package. Without a C compiler the package installs all
the same, and its torch backend does the work; `python -m spikeseq info` says which backends are there.
"""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("spikeseq", "ops", "native")


class CompileKernels(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        native = Path(self.root) / NATIVE
        spec = importlib.util.spec_from_file_location("spikeseq_native_build", native / "build.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"the compile recipe {native / 'build.py'} is missing")
        recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(recipe)
        try:
            library = recipe.build(native)
        except recipe.CompilerMissing as error:
            self.app.display_warning(f"spikeseq is installed without its C kernels: {error}")
            return
        build_data["artifacts"].append((NATIVE / library.name).as_posix())
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
