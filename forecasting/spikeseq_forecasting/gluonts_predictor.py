"""GluonTS predictors of a trained spiking network: one for any device, and one that remembers its items."""

# No `from __future__ import annotations`: GluonTS' `validated` reads annotations as objects.
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.common import DataEntry, Dataset
from gluonts.dataset.field_names import FieldName
from gluonts.model.forecast import Forecast
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.torch.util import resolve_device
from gluonts.transform import AddAgeFeature, Chain
from torch import Tensor

from .gluonts_model import Outputs, as_missing
from .series_model import Memory

STEPS_BEFORE = "steps_before"


class AddAge(AddAgeFeature):
    """log10(2 + age), for entries too that begin STEPS_BEFORE steps after their series did."""

    def map_transform(self, data: DataEntry, is_train: bool) -> DataEntry:
        data = super().map_transform(data, is_train)
        before, steps = data.pop(STEPS_BEFORE, 0), np.arange(data[self.feature_name].shape[1])
        data[self.feature_name] = np.log10(2.0 + before + steps, dtype=self.dtype)[None]
        return data


class SpikingPredictor(PyTorchPredictor):
    """GluonTS' predictor; what it serialises loads on any device, whichever it was trained on."""

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device = "auto") -> "SpikingPredictor":
        """device: "auto" takes CUDA where it is and the CPU elsewhere."""
        predictor = super().deserialize(path, resolve_device(device))
        assert isinstance(predictor, cls)
        return predictor


@dataclass
class Item:
    """What is known of one item: its memory, steps seen, the next period, and the forecast of now."""

    memory: Memory
    steps: int
    next: pd.Period
    outputs: Outputs


class StatefulPredictor:
    """Forecasts of items that go on from new observations, in constant time a step, whatever lies behind.

        stateful = StatefulPredictor(predictor)
        stateful.predict(histories)    # whole histories of items not met before
        stateful.predict(new_rows)     # later: what came since

    Entries are GluonTS' own and need an item_id. Of an item met before, an entry may hold the new values alone, or
    overlap with what was seen: values seen are not read again. An entry that leaves a gap is a ValueError (missing
    values are NaN), and so is one that ends before what was seen. An entry without new values gives the last forecast
    again. feat_dynamic_real goes from the entry's start to the end of the forecast. An item unseen in training is
    forecast by the same network.

    The memory is that of all values since an item was first met, and the same as if they had come at once. It reaches
    further back than `predictor.predict`, which sees context_length steps; on histories within those both agree.
    """

    def __init__(self, predictor: PyTorchPredictor) -> None:
        self.predictor = predictor
        transform: Any = predictor.input_transform
        self._features = Chain(transform.transformations[:-1])  # all but the cut into windows
        self._items: dict[Any, Item] = {}

    def predict(self, dataset: Dataset) -> Iterator[Forecast]:
        """A forecast for each entry, in order."""
        self.predictor.prediction_net.eval()
        for entry in dataset:
            with torch.inference_mode():
                item = self._advance(entry)
                yield from self.predictor.forecast_generator(
                    inference_data_loader=[
                        {
                            FieldName.FORECAST_START: [item.next],
                            FieldName.ITEM_ID: [entry["item_id"]],
                            FieldName.INFO: [entry.get("info")],
                        }
                    ],  # pyright: ignore[reportArgumentType]
                    prediction_net=lambda outputs=item.outputs: outputs,
                    input_names=[],
                    output_transform=None,
                    num_samples=None,
                )

    def forget(self, item_id: Any) -> None:
        """What is known of an item; its next entry begins anew. KeyError for an item not met."""
        del self._items[item_id]

    def _advance(self, entry: DataEntry) -> Item:
        if entry.get("item_id") is None:
            raise ValueError("StatefulPredictor: expected entries with an item_id, got one without")
        name, start, target = entry["item_id"], entry["start"], np.asarray(entry["target"])
        item = self._items.get(name)
        seen = 0 if item is None else (item.next - start).n
        if item is not None and not 0 <= seen <= len(target):
            raise ValueError(
                f"item {name}: expected values that reach from {item.next} or earlier to {item.next - 1} or later, got "
                f"{len(target)} from {start} on"
            )
        if item is not None and seen == len(target):
            return item
        new = {**entry, "start": start + seen, "target": target[seen:], STEPS_BEFORE: 0 if item is None else item.steps}
        if FieldName.FEAT_DYNAMIC_REAL in entry:
            new[FieldName.FEAT_DYNAMIC_REAL] = np.asarray(entry[FieldName.FEAT_DYNAMIC_REAL])[:, seen:]
        outputs, memory = self._run(new, None if item is None else item.memory)
        steps = len(target) - seen
        self._items[name] = Item(memory, new[STEPS_BEFORE] + steps, new["start"] + steps, outputs)
        return self._items[name]

    def _run(self, entry: DataEntry, memory: Memory | None) -> tuple[Outputs, Memory]:
        (data,) = self._features([entry], is_train=False)
        model: Any = self.predictor.prediction_net.model

        def tensor(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.as_tensor(data[name], dtype=dtype, device=self.predictor.device)[None]

        values = as_missing(tensor(FieldName.TARGET), tensor(FieldName.OBSERVED_VALUES))
        static = tensor(FieldName.FEAT_STATIC_CAT, torch.int64), tensor(FieldName.FEAT_STATIC_REAL)
        return model.advance(values, model.features(tensor(FieldName.FEAT_TIME).mT, *static), memory)
