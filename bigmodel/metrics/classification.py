"""How well a model tells classes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import HEADS, Task
from bigmodel.metrics.eval_mode import eval_mode

if TYPE_CHECKING:
    import numpy as np


def predict_classes(task: Task, model: Any, arrays: Mapping, settings: Mapping) -> tuple[float, np.ndarray, np.ndarray]:
    """(mean loss, predicted classes, right classes) over a whole split, the latter two (rows,) in the order of its
    batches. The loss is the task's own, without label smoothing, which is there to regularise training."""
    import numpy as np

    inputs, plain = HEADS[task.head].inputs, {**settings, "label_smoothing": 0.0}
    total, weights, predicted, right = 0.0, 0.0, [], []
    with eval_mode(model) as device:
        for indices in task.batch_indices(arrays, settings, None):
            batch = task.batch(arrays, indices, settings, None)
            weight, on_device = task.loss_weight(batch), {name: value.to(device) for name, value in batch.items()}
            outputs = model(**{name: on_device[name] for name in inputs if name in on_device})
            loss = task.loss(outputs, {name: on_device[name] for name in task.targets}, plain)
            total, weights = total + loss.total.item() * weight, weights + weight
            predicted.append(outputs.logits.argmax(-1).cpu().numpy())
            right.append(batch["labels"].numpy())
    return total / weights, np.concatenate(predicted), np.concatenate(right)


def macro_metrics(right: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 as the mean over the classes, and F1 weighted by the size of the classes, each 0 to 1.
    right, predicted: classes, (rows,)."""
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    precision, recall, f1, _count = precision_recall_fscore_support(right, predicted, average="macro", zero_division=0)
    weighted = f1_score(right, predicted, average="weighted", zero_division=0)
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1), "f1_weighted": float(weighted)}
