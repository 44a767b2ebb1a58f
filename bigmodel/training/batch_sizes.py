"""How large the batches of an epoch are: what a step takes goes with it where sentences are padded to the longest of theirs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bigmodel.core.contracts import Task

if TYPE_CHECKING:
    import numpy as np
    import torch

SAMPLE_SECONDS = 0.3  # for which batches are put together to see how large they are
MAX_SAMPLES = 200


def batch_numel(batch: Mapping[str, torch.Tensor]) -> int:
    """Numbers in a batch, padding included."""
    return sum(values.numel() for values in batch.values())


def sample_batch_sizes(task: Task, rows: Mapping, settings: Mapping, plan: Sequence[np.ndarray]) -> np.ndarray:
    """Of some batches of an epoch, drawn at random but always the same: as many as can be put together in a moment."""
    import numpy as np

    found: list[int] = []
    until = time.perf_counter() + SAMPLE_SECONDS
    for number in np.random.default_rng(0).permutation(len(plan))[:MAX_SAMPLES]:
        found.append(batch_numel(task.batch(rows, plan[number], settings, 0)))
        if time.perf_counter() > until:
            break
    return np.array(found)
