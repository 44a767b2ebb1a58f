"""An evaluation: what was measured of a model on rows, and the folder it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core import checked_json
from bigmodel.core.checked_json import (
    fields,
    is_count,
    is_number,
    is_text,
    is_time,
    is_words,
    list_of,
    object_of,
    optional,
)
from bigmodel.core.contracts import LOSS, Task
from bigmodel.core.words import Words
from bigmodel.metrics.slices import Slice

if TYPE_CHECKING:
    pass

VERSION = 1  # of how is measured: an evaluation of another version is made anew
ABOUT_FILE, RECORDS_FILE = "evaluation.json", "records.parquet"
VALUE = fields({"value": optional(is_number), "low": optional(is_number), "high": optional(is_number)})
IS_SLICE = fields(
    {
        "column": is_text, "value": is_text, "low": is_count, "high": is_count, "rows": is_count, "score": is_number,
        "p": is_number,
    }
)  # fmt: skip
IS_ABOUT = fields(
    {
        "id": is_text, "model": is_text, "model_created": is_time, "title": is_words, "task": is_text,
        "dataset": is_text, "split": is_text, "rows": is_count, "metrics": object_of(VALUE),
        "baseline": object_of(optional(is_number)), "baseline_title": optional(is_words), "classes": list_of(is_text),
        "created": is_time, "seconds": is_number, "version": is_count, "provenance": object_of(is_text),
        "slices": list_of(IS_SLICE),
    }
)  # fmt: skip


@dataclass(frozen=True)
class MetricValue:
    """A figure with its interval at 95 %; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """provenance: what the figures depend on: SHA-256 of weights and rows, versions, seed, signatures of scores."""

    id: str
    model: str
    model_created: float  # a run that goes on makes a new model under the same id
    title: Words | str
    task: str
    dataset: str
    split: str
    rows: int
    metrics: Mapping[str, MetricValue]
    created: float
    seconds: float
    baseline: Mapping[str, float | None] = field(default_factory=dict)
    baseline_title: Words | str | None = None
    classes: Sequence[str] = ()
    version: int = VERSION
    provenance: Mapping[str, str] = field(default_factory=dict)
    slices: Sequence[Slice] = field(
        default_factory=list
    )  # by the task's first metric; the column `slices` of the records says which rows

    def to_json(self) -> dict:
        plain = {name: getattr(self, name) for name in IS_ABOUT_FIELDS}
        plain["metrics"] = {name: asdict(value) for name, value in self.metrics.items()}
        plain["classes"] = list(self.classes)
        plain["slices"] = [asdict(part) for part in self.slices]
        for name in ("title", "baseline_title"):
            plain[name] = plain[name].to_json() if isinstance(plain[name], Words) else plain[name]
        return plain

    @staticmethod
    def from_json(plain: Mapping) -> Evaluation:
        """ValueError for what was not written by `to_json`."""
        if not IS_ABOUT(plain):
            raise ValueError("not an evaluation")
        values = {name: plain[name] for name in IS_ABOUT_FIELDS}
        values["slices"] = [Slice(*(part[name] for name in Slice.__dataclass_fields__)) for part in plain["slices"]]
        values["metrics"] = {
            name: MetricValue(value["value"], value["low"], value["high"]) for name, value in plain["metrics"].items()
        }
        for name in ("title", "baseline_title"):
            values[name] = Words.from_json(plain[name]) if isinstance(plain[name], Mapping) else plain[name]
        return Evaluation(**values)


IS_ABOUT_FIELDS = tuple(Evaluation.__dataclass_fields__)


def default_metric(task: Task) -> str:
    """By which models of a task are compared unless a person says otherwise."""
    others = (metric.name for metric in task.metrics if metric.name != LOSS.name)
    return task.comparison_metric or next(others, LOSS.name)


def write(folder: Path, evaluation: Evaluation, records: Mapping[str, Any]) -> None:
    """Both files into a folder that is there."""
    import pyarrow.parquet as parquet

    parquet.write_table(_table(records), folder / RECORDS_FILE)
    text = json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1)
    (folder / ABOUT_FILE).write_text(text, "utf-8")


def read(folder: Path) -> Evaluation:
    """OSError or ValueError where there is none that can be read."""
    return Evaluation.from_json(checked_json.read_object(folder / ABOUT_FILE))


def read_records(folder: Path, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """name -> array (rows, ...) or list of texts, in the order of the split. columns: those that are wanted."""
    import numpy as np
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(folder / RECORDS_FILE, columns=list(columns) if columns is not None else None)
    records: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if arrow.types.is_string(column.type):
            records[name] = column.to_pylist()
        elif arrow.types.is_fixed_size_list(column.type):
            flat = np.asarray(column.combine_chunks().flatten())
            records[name] = flat.reshape(len(column), column.type.list_size)
        else:
            records[name] = column.to_numpy()
    return records


def _table(records: Mapping[str, Any]) -> Any:
    import numpy as np
    import pyarrow as arrow

    columns = {}
    for name, values in records.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = arrow.array(np.ascontiguousarray(values).ravel())
            columns[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            columns[name] = arrow.array(values)
    return arrow.table(columns)


def concatenate(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records of batches as one, in the order of the rows."""
    import numpy as np

    if not parts:
        return {"row": np.empty(0, dtype=np.int64)}
    order = np.argsort(np.concatenate([part["row"] for part in parts]), kind="stable")
    joined: dict[str, Any] = {}
    for name, values in parts[0].items():
        if isinstance(values, list):
            texts = [text for part in parts for text in part[name]]
            joined[name] = [texts[index] for index in order]
        else:
            joined[name] = np.concatenate([part[name] for part in parts])[order]
    return joined
