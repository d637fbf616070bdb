"""Training over two processes by the trainer's own arguments: one model, other batches in each process."""

import json
import subprocess
import sys

SCRIPT = """
import json, os, warnings
warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from gluonts.dataset.common import ListDataset
from lightning.pytorch import Callback
from spikeseq_forecasting import SpikingEstimator, SpikingForecaster

class Draws(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        self.drawn = float(np.random.rand())

def waves(count, steps):
    generator = np.random.default_rng(0)
    return [10 + 3 * np.sin(np.arange(steps) * 2 * np.pi / 7) + generator.normal(size=steps) for _ in range(count)]

def gluonts(trainer):
    data = ListDataset([{"start": "2020-01-01", "target": wave} for wave in waves(6, 60)], "D")
    options = {"context_length": 24, "lags": 7, "width": 8, "num_batches_per_epoch": 3, "batch_size": 4}
    estimator = SpikingEstimator("D", 4, **options, random_state=0, trainer_kwargs={"max_epochs": 2, **trainer})
    predictor = estimator.train(data, data)
    return predictor.prediction_net, [forecast.quantile(0.5)[0] for forecast in predictor.predict(data)]

def sktime(trainer):
    y = pd.Series(waves(1, 120)[0], pd.period_range("2020-01-01", periods=120, freq="D"))
    options = {"max_epochs": 3, "width": 8, "crop": 30, "batch_size": 2, "validation": 0.2, "device": "cpu"}
    forecaster = SpikingForecaster(**options, random_state=0, trainer_options=trainer).fit(y, fh=[1, 2, 3])
    return forecaster.model_, list(forecaster.predict())

if __name__ == "__main__":
    found = []
    for train in (gluonts, sktime):
        draws = Draws()
        network, forecast = train({"accelerator": "cpu", "devices": 2, "strategy": "ddp", "callbacks": [draws]})
        weights = [float(parameter.double().sum()) for parameter in network.parameters()]
        found.append({"model": [weights, list(map(float, forecast))], "drawn": draws.drawn, "files": os.listdir()})
    with open(__file__ + os.environ["LOCAL_RANK"], "w") as file:
        json.dump(found, file)
"""


def test_two_processes_train_one_model_on_batches_of_their_own(tmp_path):
    script, here = tmp_path / "script.py", tmp_path / "here"
    script.write_text(SCRIPT)
    here.mkdir()
    subprocess.run([sys.executable, script], cwd=here, check=True, timeout=300)
    ranks = [json.loads((tmp_path / f"script.py{rank}").read_text()) for rank in (0, 1)]
    for first, second in zip(*ranks, strict=True):
        assert first["model"] == second["model"]
        assert all(abs(value - 10) < 10 for value in first["model"][1])
        assert first["drawn"] != second["drawn"]
        assert first["files"] == second["files"] == []
