"""The plan of the house: which way imports go, what the front door pulls in, and that every config builds."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room may import from itself and from the rooms named here.
ROOMS = {
    "ops": set(),
    "neurons": {"ops"},
    "blocks": {"ops", "neurons"},
    "tracing": {"ops", "neurons", "blocks"},
    "energy": {"ops", "neurons", "blocks", "tracing"},
    "unary": {"ops", "neurons", "blocks", "tracing"},
    "events": set(),
    "plots": set(),
    "tasks": {"ops", "neurons", "blocks", "events"},
    "training": {"ops", "neurons", "blocks"},
    "language": {"ops", "neurons", "blocks", "tasks", "training"},
    "generation": {"blocks", "tasks", "language", "cli"},
    "graphs": {"ops", "neurons", "blocks", "training"},
    "callbacks": set(),
    "cli": {
        "ops",
        "neurons",
        "blocks",
        "tracing",
        "energy",
        "plots",
        "events",
        "tasks",
        "training",
        "callbacks",
    },
    "demo": {
        "ops",
        "neurons",
        "blocks",
        "tracing",
        "energy",
        "plots",
        "events",
        "tasks",
        "training",
        "callbacks",
        "cli",
    },
    "spikeseq_agents": {"ops", "neurons", "blocks", "tracing", "energy", "plots"},
    "spikeseq_forecasting": {"ops", "neurons", "blocks", "tasks", "tracing", "energy", "plots"},
}
DOORS = {"__init__", "__main__"}  # they open onto everything
HEADS = {"spikeseq_agents": "agents", "spikeseq_forecasting": "forecasting"}


def sources():
    """(file, its dotted package, its room) of each module but the doors."""
    for path in sorted((ROOT / "spikeseq").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in DOORS:
            yield path, parts[:-1], parts[1]
    for package, folder in HEADS.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            yield path, path.relative_to(ROOT / folder).parts[:-1], package


def imported(path, package):
    """Dotted names that a file imports, relative ones made absolute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, name.name]) for name in node.names)


def room_of(dotted):
    """The room a dotted name lies in, None outside the house."""
    parts = dotted.split(".")
    if parts[0] in HEADS:
        return parts[0]
    if parts[0] != "spikeseq":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__"


def test_every_module_has_a_room():
    assert {room for _, _, room in sources()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    wrong = [
        f"{path.relative_to(ROOT)} imports {dotted}"
        for path, package, home in sources()
        if home == room
        for dotted in imported(path, package)
        if room_of(dotted) not in {None, room, *ROOMS[room]}
    ]
    assert wrong == []


def test_the_rooms_form_no_circle():
    done: set[str] = set()
    while len(done) < len(ROOMS):
        ready = {room for room, allowed in ROOMS.items() if room not in done and allowed <= done}
        assert ready, f"a circle among {set(ROOMS) - done}"
        done |= ready


def test_import_reader_resolves_relative_names(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from ..neurons import LIF\nfrom . import norm\nimport torch.nn\nfrom .. import ops\n")
    found = list(imported(path, ("spikeseq", "blocks")))
    assert found == ["spikeseq.neurons.LIF", "spikeseq.blocks.norm", "torch.nn", "spikeseq.ops"]
    assert [room_of(name) for name in found] == ["neurons", "blocks", None, "ops"]


def test_head_folders_are_no_packages():
    assert not any((ROOT / folder / "__init__.py").exists() for folder in HEADS.values())


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_the_front_door_pulls_in_no_extra():
    loaded = set(json.loads(run_python("import json, sys, spikeseq; print(json.dumps(list(sys.modules)))")))
    assert "torch" in loaded
    extras = {"lightning", "pytorch_lightning", "jsonargparse", "matplotlib", "sklearn", "triton", "pandas", "yaml"}
    brought_by_torch = set(json.loads(run_python("import json, sys, torch; print(json.dumps(list(sys.modules)))")))
    assert loaded & (extras - brought_by_torch) == set()


@pytest.mark.parametrize(("head", "extra"), [("spikeseq_agents", "rl"), ("spikeseq_forecasting", "forecasting")])
def test_a_head_without_its_library_gives_the_pip_line(head, extra):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / HEADS[head])!r})\n"
        "sys.modules['stable_baselines3'] = sys.modules['sktime'] = None\n"
        f"try: import {head}\n"
        "except ImportError as error: print(error)\n"
        "else: raise AssertionError('imported')\n"
    )
    assert f"pip install 'spikeseq[{extra}]'" in run_python(code)


CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_parses_and_builds_its_model(path, monkeypatch, tmp_path):
    from spikeseq.cli import RunCLI

    monkeypatch.chdir(tmp_path)
    cli = RunCLI(["--config", str(path), "--ckpt_path", "none", "--trainer.accelerator", "cpu"], run=False)
    assert sum(p.numel() for p in cli.model.model.parameters()) > 0
    assert (cli.trainer.max_epochs or 0) > 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_says_what_it_reproduces_and_how_long_it_takes(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert any(score in first for score in ("%", "perplexity", "bits per byte"))
    assert any(unit in first for unit in ("second", "minute", "hour"))
