"""How well a language model foretells tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bigmodel.metrics.eval_mode import eval_mode

if TYPE_CHECKING:
    import numpy as np
    import torch

# A model that says 'unknown' has still to name the character: any code point of Unicode, all equally
# likely. The n-gram baseline pays the same.
UNSEEN_CHARACTERS = sys.maxunicode + 1


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
    model: Any, tokens: np.ndarray, block: int, batch: int, overlap: int = 0, unknown: int | None = None
) -> tuple[float, int, int, int]:
    """(nats, hits, tokens, unknown tokens) over every token of the stream, tokens (length,), but the first.

    Windows of `block` tokens, `batch` at a time; of each but the first, the first `overlap` tokens are context only, so
    that no counted token has less than `overlap` tokens before it. unknown: the id of the tokenizer's unknown token.
    """
    import numpy as np
    import torch

    from bigmodel.data.windows import window

    starts = np.arange(0, max(len(tokens) - 1 - overlap, 1), block - overlap)
    unseen = 0

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        nonlocal unseen
        for i in range(0, len(starts), batch):
            part = window(tokens, starts[i : i + batch], block)
            context = torch.from_numpy(starts[i : i + batch] > 0)[:, None] & (torch.arange(block) < overlap)[None]
            part["labels"] = part["labels"].masked_fill(context, -100)
            unseen += int((part["labels"] == unknown).sum()) if unknown is not None else 0
            yield part

    return *score_tokens(model, batches()), unseen
