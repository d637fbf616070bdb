"""The Python in the head's README runs, and the files that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "agents" / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_snippets():
    assert len(SNIPPETS) == README.count("```python") > 0


@pytest.mark.parametrize("code", SNIPPETS, ids=[f"snippet{i}" for i in range(len(SNIPPETS))])
def test_snippet_runs(code, capsys):
    exec(compile(code, "agents/README.md", "exec"), {"__name__": "readme"})
    capsys.readouterr()


def test_files_named_are_there():
    named = set(re.findall(r"(?:configs|tests)/\S+\.(?:yml|py)", README))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
