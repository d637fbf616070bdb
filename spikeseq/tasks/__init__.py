"""Tasks: one Lightning data module a file. Import the one you want, such as `spikeseq.tasks.digits.Digits`."""

try:
    import lightning as lightning
except ModuleNotFoundError as error:
    raise ImportError("spikeseq.tasks needs Lightning: pip install 'spikeseq[train]'") from error
