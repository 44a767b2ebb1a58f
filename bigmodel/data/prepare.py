"""Rows to arrays, once: what a task has encoded is kept under a hash of everything that went into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigmodel.core.contracts import Architecture, Dataset, Task
from bigmodel.data.heard import Ask, heard

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """Everything a loop needs of the data."""

    processor: Any
    facts: Mapping
    arrays: Mapping[str, Mapping[str, Any]]  # split -> name -> memory-mapped array
    pinned: list[dict]  # inputs asked at each validation


def key(task: Task, architecture: Architecture, dataset: Dataset, settings: Mapping) -> str:
    """Names the cached arrays: same rows, same code, same settings, same name."""
    parts = [
        _code(task, architecture),
        dataset.fingerprint(),
        task.name,
        architecture.name,
        {name: settings[name] for name in task.encoding if name in settings},
    ] + ([architecture.fingerprint(settings)] if architecture.brings else [])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _code(task: Task, architecture: Architecture) -> str:
    """Changes when the code does that makes rows into arrays: the leaves with what they inherit, tokenizers, pictures."""
    import inspect
    from importlib.metadata import version

    kinds = [*type(task).__mro__, *type(architecture).__mro__]
    files = {inspect.getsourcefile(kind) for kind in kinds if kind.__module__.split(".")[0] == __name__.split(".")[0]}
    texts = [Path(file).read_bytes() for file in sorted(filter(None, files)) if file != inspect.getsourcefile(Task)]
    own = ("tokenizers.py", "conversations.py", "pictures.py")
    texts += [Path(__file__).with_name(name).read_bytes() for name in own]
    return hashlib.sha256(b"".join(texts) + version("tokenizers").encode()).hexdigest()


def prepare(
    task: Task, architecture: Architecture, dataset: Dataset, settings: Mapping, cache: Path,
    stopped: Callable[[], bool] = lambda: False,
) -> Prepared:  # fmt: skip
    """The arrays from the cache, made first where they are missing. `stopped()` is asked all the while: when it says so,
    nothing is kept, and NotWanted is raised."""
    folder = cache / "encoded" / key(task, architecture, dataset, settings)
    if not (folder / "facts.json").exists():
        _encode(task, architecture, dataset, settings, folder, Ask(stopped))
    kept = json.loads((folder / "facts.json").read_text("utf-8"))
    rows = head(dataset, "validation", 40)
    return Prepared(
        processor=load_processor(folder),
        facts=kept | {"head": task.head},
        arrays={split: _load_arrays(folder, split) for split in SPLITS},
        pinned=task.pinned(rows, settings),
    )


def _encode(
    task: Task, architecture: Architecture, dataset: Dataset, settings: Mapping, folder: Path, ask: Ask
) -> None:
    """Into a folder beside, then renamed, so that two runs preparing the same data do not meet."""
    import numpy as np

    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".staging-"))
    try:
        ask()
        rows = heard(dataset.rows(), ask)
        processor = architecture.processor(task, rows, settings)
        for split in SPLITS:
            for name, array in task.encode(rows[split], processor, settings).items():
                np.save(staging / f"{split}.{name}.npy", array)
            ask()
        processor.save_pretrained(staging)
        facts = task.facts(rows, processor, settings) | {"rows": {split: len(rows[split]) for split in SPLITS}}
        (staging / "facts.json").write_text(json.dumps(facts, ensure_ascii=False), "utf-8")
        staging.rename(folder)
    except OSError:
        if not (folder / "facts.json").exists():  # not the other run's rename, which is as good as ours
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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


def head(dataset: Dataset, split: str, count: int) -> list[dict]:
    """The first rows of a split as dicts; reads no more of the file than it must. No torch."""
    import pyarrow.parquet as parquet

    rows: list[dict] = []
    for batch in _batches(parquet.ParquetFile(dataset.path())):
        for row in batch:
            if row["split"] == split:
                rows.append(row)
                if len(rows) == count:
                    return rows
    return rows


def _batches(file) -> Iterator[list[dict]]:
    for batch in file.iter_batches(batch_size=256):
        yield batch.to_pylist()
