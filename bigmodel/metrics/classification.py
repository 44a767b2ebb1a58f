"""How well a model tells classes apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import HEADS, LOSS, Metric, Task
from bigmodel.core.words import Words, _
from bigmodel.metrics.eval_mode import eval_mode
from bigmodel.metrics.row_metric import Records, RowMetric, additive, mean, share

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


def class_records(task: Task, model: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict[str, np.ndarray]]:
    """Records of a split, batch by batch: row, label, predicted (rows,), probabilities (rows, classes), and loss (rows,),
    the nats that the right class is short of certain. Probabilities are computed in float64."""
    import numpy as np

    inputs = HEADS[task.head].inputs
    with eval_mode(model) as device:
        for indices in task.batch_indices(arrays, settings, None):
            batch = task.batch(arrays, indices, settings, None)
            outputs = model(**{name: batch[name].to(device) for name in inputs if name in batch})
            log_probabilities = outputs.logits.double().log_softmax(-1).cpu().numpy()
            labels = batch["labels"].numpy()
            yield {
                "row": np.asarray(indices),
                "label": labels,
                "predicted": log_probabilities.argmax(-1),
                "probabilities": np.exp(log_probabilities),
                "loss": -log_probabilities[np.arange(len(labels)), labels],
            }


def majority_baseline(train: Any, records: Records) -> tuple[Words, Records]:
    """Answers that know nothing of a row: how frequent each class is among the training rows."""
    import numpy as np

    label, classes = np.asarray(records["label"]), np.shape(records["probabilities"])[1]
    counts = np.bincount(np.asarray(train["label"]), minlength=classes).astype(np.float64)
    share = (counts + 1) / (counts + 1).sum()  # a class that was never seen is not impossible
    return _("Always the most frequent class"), {
        "row": records["row"],
        "label": label,
        "predicted": np.full(len(label), share.argmax()),
        "probabilities": np.tile(share, (len(label), 1)),
        "loss": -np.log(share[label]),
    }


CALIBRATION_BINS = 15
TOP = 3  # classes of 'among the first'


def class_row_metrics(named: Sequence[Metric]) -> tuple[RowMetric, ...]:
    """What is told of answers that are classes. named: the task's own metrics, whose words are used where it has them."""
    words = {metric.name: metric for metric in (PRECISION, F1_WEIGHTED, *named)}
    by_class = {name: words[name] for name in ("precision", "recall", "f1", "f1_weighted")}
    return (
        share(words["accuracy"], lambda records: _hits(records, 1)),
        share(TOP_ACCURACY, lambda records: _hits(records, TOP)),
        *(additive(metric, _confusions, _by_class(name)) for name, metric in by_class.items()),
        RowMetric(ROC_AUC, lambda records: partial(_over_classes, records, _roc_auc)),
        RowMetric(AVERAGE_PRECISION, lambda records: partial(_over_classes, records, _average_precision)),
        mean(LOSS, "loss"),
        additive(CALIBRATION_ERROR, _calibration, _calibration_error),
    )


TOP_ACCURACY = Metric(
    "top_accuracy",
    _("Among the first three"),
    _("The part of the rows whose class is among the three that the model holds for the most likely."),
    percent=True,
)
PRECISION = Metric(
    "precision",
    _("Class precision"),
    _("Of what is put into a class, how much belongs there; the mean over the classes."),
    percent=True,
)
F1_WEIGHTED = Metric(
    "f1_weighted",
    _("F1, weighted"),
    _("F1 of each class, the mean weighted by how many rows a class has."),
    percent=True,
)
ROC_AUC = Metric(
    "roc_auc",
    _("ROC-AUC"),
    _(
        "How often a row of a class gets a higher probability for it than a row of another class; 0.5 is guessing, 1 is perfect. The mean over the classes."
    ),
)
AVERAGE_PRECISION = Metric(
    "average_precision",
    _("Average precision"),
    _(
        "The area under the curve of precision over recall, the mean over the classes; guessing gives the share of a class."
    ),
)
CALIBRATION_ERROR = Metric(
    "calibration_error",
    _("Calibration error"),
    _(
        "How far the probability of the answers is from how often they are right. Below 5 % they can be taken at their word."
    ),
    higher_is_better=False,
    percent=True,
)


