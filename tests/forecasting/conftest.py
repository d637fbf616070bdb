"""Tests of the forecasting head; they need the extra `forecasting`."""

import warnings
from importlib.util import find_spec

MISSING = [name for name in ("sktime", "gluonts") if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

if not MISSING:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GluonTS advises a faster JSON library when it is imported
        import gluonts.json as gluonts_json  # noqa: F401


def pytest_report_header() -> list[str]:
    return ["tests/forecasting left out: they need pip install 'spikeseq[forecasting]'"] if MISSING else []
