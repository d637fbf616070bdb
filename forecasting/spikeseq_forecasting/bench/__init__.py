"""The benchmark, `python -m spikeseq_forecasting bench`: spiking models beside other people's, on the same windows."""
