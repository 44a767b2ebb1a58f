"""Windows over a stream of tokens."""

from __future__ import annotations

from typing import Any


def window(tokens: Any, starts: Any, block: int) -> dict:
    """input_ids and labels, each (windows, block), of a stream `tokens` (length,) cut at `starts` (windows,): labels are the
    tokens one further on, -100 past the end."""
    import numpy as np
    import torch

    positions = np.asarray(starts)[:, None] + np.arange(block + 1)
    inside = positions < len(tokens)
    cut = tokens[np.minimum(positions, len(tokens) - 1)].astype(np.int64)
    labels = np.where(inside, cut, -100)[:, 1:]
    return {"input_ids": torch.from_numpy(cut[:, :-1]), "labels": torch.from_numpy(np.ascontiguousarray(labels))}
