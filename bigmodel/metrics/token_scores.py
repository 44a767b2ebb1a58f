"""How well a language model foretells tokens."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import LOSS, Metric
from bigmodel.core.shared_fields import PERPLEXITY, TOKEN_ACCURACY
from bigmodel.core.words import _
from bigmodel.metrics.eval_mode import eval_mode
from bigmodel.metrics.row_metric import RowMetric, mean

if TYPE_CHECKING:
    import numpy as np
    import torch

# A model that says 'unknown' has still to name the character: any code point of Unicode, all equally
# likely. The n-gram baseline pays the same.
UNSEEN_NATS = math.log(sys.maxunicode + 1)


def score_tokens(model: Any, batches: Iterable[Mapping[str, torch.Tensor]]) -> tuple[float, int, int]:
    """(nats, hits, tokens) over the labels of all batches that are not -100: their negative log-likelihood, and how many
    of them are the most likely token.

    batches: the model's inputs and `labels` (...), as its logits are (..., vocabulary).
    """
    from torch.nn.functional import cross_entropy

    nats, hits, count = 0.0, 0, 0
    with eval_mode(model) as device:
        for batch in batches:
            inputs = {name: value.to(device) for name, value in batch.items()}
            labels = inputs.pop("labels")
            logits, counted = model(**inputs).logits, labels != -100
            if not counted.all():  # of a conversation few are: the others' logits need not be copied
                logits, labels = logits[counted], labels[counted]
            logits, labels = logits.float().flatten(0, -2), labels.flatten()
            nats += cross_entropy(logits, labels, reduction="sum").item()
            hits += (logits.argmax(-1) == labels).sum().item()
            count += len(labels)
    return nats, hits, count


def score_stream(
    model: Any, tokens: np.ndarray, block: int, batch: int, overlap: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(nats, hits), each (tokens,): of every token of the stream but the first its negative log-likelihood, and whether it
    is the most likely one.

    Windows of `block` tokens, `batch` at a time; of each but the first, the first `overlap` tokens are context only, so
    that no counted token has less than `overlap` tokens before it.
    """
    import numpy as np
    import torch

    from bigmodel.data.windows import window

    starts = np.arange(0, max(len(tokens) - 1 - overlap, 1), block - overlap)
    nats, hits = np.zeros(len(tokens)), np.zeros(len(tokens))

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for i in range(0, len(starts), batch):
            part = window(tokens, starts[i : i + batch], block)
            context = torch.from_numpy(starts[i : i + batch] > 0)[:, None] & (torch.arange(block) < overlap)[None]
            part["labels"] = part["labels"].masked_fill(context, -100)
            yield part

    for i, (counted, batch_nats, batch_hits) in enumerate(token_scores(model, batches())):
        places = (starts[i * batch : (i + 1) * batch, None] + 1 + np.arange(block))[counted]
        nats[places], hits[places] = batch_nats[counted], batch_hits[counted]
    return nats, hits


def token_scores(
    model: Any, batches: Iterable[Mapping[str, torch.Tensor]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(counted, nats, hits) of each batch, shaped as its labels: which are not -100, their negative log-likelihood, and
    whether they are the most likely token; both 0 where not counted. batches: as in `score_tokens`."""
    import numpy as np
    from torch.nn.functional import cross_entropy

    with eval_mode(model) as device:
        for batch in batches:
            inputs = {name: value.to(device) for name, value in batch.items()}
            labels = inputs.pop("labels")
            logits, counted = model(**inputs).logits, labels != -100
            logits, expected, where = logits[counted].float(), labels[counted], counted.cpu().numpy()
            nats, hits = np.zeros(where.shape), np.zeros(where.shape)
            nats[where] = cross_entropy(logits, expected, reduction="none").cpu().numpy()
            hits[where] = (logits.argmax(-1) == expected).cpu().numpy()
            yield where, nats, hits


def token_row_metrics(named: Sequence[Metric]) -> tuple[RowMetric, ...]:
    """Of records with nats, hits and tokens. named: the task's own metrics, of which those that these give are told; bits
    per character and byte need `spelled_nats`, `characters` and `bytes` too, see `TextGeneration.records`."""
    words = {metric.name: metric for metric in named}
    known = {
        "loss": mean(LOSS, "nats", "tokens"),
        "perplexity": mean(PERPLEXITY, "nats", "tokens", exp_capped),
        "accuracy": mean(TOKEN_ACCURACY, "hits", "tokens"),
    }
    if "bits_per_character" in words:
        known["bits_per_character"] = mean(
            words["bits_per_character"], "spelled_nats", "characters", lambda nats: nats / math.log(2)
        )
        known["bits_per_byte"] = mean(BITS_PER_BYTE, "spelled_nats", "bytes", lambda nats: nats / math.log(2))
    return tuple(known.values())


BITS_PER_BYTE = Metric(
    "bits_per_byte",
    _("Bits per byte"),
    _("How many bits the model needs for one byte of the text in UTF-8: what compression programs are measured by."),
    higher_is_better=False,
)


def exp_capped(nats: np.ndarray) -> np.ndarray:
    """e^nats; above 700 nats as of 700, since what is infinite cannot be written down."""
    import numpy as np

    return np.exp(np.minimum(nats, 700.0))
