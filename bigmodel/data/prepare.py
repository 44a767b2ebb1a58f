"""Rows to arrays, once: what a task has encoded is kept under a hash of everything that went into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core import disk_space, files
from bigmodel.core.contracts import SPLITS, Architecture, Dataset, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.files import staged
from bigmodel.core.spec import RunSpec, Session
from bigmodel.data.interruptible import CancelCheck, interruptible

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

FACTS, PINNED = "facts.json", "pinned.parquet"  # the second: rows that the pinned inputs are made of
PINNED_ROWS = 40
ESTIMATE_ROWS, ESTIMATE_THRESHOLD = (
    100,
    4_000,
)  # rows that are encoded to estimate the bytes of all, where these are many


@dataclass(frozen=True)
class Prepared:
    """Everything a loop needs of the data."""

    key: str  # names the encoded data: see `cache_key`
    processor: Any
    facts: Mapping
    arrays: Mapping[str, Mapping[str, Any]]  # split -> name -> memory-mapped array
    pinned: list[dict]  # inputs asked at each validation


def cache_key(session: Session) -> str:
    """Names the cached arrays: same rows, same code, same settings, same name."""
    task, architecture, settings = session.task, session.architecture, session.settings
    parts = [
        _code_hash(task, architecture),
        session.dataset.fingerprint(),
        task.name,
        architecture.name,
        {name: settings[name] for name in task.encoding_settings if name in settings},
    ] + ([architecture.fingerprint(settings)] if architecture.overrides else [])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def run_cache_key(spec: RunSpec) -> str:
    """The key of what a run learns from; Refusal where that, or its network, is no longer there."""
    return cache_key(RunSpec.check(spec.to_json()).resolve())


def _code_hash(task: Task, architecture: Architecture) -> str:
    """Changes when the code does that makes rows into arrays: the leaves with what they inherit, tokenizers, pictures."""
    import inspect
    from importlib.metadata import version

    kinds = [*type(task).__mro__, *type(architecture).__mro__]
    files = {inspect.getsourcefile(kind) for kind in kinds if kind.__module__.split(".")[0] == __name__.split(".")[0]}
    texts = [Path(file).read_bytes() for file in sorted(filter(None, files)) if file != inspect.getsourcefile(Task)]
    own = ("tokenizers.py", "chat_tokens.py", "image_transforms.py")
    texts += [Path(__file__).with_name(name).read_bytes() for name in own]
    return hashlib.sha256(b"".join(texts) + version("tokenizers").encode()).hexdigest()


def prepare(session: Session, cache: Path, stopped: Callable[[], bool] = lambda: False) -> Prepared:
    """The arrays from the cache, encoded first where they are missing. `stopped()` is polled all the while: once it is
    true, nothing is kept and Cancelled is raised; DiskFull where the disk has no room."""
    task, key = session.task, cache_key(session)
    folder = encoded_folder(cache) / key
    with suppress(OSError):  # not there yet, or not ours to write
        os.utime(folder / FACTS)  # the last use, by which the cache is cleared
    if not (folder / FACTS).exists():
        _encode(session, folder, CancelCheck(stopped))
    kept = json.loads((folder / FACTS).read_text("utf-8"))
    return Prepared(
        key=key,
        processor=load_processor(folder),
        facts=kept | {"head": task.head},
        arrays={split: _load_arrays(folder, split) for split in SPLITS},
        pinned=task.pinned(_pinned_rows(folder, session.dataset), session.settings),
    )


def encoded_folder(cache: Path) -> Path:
    """Where all encoded data lie, each under its key."""
    return cache / "encoded"


def _encode(session: Session, folder: Path, ask: CancelCheck) -> None:
    """Into a staging folder, then renamed, so that two runs preparing the same data do not collide."""
    import pyarrow.parquet as parquet

    task, dataset, settings = session.task, session.dataset, session.settings
    files.make_folder(folder.parent)
    disk_space.check(folder.parent, 0, disk_space.ENCODING)
    needed = written = 0
    try:
        with staged(folder, shared=True) as staging:
            ask()
            rows = interruptible(dataset.rows(), ask)
            processor = session.architecture.processor(task, rows, settings)
            needed = _estimate_bytes(task, rows, processor, settings, ask)
            disk_space.check(folder.parent, needed, disk_space.ENCODING)
            for split in SPLITS:
                arrays = task.encode(rows[split], processor, settings)
                size = sum(array.nbytes for array in arrays.values())
                written += size
                needed = max(needed, written)
                disk_space.check(folder.parent, size, disk_space.ENCODING)
                for name, array in arrays.items():
                    _save(staging / f"{split}.{name}.npy", array)
                ask()
            processor.save_pretrained(staging)
            parquet.write_table(_head(dataset, "validation", PINNED_ROWS), staging / PINNED)
            facts = task.facts(rows, processor, settings) | {"rows": {split: len(rows[split]) for split in SPLITS}}
            (staging / FACTS).write_text(json.dumps(facts, ensure_ascii=False), "utf-8")
    except Exception as error:  # the staging folder is gone by now, and its room counts
        if isinstance(error, OSError) and (folder / FACTS).exists():  # another run was quicker: as good as ours
            return
        if not disk_space.was_full(error):
            raise
        raise disk_space.DiskFull(disk_space.missing_bytes(folder.parent, needed), disk_space.ENCODING) from error


def _estimate_bytes(task: Task, rows: Mapping, processor: Any, settings: Mapping, ask: CancelCheck) -> int:
    """How many bytes the arrays will have, by a few rows of all the training split; 0 where it is small anyway."""
    train = rows["train"]
    if len(train) < ESTIMATE_THRESHOLD:
        return 0
    few = interruptible({"few": train.select(range(0, len(train), len(train) // ESTIMATE_ROWS))}, ask)["few"]
    try:
        arrays = task.encode(few, processor, settings)
    except Refusal:  # just these are none that can be learnt from
        return 0
    each = sum(array.nbytes for array in arrays.values()) / len(few)
    return round(each * sum(len(rows[split]) for split in SPLITS))


def _save(path: Path, array: np.ndarray) -> None:
    """As `np.save`, which does not say why it could not write, and of a small array not even that it could not."""
    from numpy.lib import format

    array = array if array.flags.c_contiguous else array.copy(order="C")
    with path.open("wb") as file:
        format.write_array_header_1_0(file, format.header_data_from_array_1_0(array))
        file.write(array.data)


def _load_arrays(folder: Path, split: str) -> dict:
    import numpy as np

    return {
        path.name.removeprefix(f"{split}.").removesuffix(".npy"): np.load(path, mmap_mode="r")
        for path in sorted(folder.glob(f"{split}.*.npy"))
    }


def load_processor(folder: Path) -> Any:
    """The tokenizer or image processor that was saved in a folder, from its files alone."""
    from transformers import AutoImageProcessor, AutoTokenizer

    if (folder / "preprocessor_config.json").exists():
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _pinned_rows(folder: Path, dataset: Dataset) -> list[dict]:
    """As they were kept with the arrays; from the data where they were not yet kept, or are damaged."""
    import pyarrow.parquet as parquet

    try:
        return parquet.read_table(folder / PINNED).to_pylist()
    except (OSError, ValueError):
        return head(dataset, "validation", PINNED_ROWS)


def head(dataset: Dataset, split: str, count: int) -> list[dict]:
    """The first rows of a split as dicts; reads no more of the file than it must. No torch."""
    return _head(dataset, split, count).to_pylist()


def _head(dataset: Dataset, split: str, count: int) -> pyarrow.Table:
    """Filtered by Arrow, row groups first: rows of other splits never become Python objects."""
    from pyarrow import dataset as arrow

    rows = arrow.dataset(dataset.path(), format="parquet")
    return rows.head(count, filter=arrow.field("split") == split, batch_size=256, use_threads=False)