def _hits(records: Records, top: int) -> np.ndarray:
    """(rows,): whether the class is among the first. Of classes that are equally likely the first counts first."""
    import numpy as np

    probabilities, label = np.asarray(records["probabilities"]), np.asarray(records["label"])
    own = probabilities[np.arange(len(label)), label][:, None]
    before = (probabilities > own) | ((probabilities == own) & (np.arange(probabilities.shape[1]) < label[:, None]))
    return before.sum(1) < top


def _confusions(records: Records) -> Any:
    """(rows, 3 classes), sparse: hit, answered, right, each at its class."""
    import numpy as np
    from scipy.sparse import csr_array, hstack

    label, predicted = np.asarray(records["label"]), np.asarray(records["predicted"])
    shape, rows = (len(label), np.shape(records["probabilities"])[1]), np.arange(len(label))
    ones = np.ones(len(label))
    hits = csr_array(((label == predicted).astype(np.float64), (rows, label)), shape)
    return hstack([hits, csr_array((ones, (rows, predicted)), shape), csr_array((ones, (rows, label)), shape)]).tocsr()


def _by_class(name: str) -> Any:
    """Over the classes that occur, as answer or as label; 0 where a class is never answered, or never right."""

    def value(sums: np.ndarray) -> np.ndarray:
        import numpy as np

        hits, answered, right = np.split(sums, 3, axis=1)
        top, bottom = {"precision": (hits, answered), "recall": (hits, right)}.get(name, (2 * hits, answered + right))
        each = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
        weights = right if name == "f1_weighted" else (answered + right > 0).astype(np.float64)
        return (each * weights).sum(1) / weights.sum(1)

    return value


def _over_classes(records: Records, curve: Any, weights: np.ndarray) -> np.ndarray:
    """The mean of a curve's area over the classes that have rows and leave others some."""
    import numpy as np

    probabilities, label = np.asarray(records["probabilities"]), np.asarray(records["label"])
    by_row = np.ascontiguousarray(weights.T, dtype=np.float32)  # whole numbers: exact up to 2^24 rows
    with np.errstate(divide="ignore", invalid="ignore"):
        areas = np.stack(
            [curve(*_sums_by_score(probabilities[:, one], label == one, by_row)) for one in np.unique(label)]
        )
    known = np.isfinite(areas)
    return np.where(known, areas, 0.0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


def _sums_by_score(scores: np.ndarray, positive: np.ndarray, by_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(positives, all) with each score, each (different scores, draws), from the highest score down."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    ranked = by_row[order]
    hits = ranked * positive[order, None]
    if len(starts) == len(order):
        return hits, ranked
    return np.add.reduceat(hits, starts, axis=0), np.add.reduceat(ranked, starts, axis=0)


def _roc_auc(hits: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Pairs in the right order, equal scores by half (Mann and Whitney 1947)."""
    import numpy as np

    alarms, total = answered - hits, hits.sum(0, dtype=np.float64)
    above = np.cumsum(hits, axis=0) - hits / 2
    return np.einsum("sd,sd->d", alarms, above, dtype=np.float64) / (total * alarms.sum(0, dtype=np.float64))


def _average_precision(hits: np.ndarray, answered: np.ndarray) -> np.ndarray:
    import numpy as np

    found, seen = np.cumsum(hits, axis=0), np.cumsum(answered, axis=0)
    precision = np.divide(found, seen, out=np.zeros(found.shape), where=seen > 0, dtype=np.float64)
    return np.einsum("sd,sd->d", hits, precision, dtype=np.float64) / hits.sum(0, dtype=np.float64)


def _calibration(records: Records) -> Any:
    """(rows, 1 + bins), sparse: 1, and confidence less hit in the bin of the confidence."""
    import numpy as np
    from scipy.sparse import csr_array, hstack

    confidence = np.max(records["probabilities"], axis=1)
    gap = confidence - (np.asarray(records["label"]) == np.asarray(records["predicted"]))
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    shape = (len(gap), CALIBRATION_BINS)
    return hstack([csr_array(np.ones((len(gap), 1))), csr_array((gap, (np.arange(len(gap)), bins)), shape)]).tocsr()


def _calibration_error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error over 15 bins of equal width (Guo et al. 2017)."""
    import numpy as np

    return np.abs(sums[:, 1:]).sum(1) / sums[:, 0]
