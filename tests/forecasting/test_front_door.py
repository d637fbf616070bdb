"""Importing the package is light, and each class comes when it is asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import spikeseq_forecasting

FOLDER = Path(__file__).parents[2] / "forecasting"


def test_import_brings_no_library():
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import json, spikeseq_forecasting; print(json.dumps(list(sys.modules)))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert set(loaded) & {"torch", "sktime", "gluonts", "lightning", "pandas", "sklearn", "matplotlib"} == set()


@pytest.mark.parametrize("name", spikeseq_forecasting.MODULES)
def test_classes_are_found(name):
    assert getattr(spikeseq_forecasting, name).__name__ == name
    assert name in dir(spikeseq_forecasting)


def test_another_name_is_an_error_that_lists_the_classes():
    with pytest.raises(AttributeError, match="no attribute 'Forecaster'; it has SpikingForecaster, "):
        _ = spikeseq_forecasting.Forecaster  # pyright: ignore[reportAttributeAccessIssue]
