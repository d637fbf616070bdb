"""Forecasting with spiking networks, for sktime and GluonTS. Not built yet: nothing to import here.

It will hold a forecaster and a classifier with sktime's interface and a GluonTS estimator, on spikeseq's backbones.
"""

try:
    import sktime as _sktime  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("spikeseq_forecasting needs sktime and GluonTS: pip install 'spikeseq[forecasting]'") from error
