"""Batches of rows of like length, so that little is padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PAD_TO_MULTIPLE_OF = 8  # widths of batches: few shapes, as each may keep kernels of its own in memory
MEGABATCH = 50  # batches whose rows are sorted by length together


def bucketed_batches(lengths: np.ndarray, settings: Mapping, epoch: int | None) -> list[np.ndarray]:
    """Indices of the rows of each batch of an epoch, in random order; with `epoch` None in order of length.

    lengths: of the rows, in tokens, (rows,). Every row is in one batch. The same seed and epoch give the same batches.
    """
    import numpy as np

    size = settings["batch_size"]
    if epoch is None:
        order = np.argsort(lengths, kind="stable")
        return [order[i : i + size] for i in range(0, len(order), size)]
    random = np.random.default_rng([settings["seed"], epoch])
    order = random.permutation(len(lengths))
    span = size * MEGABATCH
    chunks = [order[i : i + span] for i in range(0, len(order), span)]
    chunks = [chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks]
    batches = [chunk[i : i + size] for chunk in chunks for i in range(0, len(chunk), size)]
    return [batches[i] for i in random.permutation(len(batches))]
