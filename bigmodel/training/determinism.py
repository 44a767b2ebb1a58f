"""What a GPU computes twice comes out the same, to the bit, so that a run can go on as if it had never ended."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

ERROR_MARKER = "deterministic"  # in what torch says of an operation that has no such form


def enable_determinism(device: str) -> None:
    """Before the first number on a GPU. Matrix products of fp32 numbers may round their factors to TF32, as is usual in
    training; where an operation has a form that repeats itself, that is taken."""
    import torch

    if not device.startswith("cuda"):
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for; read at its first call
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = False  # which would choose by the clock
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for programmers, and slow
    torch.use_deterministic_algorithms(True, warn_only=True)


def seed_generators(seed: int) -> None:
    """Seed the generators of torch, numpy and Python."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


class Determinism:
    """Attention of torch is computed so that it repeats itself only where it may fail otherwise: so a step is tried
    strictly, and where some operation of the network cannot, as well as it can be."""

    def __init__(self, device: str):
        self.strict = device.startswith("cuda")

    @contextmanager
    def strict_mode(self) -> Iterator[None]:
        import torch

        if not self.strict:
            yield
            return
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(True, warn_only=True)

    def relax_if_unsupported(self, error: Exception) -> bool:
        """Whether this says that an operation has no form that repeats itself; then nothing is strict any more."""
        if not self.strict or not isinstance(error, RuntimeError) or ERROR_MARKER not in str(error):
            return False
        self.strict = False
        return True
