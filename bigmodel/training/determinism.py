"""Deterministic kernels and seeded generators: a run that is resumed is, bit by bit, the one that never ended."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

ERROR_MARKER = "deterministic"  # in torch's error for an operation without a deterministic kernel


def enable_determinism(device: str) -> None:
    """Before the first operation on a GPU: deterministic kernels wherever there are any. fp32 matrix products may use
    TF32, as is usual in training."""
    import torch

    if not device.startswith("cuda"):
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for; read at its first call
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = False  # autotuning chooses by the clock
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
    """torch takes the deterministic backward of attention only where nondeterminism is an error: so a step is tried
    strictly first, and with warnings only where some operation of the network has no deterministic kernel."""

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
        """Whether the error says that an operation has no deterministic kernel; then nothing is strict any more."""
        if not self.strict or not isinstance(error, RuntimeError) or ERROR_MARKER not in str(error):
            return False
        self.strict = False
        return True
