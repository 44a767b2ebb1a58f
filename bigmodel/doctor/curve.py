"""The learning curve that the doctor reads: series over steps and validations, appended event by event."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

_floats = partial(array, "d")
STEP_SERIES = (
    "step", "loss", "learning_rate", "cumulative_update", "normalized_update", "weight_rms", "update_ratio",
)  # fmt: skip
VALIDATION_SERIES = ("val_step", "val_loss", "val_cumulative_update", "val_metrics")


@dataclass
class Curve:
    """Series over the logged steps and over the validations, all float64, each of one length; losses are finite.

    An update's bound is the largest change of a weight that its learning rate allows: the rate itself for Adam, the
    rate times the gradient's share of a weight for SGD.
    """

    steps: int = 0  # planned
    step: array = field(default_factory=_floats)
    loss: array = field(default_factory=_floats)
    learning_rate: array = field(default_factory=_floats)
    cumulative_update: array = field(default_factory=_floats)  # sum of the bounds of all updates so far
    normalized_update: array = field(default_factory=_floats)  # RMS of an update over its bound; nan: not logged
    weight_rms: array = field(default_factory=_floats)  # nan: not logged
    update_ratio: array = field(default_factory=_floats)  # RMS of an update over that of the weights; nan: not logged
    update_bound: float = 0.0  # of the newest update
    max_update_bound: float = 0.0
    max_learning_rate: float = 0.0
    val_step: array = field(default_factory=_floats)
    val_loss: array = field(default_factory=_floats)
    val_cumulative_update: array = field(default_factory=_floats)
    val_metrics: list[Mapping] = field(default_factory=list)

    def add(self, step: float, loss: float, rate: float, bound: float, ratio: float, weight_rms: float) -> None:
        """bound: of an update at this step. ratio: RMS of the update over that of the weights; nan where not logged,
        as for `weight_rms`."""
        previous, total = (self.step[-1], self.cumulative_update[-1]) if self.step else (0.0, 0.0)
        self.step.append(step)
        self.loss.append(loss)
        self.learning_rate.append(rate)
        self.max_learning_rate = max(self.max_learning_rate, rate)
        self.normalized_update.append(ratio * weight_rms / bound if bound else math.nan)
        self.weight_rms.append(weight_rms)
        self.update_ratio.append(ratio)
        self.update_bound, self.max_update_bound = bound, max(self.max_update_bound, bound)
        self.cumulative_update.append(total + bound * (step - previous))

    def add_validation(self, step: float, metrics: Mapping) -> None:
        if self.val_step and self.val_step[-1] >= step:  # measured again at the end
            return
        self.val_step.append(step)
        self.val_loss.append(metrics["loss"])
        total = self.cumulative_update[-1] + self.update_bound * (step - self.step[-1]) if self.step else 0.0
        self.val_cumulative_update.append(total)
        self.val_metrics.append(metrics)

    def truncate(self, step: float) -> None:
        """Drop what was logged at or after a step: a run resumed from a checkpoint repeats it."""
        for index, names in ((self.step, STEP_SERIES), (self.val_step, VALIDATION_SERIES)):
            keep = bisect_left(index, step)
            for name in names:
                del getattr(self, name)[keep:]

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
        """That of an untrained model, unless the run is a branch."""
        return self.loss[0]

    @property
    def from_scratch(self) -> bool:
        """Whether the run began with random weights; False before the first step, as a branch may validate first."""
        return bool(self.step) and self.step[0] <= 1

    def loss_drop(self, loss: float) -> float:
        """How far the loss has fallen to this one. A branch's first loss is already low: half of it stands in."""
        return self.first_loss - loss if self.from_scratch else 0.5 * self.first_loss

    def losses_between(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """(steps, losses) with after < step <= until."""
        return _between(self.step, self.loss, after, until)

    def validation_losses_between(self, after: float, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        return _between(self.val_step, self.val_loss, after, until)


def _between(steps: array, losses: array, after: float, until: float) -> tuple[np.ndarray, np.ndarray]:
    part = slice(bisect_right(steps, after), bisect_right(steps, until))
    return np.array(steps[part]), np.array(losses[part])


def robust_noise_std(values: np.ndarray) -> float:
    """Standard deviation of the noise around a trend, by the median of the differences of neighbours: robust to
    outliers. 0.954 is that median for unit normal noise."""
    if len(values) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(values)))) / 0.954
