"""The front desk: all that a page, the command line or a notebook may ask for. Loads no torch."""

from __future__ import annotations

import io
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.core import catalog, limits
from bigmodel.core.blocks import Block
from bigmodel.core.contracts import Column, Dataset
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec, check_inputs
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.runs import device
from bigmodel.runs.device import Device
from bigmodel.runs.lock import Lock
from bigmodel.runs.run import Run
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor

if TYPE_CHECKING:
    import pyarrow

    from bigmodel.inference.desk import Desk

STARTER = "starter:"
STARTERS = Path(__file__).parent / "starters"
SPLITS = ("train", "validation", "test")
BARS = 30  # of a histogram


@dataclass(frozen=True)
class Forecast:
    """What a run will take, from a probe of the real network on real batches."""

    parameters: int
    memory: int  # bytes at the peak
    steps: int
    seconds: float | None  # the whole run; None where the network is too large to be tried here
    step_seconds: float | None
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


def home() -> Path:
    """Where runs live: $BIGMODEL_HOME, else ~/.bigmodel."""
    return Path(os.environ.get("BIGMODEL_HOME") or Path.home() / ".bigmodel").expanduser().absolute()


class Studio:
    """One object for one home folder. All methods raise Refusal for what cannot be done."""

    def __init__(self, home_folder: Path | None = None):
        self.home = (home_folder or home()).absolute()
        self.store = Store(self.home)
        self._server = Lock(self.store.server_lock)
        self._serving = False
        self._supervisor: Supervisor | None = None
        self._desk: Desk | None = None
        self._mutex = threading.RLock()

    # -- as a server -----------------------------------------------------------------------------
    def serve(self) -> None:
        """Begin to work on this home, unless another server does: then this one may only look."""
        self._serving = True
        self._take_over(wait=1.0)

    def close(self) -> None:
        """Leave. What is being trained goes on, and is found again by the next server."""
        with self._mutex:
            self._serving = False
            if self._supervisor is not None:
                self._supervisor.stop()
            if self._desk is not None:
                self._desk.close()
            self._supervisor = self._desk = None
            self._server.release()

    @property
    def read_only(self) -> bool:
        """Whether another server works on this home. When that one has gone, this one takes over."""
        return self._serving and not self._take_over()

    def _take_over(self, wait: float = 0.0) -> bool:
        with self._mutex:
            if self._server.held:
                return True
            if not self._server.take(wait):
                return False
            self._supervisor = Supervisor(self.store, spare=os.environ.get("BIGMODEL_SPARE", "1") != "0")
            self._supervisor.start()
            return True

    def _refuse_read_only(self) -> None:
        if self.read_only:
            what = _("Another bigmodel server works on {home}.", home=str(self.home))
            why = _("This one may look, but not start, stop or delete anything.")
            raise Refusal(what, why=why, do=_("Use the other one, or stop it and try again."))

    # -- runs: written and read ------------------------------------------------------------------
    def launch(self, spec: Mapping | RunSpec, token: str = "") -> str:
        """Check the spec, write the run folder with its first event, wake the supervisor; the run's id.
        The same token twice is one run."""
        self._refuse_read_only()
        checked = _checked(spec)
        device.check(str(checked.settings["device"]))
        run = self.store.launch(checked, token)
        self._wake()
        return run

    def stop(self, run: str) -> None:
        """A waiting run is cancelled; one that is trained saves its weights and ends."""
        self._refuse_read_only()
        self.store.stop(run, _("Cancelled before it began."))
        self._wake()

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

    def _wake(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wake()

    # -- models: tried --------------------------------------------------------------------------
    def models(self, task: str = "") -> list[Model]:
        """The starters, then what has been trained, newest first."""
        folders = [(f"{STARTER}{path.name}", path) for path in sorted(STARTERS.glob("*")) if path.is_dir()]
        folders += [(run.id, self.home / "runs" / run.id / "model") for run in self.runs(limit=10_000) if run.has_model]
        models = (_model(id, folder) for id, folder in folders)
        return [one for one in models if one and one.task in catalog.tasks() and task in ("", one.task)]

    def model(self, model: str) -> Model:
        starter = STARTERS / model.removeprefix(STARTER)
        is_starter = model.startswith(STARTER) and starter in set(STARTERS.glob("*"))
        folder = starter if is_starter else self.home / "runs" / model / "model" if model in self.store.ids() else None
        found = _model(model, folder) if folder else None
        if found is None:
            what = _("There is no model {model}.", model=model[:100])
            raise Refusal(what, do=_("Look at the list of models."), field="model")
        return found

    def examples(self, model: str) -> list[dict]:
        """Filled-in inputs, checked values by field name; pictures as PNG bytes."""
        return self.desk().examples(self.model(model))

    def ask(self, model: str, inputs: Mapping) -> Iterator[Block]:
        """Blocks as they come. Closing the iterator stops the work."""
        chosen = self.model(model)
        return self.desk().ask(chosen, check_inputs(catalog.task(chosen.task), inputs))

    def forecast(self, spec: Mapping | RunSpec) -> Forecast:
        """A probe of at most some seconds in another process."""
        checked = _checked(spec)
        device.check(str(checked.settings["device"]))
        return self.desk().forecast(checked, self.store.cache)

    def desk(self) -> Desk:
        """In front of the process that has the models loaded."""
        from bigmodel.inference.desk import Desk

        with self._mutex:
            self._desk = self._desk or Desk(log=self.home / "models.log")
            return self._desk

    # -- data: looked at --------------------------------------------------------------------------
    def peek(self, dataset: str, split: str = "train", start: int = 0, count: int = 50, search: str = "") -> list[dict]:
        """Rows as a person reads them: text, the name of a class, pictures as PNG bytes. `search` looks for a part
        of a text or of a class's name."""
        data = _data(dataset)
        if split not in SPLITS:
            what = _("There is no split named {name}.", name=str(split)[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(SPLITS)), field="split")
        rows = _find(_split(data.path(), _version(data.path()), split), data.columns, search)
        page = rows.slice(max(start, 0), min(max(count, 0), limits.TABLE_ROWS))
        return [_readable(row, data.columns) for row in page.to_pylist()]

    def data_facts(self, dataset: str) -> dict:
        """rows {split: n}, lengths {text column: [(from, to, rows)] in characters, both inclusive},
        classes {name: rows}, bytes (of the file)."""
        data = _data(dataset)
        facts = _facts(data.name, _version(data.path()), self.store.cache)
        named = [(name, column) for name, column in data.columns.items() if column.kind == "class"]
        counts = {named[0][1].names[int(label)]: rows for label, rows in facts["classes"].items()} if named else {}
        lengths = {name: [tuple(part) for part in parts] for name, parts in facts["lengths"].items()}
        return {"rows": facts["rows"], "lengths": lengths, "classes": counts, "bytes": facts["bytes"]}

    def device(self) -> Device:
        """What the next run is trained on, and how busy it is."""
        return device.now()


def _checked(spec: Mapping | RunSpec) -> RunSpec:
    return RunSpec.check(spec.to_json() if isinstance(spec, RunSpec) else spec)


# -- models ------------------------------------------------------------------------------------------
def _model(id: str, folder: Path) -> Model | None:
    """The model in a folder, None where there is none that can be read."""
    try:
        about = json.loads((folder / "bigmodel.json").read_text("utf-8"))
        spec = about["spec"]
        return Model(
            id=id,
            title=_words(about["title"]) if "title" in about else spec["name"] or _title(spec),
            task=spec["task"],
            architecture=spec["architecture"],
            dataset=spec["dataset"],
            settings=spec["settings"],
            metrics=about["metrics"],
            parameters=about["parameters"],
            bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
            created=about["created"],
            folder=folder,
            starter=id.startswith(STARTER),
            about=_words(about.get("about", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _title(spec: Mapping) -> Words:
    """'GPT, Chinese poetry', for a run without a name."""
    architecture, dataset = catalog.architectures().get(spec["architecture"]), catalog.datasets().get(spec["dataset"])
    return _(
        "{architecture}, {dataset}",
        architecture=architecture.title if architecture else spec["architecture"],
        dataset=dataset.title if dataset else spec["dataset"],
    )


def _words(value: Mapping | str) -> Words | str:
    return Words.from_json(value) if isinstance(value, Mapping) else value


# -- data --------------------------------------------------------------------------------------------
def _data(name: str) -> Dataset:
    """A data set whose file is there."""
    data = catalog.dataset(name)
    if data.path().exists():
        return data
    what = _("The file of the data set {name} is missing: {path}.", name=name, path=str(data.path()))
    raise Refusal(
        what, do=_("Fetch the project again, or build the bundle with scripts/build_bundle.py."), field="dataset"
    )


def _version(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=3)
def _split(path: Path, version: tuple[int, int], split: str) -> pyarrow.Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path, filters=[("split", "==", split)])


def _find(rows: pyarrow.Table, columns: Mapping[str, Column], search: str) -> pyarrow.Table:
    import pyarrow
    import pyarrow.compute as compute

    shown = rows.select([name for name in columns if name in rows.column_names])
    if not search.strip():
        return shown
    hit = None
    for name in shown.column_names:
        column = columns[name]
        if column.kind == "image":
            continue
        if column.kind == "class":
            wanted = [number for number, title in enumerate(column.names) if _says(title, search)]
            found = compute.is_in(shown[name], value_set=pyarrow.array(wanted, shown[name].type))
        else:
            found = compute.match_substring(shown[name], search.strip(), ignore_case=True)
        found = compute.fill_null(found, False)
        hit = found if hit is None else compute.or_(hit, found)
    return shown if hit is None else shown.filter(hit)


def _says(title: Words | str, search: str) -> bool:
    return any(search.strip().lower() in say(title, language).lower() for language in LANGUAGES)


def _readable(row: Mapping, columns: Mapping[str, Column]) -> dict:
    return {name: _value(value, columns[name]) for name, value in row.items()}


def _value(value: object, column: Column) -> object:
    if column.kind == "class" and column.names:
        return column.names[value]
    return _png(value["bytes"]) if column.kind == "image" else value


def _png(data: bytes) -> bytes:
    if data.startswith(b"\x89PNG"):
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()


@lru_cache(maxsize=64)
def _facts(name: str, version: tuple[int, int], cache: Path) -> dict:
    """As JSON, kept under the rows' fingerprint: counting is done once for each state of the data."""
    data = catalog.dataset(name)
    kept = cache / "facts" / f"{data.fingerprint()}.json"
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    facts = _count(data)
    kept.parent.mkdir(parents=True, exist_ok=True)
    staging = kept.with_suffix(f".{secrets.token_hex(4)}")
    staging.write_text(json.dumps(facts), "utf-8")
    staging.replace(kept)
    return facts


def _count(data: Dataset) -> dict:
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    kinds = {name: column.kind for name, column in data.columns.items() if column.kind != "image"}
    present = set(parquet.read_schema(data.path()).names)
    rows = parquet.read_table(data.path(), columns=["split", *(name for name in kinds if name in present)])
    texts = {
        name: compute.utf8_length(rows[name]).drop_null() for name in rows.column_names if kinds.get(name) == "text"
    }
    classes = next((name for name in rows.column_names if kinds.get(name) == "class"), None)
    return {
        "rows": {split: compute.sum(compute.equal(rows["split"], split)).as_py() or 0 for split in SPLITS},
        "lengths": {name: _histogram(lengths.to_pylist()) for name, lengths in texts.items()},
        "classes": _counts(rows[classes]) if classes else {},
        "bytes": data.path().stat().st_size,
    }


def _counts(column: pyarrow.ChunkedArray) -> dict[str, int]:
    counted = ((str(part["values"]), part["counts"]) for part in column.value_counts().to_pylist())
    return dict(sorted(counted, key=lambda item: int(item[0])))


def _histogram(lengths: list[int]) -> list[tuple[int, int, int]]:
    """Bars of equal width; the last holds the longest hundredth however long it is."""
    if not lengths:
        return []
    lengths = sorted(lengths)
    low, high = lengths[0], lengths[int(len(lengths) * 0.99)]
    width = max(1, -(-(high - low + 1) // BARS))
    bars = [[start, start + width - 1, 0] for start in range(low, high + 1, width)]
    for length in lengths:
        bars[min((length - low) // width, len(bars) - 1)][2] += 1
    bars[-1][1] = max(bars[-1][1], lengths[-1])
    return [tuple(bar) for bar in bars]


__all__ = ["Device", "Forecast", "Model", "Run", "Studio", "catalog", "home"]
