"""The desk in front of the model workers: passes requests in and answers out. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core import blocks, catalog, child_process
from bigmodel.core.blocks import Block
from bigmodel.core.model import Model
from bigmodel.core.spec import RunSpec
from bigmodel.data.model_view import BatchView
from bigmodel.data.prepare import head
from bigmodel.inference.connection import SHUTDOWN_SECONDS, Reply, WorkerConnection
from bigmodel.inference.isolated_worker import IsolatedWorkers
from bigmodel.training.forecast import Forecast

EXAMPLE_ROWS = 40


class ModelClient(WorkerConnection):
    """The line to the process that answers, one to a process that forecasts, and one for each model from outside. Shared
    by all sessions of a server.

    A forecast that has to encode its data first computes for seconds on end; nobody who asks a model waits for that.
    """

    def __init__(self, log: Path | None = None, cache: Path | None = None, home: Path | None = None):
        super().__init__(log, home)
        self.cache = cache  # where models in a quicker form are kept; without one they answer by transformers
        self.forecast_connection = WorkerConnection(log, home)
        self.isolated = IsolatedWorkers(log, home)

    def start(self) -> None:
        """Have the workers import their libraries before the first question comes."""
        super().start()
        self.forecast_connection.start()

    def close(self) -> None:
        told = self.disconnect(), self.forecast_connection.disconnect(), *self.isolated.disconnect()
        child_process.wait_or_kill(*told, seconds=SHUTDOWN_SECONDS)

    def ask(self, model: Model, inputs: Mapping, from_outside: bool = False) -> Reply[Block]:
        """Blocks as they come. Closing the reply stops the work. from_outside: in a process of the model's own."""
        request = {"do": "ask", "folder": str(model.folder), "task": model.task, "inputs": blocks.pack(inputs)}
        request["cache"] = str(self.cache) if self.cache else ""
        connection = self.isolated.get(model.folder) if from_outside else self
        return connection.submit(request, lambda part: blocks.from_json(part["block"]))

    def _data_connection(self, spec: RunSpec) -> WorkerConnection:
        """Where rows are encoded: in a process of its own by the tokenizer of a base from outside."""
        folder = bases.outside_folder(self.home, str(spec.settings.get("base", ""))) if self.home else None
        return self.forecast_connection if folder is None else self.isolated.get(folder)

    def forecast(self, spec: RunSpec, cache: Path) -> Forecast:
        """The figures of a probe; Refusal where the network cannot be built."""
        request = {"do": "forecast", "spec": spec.to_json(), "cache": str(cache)}
        *_before, last = self._data_connection(spec).submit(request, itemgetter("figures"))
        return Forecast(**last)

    def batch_view(self, spec: RunSpec, cache: Path, row: int = 0) -> BatchView:
        """What a model sees of a row, or of the first batch; Refusal where the rows cannot be encoded."""
        request = {"do": "seen", "spec": spec.to_json(), "cache": str(cache), "row": row}
        *_before, last = self._data_connection(spec).submit(request, itemgetter("seen"))
        return BatchView(**last)

    def count_tokens(self, spec: RunSpec, cache: Path) -> Reply[float | str]:
        """How far the counting is, from 0 to 1, and at last the name that the lengths are kept under."""
        request = {"do": "count", "spec": spec.to_json(), "cache": str(cache)}
        return self._data_connection(spec).submit(request, itemgetter("counted"))

    def examples(self, model: Model) -> list[dict]:
        """Inputs to begin with: those a starter brings along, else from rows the model has not been trained on."""
        about = json.loads((model.folder / "bigmodel.json").read_text("utf-8"))
        if about.get("examples"):
            return [blocks.unpack(example) for example in about["examples"]]
        dataset = catalog.find_dataset(model.dataset)
        if dataset is None or not dataset.path().exists():
            return []
        return catalog.task(model.task).examples(head(dataset, "test", EXAMPLE_ROWS), model.settings)
