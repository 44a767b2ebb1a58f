"""Units, seconds and losses of training; validation and samples are not training."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from bigmodel.core.contracts import Loss
from bigmodel.core.events import Event

DEVICE_EVENT_SECONDS = 2.0


class Throughput:
    """Counts between two step events. What it has counted goes on in another process.

    `mean_update_numel`: elements of all batches of an update, padding included, in the mean of an epoch. Batches of long
    sentences take longer, so the time left is told by how much of this has been worked off rather than by steps.
    """

    def __init__(self, device: str, mean_update_numel: float, before: Mapping | None = None):
        before = before or {"seconds": 0.0, "units": 0, "losses": []}
        self.device, self.mean_update_numel = device, mean_update_numel
        self.last_rate_time = self.last_device_time = time.perf_counter()
        self.started = self.last_rate_time - before["seconds"]
        self.paused = 0.0
        self.units: int = before["units"]
        self.numel: int = before.get("size", 0)
        self.losses: list = list(before["losses"])
        self.loss_parts: dict[str, list] = {name: list(past) for name, past in before.get("loss_parts", {}).items()}

    def state(self) -> dict:
        """What it goes on from in another process."""
        return {
            "seconds": self.seconds(),
            "units": self.units,
            "size": self.numel,
            "losses": [float(loss) for loss in self.losses],
            "loss_parts": {name: [float(part) for part in past] for name, past in self.loss_parts.items()},
        }

    def count(self, units: int, numel: int) -> None:
        self.units += units
        self.numel += numel

    def add_loss(self, loss: Loss) -> None:
        """Of a step, still on the device: it is not waited for before an event tells of it."""
        self.losses.append(loss.total)
        for name, part in loss.parts.items():
            self.loss_parts.setdefault(name, []).append(part)

    def step_event(
        self, step: int, per_epoch: int, learning_rate: float, norm: Any, moved: Mapping[str, float] | None = None
    ) -> Event:
        """What the steps since the last event came to; `moved` is of the newest one."""
        parts = {name: fmean(map(float, past)) for name, past in self.loss_parts.items()}
        self.loss_parts = {}
        return Event(
            "step",
            {
                "step": step,
                "epoch": step / per_epoch,
                "loss": self.loss(),
                "learning_rate": learning_rate,
                "gradient_norm": norm.item(),
                "rate": self.pop_rate(),
                "seconds": self.seconds(),
                "work": self.numel / self.mean_update_numel,
                **(moved or {}),
                **({"loss_parts": parts} if parts else {}),
            },
        )

    def loss(self) -> float:
        """Mean over the steps since the last event; a host sync on a GPU."""
        mean = sum(float(loss) for loss in self.losses) / len(self.losses)
        self.losses = []
        return mean

    def pop_rate(self) -> float:
        """Units a second since the last event."""
        now = time.perf_counter()
        rate = self.units / max(now - self.last_rate_time, 1e-9)
        self.last_rate_time, self.units = now, 0
        return rate

    def seconds(self) -> float:
        """In training, pauses left out."""
        return time.perf_counter() - self.started - self.paused

    def elapsed(self) -> float:
        """In training, and in the pauses of this process."""
        return time.perf_counter() - self.started

    @contextmanager
    def pause(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.paused += spent
            self.last_rate_time += spent

    def device_due(self) -> bool:
        now = time.perf_counter()
        if now - self.last_device_time < DEVICE_EVENT_SECONDS:
            return False
        self.last_device_time = now
        return True

    def device_event(self) -> Event:
        return Event("device", {"used": self._device_use(), "seconds": self.seconds()})

    def _device_use(self) -> dict[str, float]:
        """memory: bytes of this process; cpu: percent of one core; gpu_memory: bytes held on the GPU."""
        import psutil
        import torch

        self.process = getattr(self, "process", None) or psutil.Process(os.getpid())
        used = {"memory": self.process.memory_info().rss, "cpu": self.process.cpu_percent()}
        if self.device.startswith("cuda"):
            used["gpu_memory"] = torch.cuda.memory_allocated()
            used["gpu_peak"] = torch.cuda.max_memory_allocated()
        return used
