"""The batches of a run: how many updates they make, and how large they are, which is what a step takes where sentences are padded."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bigmodel.core.spec import Session
from bigmodel.data.prepare import Prepared

if TYPE_CHECKING:
    import numpy as np
    import torch

SAMPLE_SECONDS = 0.3  # seconds in which batches are put together to see how large they are
MAX_SAMPLES = 200


def count_steps(settings: Mapping, batches: int) -> tuple[int, int]:
    """(updates an epoch, updates of the run), for so many batches an epoch."""
    per_epoch = math.ceil(batches / settings["accumulation"])
    return per_epoch, min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)


def accumulation_groups(session: Session, data: Prepared) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
    """(epoch, index arrays of the batches that share an update), epoch after epoch without end."""
    size = session.settings["accumulation"]
    for epoch in itertools.count():
        plan = session.task.batch_indices(data.arrays["train"], session.settings, epoch)
        for start in range(0, len(plan), size):
            yield epoch, plan[start : start + size]


def batch_numel(batch: Mapping[str, torch.Tensor]) -> int:
    """Elements of all tensors of a batch, padding included."""
    return sum(values.numel() for values in batch.values())


def sample_batch_sizes(session: Session, data: Prepared, plan: Sequence[np.ndarray]) -> np.ndarray:
    """`batch_numel` (sampled,) of some training batches of `plan`, drawn at random but always the same: as many as can
    be put together in a moment."""
    import numpy as np

    sizes: list[int] = []
    until = time.perf_counter() + SAMPLE_SECONDS
    for number in np.random.default_rng(0).permutation(len(plan))[:MAX_SAMPLES]:
        sizes.append(batch_numel(session.task.batch(data.arrays["train"], plan[number], session.settings, 0)))
        if time.perf_counter() > until:
            break
    return np.array(sizes)
