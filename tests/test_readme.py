"""The README's Python runs, each block on its own, and the files and commands that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_snippets():
    assert len(SNIPPETS) == README.count("```python") > 0


@pytest.mark.parametrize("code", SNIPPETS, ids=[f"snippet{i}" for i in range(len(SNIPPETS))])
def test_snippet_runs(code):
    for head, library in (("spikeseq_agents", "sb3_contrib"), ("spikeseq_forecasting", "sktime")):
        if head in code:
            pytest.importorskip(library, reason=f"{library} is not installed")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_files_named_are_there():
    named = set(re.findall(r"\]\(([^)#:]+)\)", README)) | set(re.findall(r"configs/\S+\.yaml", README))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_commands_named_are_there():
    from spikeseq.__main__ import __doc__ as usage

    commands = set(re.findall(r"python -m spikeseq (\w+)", README))
    assert commands
    assert all(command in (usage or "") for command in commands)
    targets = set(re.findall(r"^    make (\w+)", README, re.MULTILINE))
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)
