"""The front desk: all that a page, the command line or a notebook may ask for. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.blocks import Block
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.runs.run import Run
from bigmodel.runs.store import Store


@dataclass(frozen=True)
class Forecast:
    """What a run will take, from a probe of the real network on real batches."""

    parameters: int
    memory: int  # bytes at the peak
    steps: int
    seconds: float  # the whole run
    step_seconds: float
    device: str
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Something that can be tried: a starter that ships with bigmodel, or what a run has trained."""

    id: str  # 'starter:poet' or a run's id
    title: Words | str
    task: str
    architecture: str
    dataset: str
    settings: Mapping[str, object]
    metrics: Mapping[str, float]  # on the test split
    parameters: int
    bytes: int
    created: float
    folder: Path  # opens in plain transformers
    starter: bool = False
    about: Words | str = ""


@dataclass(frozen=True)
class Device:
    """What runs are trained on, now."""

    name: str  # 'NVIDIA H100', 'CPU'
    kind: str  # cuda, mps, cpu
    used: Mapping[str, float] = field(default_factory=dict)  # cpu %, memory bytes, gpu %, ...
    total: Mapping[str, float] = field(default_factory=dict)


def home() -> Path:
    """Where runs live: $BIGMODEL_HOME, else ~/.bigmodel."""
    return Path(os.environ.get("BIGMODEL_HOME") or Path.home() / ".bigmodel").expanduser().absolute()


class Studio:
    """One object for one home folder. All methods raise Refusal for what cannot be done."""

    def __init__(self, home_folder: Path | None = None):
        self.home = (home_folder or home()).absolute()
        self.store = Store(self.home)

    # -- runs: written and read ------------------------------------------------------------------
    read_only: bool = False  # another server works on this home

    def launch(self, spec: Mapping | RunSpec, token: str = "") -> str:
        """Check the spec, write the run folder with its first event, wake the supervisor; the run's id.
        The same token twice is one run."""
        self._refuse_read_only()
        checked = RunSpec.check(spec.to_json() if isinstance(spec, RunSpec) else spec)
        return self.store.launch(checked, token)

    def stop(self, run: str) -> None:
        """A waiting run is cancelled; one that is trained saves its weights and ends."""
        self._refuse_read_only()
        self.store.stop(run, _("Cancelled before it began."))

    def delete(self, run: str) -> None:
        """The run with its model; refused while it is trained."""
        self._refuse_read_only()
        self.store.delete(run)

    def runs(self, states: Sequence[str] = (), limit: int = 200) -> list[Run]:
        """Newest first."""
        return self.store.runs(states, limit)

    def run(self, run: str) -> Run:
        return self.store.run(run)

    def events(self, run: str, after: int = 0, kinds: Sequence[str] = ()) -> tuple[int, list[Event]]:
        """(cursor, events after the cursor): what a live page polls."""
        return self.store.events(run, after, kinds)

    def log(self, run: str) -> str:
        """The tail of the worker's log."""
        return self.store.folder(run).log()

    # -- models: tried --------------------------------------------------------------------------
    def models(self, task: str = "") -> list[Model]: ...
    def model(self, model: str) -> Model: ...
    def examples(self, model: str) -> list[dict]:
        """Filled-in inputs, checked values by field name; pictures as PNG bytes."""

    def ask(self, model: str, inputs: Mapping) -> Iterator[Block]:
        """Blocks as they come. Closing the iterator stops the work."""

    def forecast(self, spec: Mapping | RunSpec) -> Forecast:
        """A probe of at most some seconds in another process."""

    # -- data: looked at --------------------------------------------------------------------------
    def peek(self, dataset: str, split: str = "train", start: int = 0, count: int = 50, search: str = "") -> list[dict]:
        """Rows as a person reads them; pictures as PNG bytes."""

    def data_facts(self, dataset: str) -> dict:
        """rows {split: n}, lengths {column: [histogram]}, classes {name: count}, bytes."""

    def device(self) -> Device: ...

    def _refuse_read_only(self) -> None:
        if self.read_only:
            what = _("Another bigmodel server works on {home}.", home=str(self.home))
            why = _("This one may look, but not start, stop or delete anything.")
            raise Refusal(what, why=why, do=_("Use the other one, or stop it and try again."))


__all__ = ["Device", "Forecast", "Model", "Run", "Studio", "catalog", "home"]
