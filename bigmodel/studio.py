"""The front desk: all that a page, the command line or a notebook may ask for. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.blocks import Block
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words


@dataclass(frozen=True)
class Run:
    """A run as a fold over its events (bigmodel/runs/run.py folds)."""

    id: str
    spec: RunSpec
    state: str
    reason: Words | None = None  # why it is in this state
    error: Mapping | None = None  # a Refusal's JSON when failed
    created: float = 0.0  # wall clock
    started: float = 0.0
    ended: float = 0.0
    step: int = 0
    steps: int = 0  # planned, 0 before the plan is known
    epoch: float = 0.0
    eta: float | None = None  # seconds left
    loss: float | None = None  # newest training loss
    validation: Mapping[str, float] = field(default_factory=dict)  # newest
    best: Mapping[str, float] = field(default_factory=dict)  # of the best checkpoint
    best_step: int = 0
    result: Mapping[str, float] = field(default_factory=dict)  # on the test split
    plan: Mapping[str, object] = field(default_factory=dict)
    phase: Words | None = None  # what it is doing before the first step
    position: int = 0  # in the queue, 1 is next; 0 when not waiting
    has_model: bool = False


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
        self.home = home_folder or home()

    # -- runs: written and read ------------------------------------------------------------------
    read_only: bool = False  # another server works on this home

    def launch(self, spec: Mapping | RunSpec, token: str = "") -> str:
        """Check the spec, write the run folder with its first event, wake the supervisor; the run's id.
        The same token twice is one run."""
        raise NotImplementedError

    def stop(self, run: str) -> None: ...
    def delete(self, run: str) -> None: ...
    def runs(self, states: Sequence[str] = (), limit: int = 200) -> list[Run]:
        """Newest first."""

    def run(self, run: str) -> Run: ...
    def events(self, run: str, after: int = 0, kinds: Sequence[str] = ()) -> tuple[int, list[Event]]:
        """(cursor, events after the cursor): what a live page polls."""

    def log(self, run: str) -> str:
        """The tail of the worker's log."""

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


__all__ = ["Device", "Forecast", "Model", "Run", "Studio", "catalog", "home"]
