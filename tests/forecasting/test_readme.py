"""The Python in the head's README runs."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "forecasting" / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_snippets():
    assert len(SNIPPETS) == README.count("```python") > 0


@pytest.mark.parametrize("code", SNIPPETS, ids=[f"snippet{i}" for i in range(len(SNIPPETS))])
def test_snippet_runs(code, capsys):
    exec(compile(code, "forecasting/README.md", "exec"), {"__name__": "readme"})
    capsys.readouterr()
