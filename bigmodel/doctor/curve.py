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
    learning_rate: array = field(default_factory=lambda: array("d"))
    cumulative_update: array = field(
        default_factory=lambda: array("d")
    )  # how far all updates so far may have moved a weight
    normalized_update: array = field(
        default_factory=lambda: array("d")
    )  # of an update, for its learning rate; nan: not told
    weight_rms: array = field(default_factory=lambda: array("d"))  # of the weights; nan: not told
    update_ratio: array = field(
        default_factory=lambda: array("d")
    )  # by an update, as a part of that size; nan: not told
    update_bound: float = 0.0  # of the newest update
    max_update_bound: float = 0.0  # reach of an update
    max_learning_rate: float = 0.0  # learning rate
    val_step: array = field(default_factory=lambda: array("d"))
    val_loss: array = field(default_factory=lambda: array("d"))
    val_cumulative_update: array = field(default_factory=lambda: array("d"))
    val_metrics: list[Mapping] = field(default_factory=list)

    def add(self, step: float, loss: float, rate: float, reach: float, update: float, weights: float) -> None:
        """reach: how far one update of this step may have moved a weight. update, weights: how far it has moved them,
        as a part of their size, and that size; nan where that was not told."""
        before, far = (self.step[-1], self.cumulative_update[-1]) if self.step else (0.0, 0.0)
        self.step.append(step)
        self.loss.append(loss)
        self.learning_rate.append(rate)
        self.max_learning_rate = max(self.max_learning_rate, rate)
        self.normalized_update.append(update * weights / reach if reach else math.nan)
        self.weight_rms.append(weights)
        self.update_ratio.append(update)
        self.update_bound, self.max_update_bound = reach, max(self.max_update_bound, reach)
        self.cumulative_update.append(far + reach * (step - before))

    def add_validation(self, step: float, metrics: Mapping) -> None:
        if self.val_step and self.val_step[-1] >= step:  # measured again at the end
            return
        self.val_step.append(step)
        self.val_loss.append(metrics["loss"])
        far = self.cumulative_update[-1] + self.update_bound * (step - self.step[-1]) if self.step else 0.0
        self.val_cumulative_update.append(far)
        self.val_metrics.append(metrics)

    def truncate(self, step: float) -> None:
        """Forget what came at or after a step: a run that goes on from a checkpoint does those again."""
        keep = bisect_left(self.step, step)
        for part in (
            self.step,
            self.loss,
            self.learning_rate,
            self.cumulative_update,
            self.normalized_update,
            self.weight_rms,
            self.update_ratio,
        ):
            del part[keep:]
        keep = bisect_left(self.val_step, step)
        for part in (self.val_step, self.val_loss, self.val_cumulative_update, self.val_metrics):
            del part[keep:]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def current_step(self) -> float:
        return self.step[-1]

    @property
    def progress(self) -> float:
        """The part of the planned steps that is done, 0 to 1."""
        return min(self.current_step / self.steps, 1.0) if self.steps else 0.0

    @property
    def first_loss(self) -> float:
        """The first loss: that of a model that has learnt nothing, unless the run goes on from another's weights."""
        return self.loss[0]

    @property
    def from_scratch(self) -> bool:
        """Whether the run began with random weights. Not known before a step was told of: a branch may validate first."""
        return bool(self.step) and self.step[0] <= 1

    def loss_drop(self, loss: float) -> float:
        """How far the loss has come down. What was learnt before a branch began is not known: half of the rest."""
        return self.first_loss - loss if self.from_scratch else 0.5 * self.first_loss

    def losses_between(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """(steps, losses) with after < step <= until."""
        one, other = bisect_right(self.step, after), bisect_right(self.step, until)
        return np.array(self.step[one:other]), np.array(self.loss[one:other])

    def validation_losses_between(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        one, other = bisect_right(self.val_step, after), bisect_right(self.val_step, until)
        return np.array(self.val_step[one:other]), np.array(self.val_loss[one:other])


def robust_noise_std(values: np.ndarray) -> float:
    """Standard deviation of what is not trend: from the differences of neighbours, so that outliers weigh little."""
    if len(values) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(values)))) / 0.954
