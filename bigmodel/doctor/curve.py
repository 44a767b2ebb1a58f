"""The curve of a run as the doctor keeps it: what each step and each validation measured, grown event by event."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Curve:
    """Losses, learning rates and the way travelled by step; validations by step. Only finite numbers are in it."""

    steps: int = 0  # planned
    step: array = field(default_factory=lambda: array("d"))
    loss: array = field(default_factory=lambda: array("d"))
    rate: array = field(default_factory=lambda: array("d"))
    travelled: array = field(default_factory=lambda: array("d"))  # how far all updates so far may have moved a weight
    stride: array = field(default_factory=lambda: array("d"))  # of an update, for its learning rate; nan: not told
    size: array = field(default_factory=lambda: array("d"))  # of the weights; nan: not told
    moved: array = field(default_factory=lambda: array("d"))  # by an update, as a part of that size; nan: not told
    reach: float = 0.0  # of the newest update
    longest: float = 0.0  # reach of an update
    highest: float = 0.0  # learning rate
    val_step: array = field(default_factory=lambda: array("d"))
    val_loss: array = field(default_factory=lambda: array("d"))
    val_travelled: array = field(default_factory=lambda: array("d"))
    val_metrics: list[Mapping] = field(default_factory=list)

    def add(self, step: float, loss: float, rate: float, reach: float, update: float, weights: float) -> None:
        """reach: how far one update of this step may have moved a weight. update, weights: how far it has moved them,
        as a part of their size, and that size; nan where that was not told."""
        before, far = (self.step[-1], self.travelled[-1]) if self.step else (0.0, 0.0)
        self.step.append(step)
        self.loss.append(loss)
        self.rate.append(rate)
        self.highest = max(self.highest, rate)
        self.stride.append(update * weights / reach if reach else math.nan)
        self.size.append(weights)
        self.moved.append(update)
        self.reach, self.longest = reach, max(self.longest, reach)
        self.travelled.append(far + reach * (step - before))

    def validate(self, step: float, metrics: Mapping) -> None:
        if self.val_step and self.val_step[-1] >= step:  # measured again at the end
            return
        self.val_step.append(step)
        self.val_loss.append(metrics["loss"])
        far = self.travelled[-1] + self.reach * (step - self.step[-1]) if self.step else 0.0
        self.val_travelled.append(far)
        self.val_metrics.append(metrics)

    def cut(self, step: float) -> None:
        """Forget what came at or after a step: a run that goes on from a checkpoint does those again."""
        keep = bisect_left(self.step, step)
        for part in (self.step, self.loss, self.rate, self.travelled, self.stride, self.size, self.moved):
            del part[keep:]
        keep = bisect_left(self.val_step, step)
        for part in (self.val_step, self.val_loss, self.val_travelled, self.val_metrics):
            del part[keep:]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def now(self) -> float:
        return self.step[-1]

    @property
    def done(self) -> float:
        """The part of the planned steps that is done, 0 to 1."""
        return min(self.now / self.steps, 1.0) if self.steps else 0.0

    @property
    def start(self) -> float:
        """The first loss: that of a model that has learnt nothing, unless the run goes on from another's weights."""
        return self.loss[0]

    @property
    def fresh(self) -> bool:
        """Whether the run began with random weights. Not known before a step was told of: a branch may validate first."""
        return bool(self.step) and self.step[0] <= 1

    def learnt(self, loss: float) -> float:
        """How far the loss has come down. What was learnt before a branch began is not known: half of the rest."""
        return self.start - loss if self.fresh else 0.5 * self.start

    def between(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """(steps, losses) with after < step <= until."""
        one, other = bisect_right(self.step, after), bisect_right(self.step, until)
        return np.array(self.step[one:other]), np.array(self.loss[one:other])

    def validations(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        one, other = bisect_right(self.val_step, after), bisect_right(self.val_step, until)
        return np.array(self.val_step[one:other]), np.array(self.val_loss[one:other])


def noise(values: np.ndarray) -> float:
    """Standard deviation of what is not trend: from the differences of neighbours, so that outliers weigh little."""
    if len(values) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(values)))) / 0.954
