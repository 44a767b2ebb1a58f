"""Evaluate a model on a split: a record of each row, the metrics of all of them with intervals, a baseline beside them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bigmodel
from bigmodel.core import catalog
from bigmodel.core.contracts import HEADS, Dataset, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fingerprints import fingerprint
from bigmodel.core.model import Model
from bigmodel.core.words import Words, _
from bigmodel.evaluation.evaluation import Evaluation, MetricValue, concatenate, default_metric
from bigmodel.metrics.row_metric import measure
from bigmodel.metrics.slices import Slice, find_slices, slice_masks

SEED = 0  # of the resamples of intervals
LOADING, ENCODING = _("Loading the model"), _("Encoding the rows")
PREDICTING, SCORING = _("The model answers"), _("Computing the metrics")
SHARES = {LOADING: 0.0, ENCODING: 0.05, PREDICTING: 0.15, SCORING: 0.85}  # of the work, where each phase begins

Report = Callable[[Words, float], None]  # (phase, share of the work that is done)


def evaluate(
    model: Model, id: str, dataset: str, split: str, report: Report = lambda _phase, _share: None
) -> tuple[Evaluation, dict[str, Any]]:
    """(evaluation, records), the same to the digit whenever it is repeated on the same kind of device.

    Refusal where the data set does not suit the model, or has no rows in the split.
    """
    begun, task, data = time.time(), catalog.task(model.task), catalog.dataset(dataset)
    check_fit(task, dataset)
    report(LOADING, SHARES[LOADING])
    network, processor = _load(model, task)
    report(ENCODING, SHARES[ENCODING])
    rows = data.rows()
    _align_classes(network, rows, split, task)
    if not len(rows[split]):
        raise Refusal(_("The data set has no rows for this part."), do=_("Choose another one."), field="split")
    arrays = task.encode(rows[split], processor, model.settings)
    records = _predict(task, network, processor, arrays, model.settings, report)
    metrics = _measure(task, records, report)
    slices = _slices(task, data, rows[split], records)
    found = task.baseline(rows["train"], rows[split], records, model.settings)
    evaluation = Evaluation(
        id=id,
        model=model.id,
        model_created=model.created,
        title=model.title,
        task=task.name,
        dataset=dataset,
        split=split,
        rows=len(rows[split]),
        metrics=metrics,
        created=begun,
        seconds=time.time() - begun,
        baseline={one.metric.name: _finite(one.value(found[1])) for one in task.row_metrics()} if found else {},
        baseline_title=found[0] if found else None,
        classes=[str(network.config.id2label[index]) for index in range(network.config.num_labels)]
        if HEADS[task.head].classifies
        else (),
        slices=slices,
        provenance=_provenance(model, data, network, task, records),
    )
    return evaluation, records


def check_fit(task: Task, dataset: str) -> None:
    """Refusal where a data set lacks what the task reads."""
    data = catalog.dataset(dataset)
    missing = sorted(task.required_columns - set(data.columns))
    if missing:
        what = _("{dataset} does not suit this model.", dataset=data.title)
        why = _("It has no column for {columns}.", columns=", ".join(missing))
        raise Refusal(what, why, _("Choose a data set of the task the model was trained for."), field="dataset")


def _load(model: Model, task: Task) -> tuple[Any, Any]:
    """(network, processor) on the GPU where there is one with room, else on the CPU, in fp32."""
    import torch

    from bigmodel.data.prepare import load_processor
    from bigmodel.inference.engine import load_errors_as_refusal, load_model

    with load_errors_as_refusal(model.folder):
        network = load_model(model.folder, catalog.architecture(model.architecture), task.head)
        processor = task.prepare_processor(load_processor(model.folder))
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 4 * model.bytes:
        network.to("cuda")
    return network, processor


def _align_classes(network: Any, rows: Any, split: str, task: Task) -> None:
    """Give the classes of another data set the numbers that the model knows them by. Refusal for a class that it has
    never seen."""
    import datasets

    feature = rows[split].features.get("label")
    if not HEADS[task.head].classifies or feature is None:
        return
    known = [str(network.config.id2label[index]) for index in range(network.config.num_labels)]
    names = list(getattr(feature, "names", None) or [])
    if names == known or not names:
        return
    strangers = [name for name in names if name not in known]
    if strangers:
        what = _("The model does not know the class {name}.", name=strangers[0])
        why = _("It was trained on these: {names}.", names=", ".join(known[:10]))
        raise Refusal(what, why, _("Choose a data set with the same classes."), field="dataset")
    numbers = [known.index(name) for name in names]
    for name, part in rows.items():
        labels = [numbers[label] for label in part["label"]]
        kind = datasets.ClassLabel(names=known)
        rows[name] = part.remove_columns("label").add_column("label", labels).cast_column("label", kind)


def _predict(
    task: Task, network: Any, processor: Any, arrays: Mapping, settings: Mapping, report: Report
) -> dict[str, Any]:
    total = sum(map(len, task.batch_indices(arrays, settings, None)))
    parts, done = [], 0
    for part in task.records(network, processor, arrays, settings):
        parts.append(part)
        done += len(part["row"])
        share = min(done / max(total, 1), 1.0)
        report(PREDICTING, SHARES[PREDICTING] + share * (SHARES[SCORING] - SHARES[PREDICTING]))
    return concatenate(parts)


def _measure(task: Task, records: Mapping, report: Report) -> dict[str, MetricValue]:
    every, measured = task.row_metrics(), {}
    for number, row_metric in enumerate(every):
        report(SCORING, SHARES[SCORING] + (1 - SHARES[SCORING]) * number / len(every))
        measured[row_metric.metric.name] = MetricValue(*map(_finite, measure(row_metric, records, SEED)))
    return measured


def _slices(task: Task, data: Dataset, rows: Any, records: dict[str, Any]) -> list[Slice]:
    """By the values, or the lengths, of the columns. Adds to the records the column `slices`, (rows, slices) of 0 and 1."""
    import numpy as np

    columns = {
        name: rows.select(records["row"])[name]
        for name, column in data.columns.items()
        if column.kind in ("text", "class") and name in rows.column_names
    }
    masks = slice_masks({name: [_cell(cell) for cell in cells] for name, cells in columns.items()})
    metric = next(one for one in task.row_metrics() if one.metric.name == default_metric(task))
    found = find_slices(metric, records, masks, SEED)
    if found:
        order = [masks[one.column, one.value, one.low, one.high] for one in found]
        records["slices"] = np.stack(order, axis=1).astype(np.uint8)
    return found


def _cell(value: object) -> object:
    return "" if value is None else value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _provenance(model: Model, data: Any, network: Any, task: Task, records: Mapping) -> dict[str, str]:
    import torch
    import transformers

    weights = {path.name: fingerprint(path) for path in sorted(Path(model.folder).glob("*.safetensors"))}
    return {
        **{f"sha256 {name}": value for name, value in weights.items()},
        "sha256 rows": data.fingerprint(),
        "bigmodel": bigmodel.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": next(network.parameters()).device.type,
        "seed": str(SEED),
        **{f"signature {name}": text for name, text in task.score_signatures(records).items()},
    }
