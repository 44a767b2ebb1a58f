"""How well a language model foretells a stream of tokens."""

from __future__ import annotations

import sys
from typing import Any

# A model that says 'unknown' has still to name the character: any code point of Unicode, all equally
# likely. The n-gram baseline pays the same.
UNSEEN_CHARACTERS = sys.maxunicode + 1


def score_stream(
    model: Any, tokens: Any, block: int, batch: int, overlap: int = 0, unknown: int | None = None
) -> tuple[float, int, int, int]:
    """(nats, hits, tokens, unknown tokens) over every token of the stream but the first.

    Windows of `block` tokens; of each but the first, the first `overlap` tokens are context only, so that
    no counted token has less than `overlap` tokens before it.
    """
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from bigmodel.data.windows import window

    device = next(model.parameters()).device
    starts = np.arange(0, max(len(tokens) - 1 - overlap, 1), block - overlap)
    nats, hits, count, unseen = 0.0, 0, 0, 0
    training = model.training
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(starts), batch):
            part = window(tokens, starts[i : i + batch], block)
            labels = part["labels"]
            context = torch.from_numpy(starts[i : i + batch] > 0)[:, None] & (torch.arange(block) < overlap)[None]
            labels = labels.masked_fill(context, -100).to(device)
            logits = model(input_ids=part["input_ids"].to(device)).logits.float()
            nats += cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum").item()
            hits += (logits.argmax(-1) == labels).sum().item()
            count += (labels != -100).sum().item()
            unseen += (labels == unknown).sum().item() if unknown is not None else 0
    model.train(training)
    return nats, hits, count, unseen
