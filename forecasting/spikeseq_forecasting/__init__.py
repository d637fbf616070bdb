"""Forecasting with spiking networks, for sktime and GluonTS. Not built yet: nothing to import here.

It will hold a forecaster and a classifier with sktime's interface and a GluonTS estimator, on spikeseq's backbones.
"""

from importlib.util import find_spec

if find_spec("sktime") is None:
    raise ImportError("spikeseq_forecasting needs sktime and GluonTS: pip install 'spikeseq[forecasting]'")
