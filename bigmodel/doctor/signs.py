"""Signs of trouble in a learning curve: each detector returns one Sign, or None."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from bigmodel.doctor.curve import Curve, robust_noise_std

NOT_A_NUMBER, SPIKE, PLATEAU, OVERFITTING = "not-a-number", "spike", "plateau", "overfitting"
RATE_TOO_HIGH, RATE_TOO_LOW, SHUFFLED = "rate-too-high", "rate-too-low", "shuffled-labels"
MEMORIZED_LOSS_RATIO = 0.35  # training over validation loss: below it, the rows themselves have been memorized
CONVERGED_LOSS_RATIO = 0.04  # of the first loss: below it a plateau is convergence
VANISHING_UPDATE_RATIO = 0.06  # of the usual normalized update: below it the gradient has vanished
PLATEAU_WINDOWS = ((2, 0.03), (3, 0.1), (4, 0.2))  # (validations in a row, their largest change over the usual one)
MAX_UPDATE_RATIO = 0.1  # update over weights: above it each update undoes the ones before
SPIKE_SIGMAS = 5.5  # standard deviations of the noise
SPIKE_DURATIONS = (0.005, 0.025)  # of the steps: shorter is an odd batch; a low spike takes longer to stand out


@dataclass(frozen=True)
class Sign:
    """What is wrong, since which step, and the numbers that show it."""

    kind: str
    since_step: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    detected_by: str = ""  # which detector, where a kind has several


def spike(curve: Curve) -> Sign | None:
    """The newest losses stand far above the ones before them: by the noise, and by what has been learnt."""
    return next(filter(None, (_spike(curve, duration) for duration in SPIKE_DURATIONS)), None)


def _spike(curve: Curve, duration: float) -> Sign | None:
    """By the mean loss over this share of the planned steps, since one odd batch is no spike, unless it undoes all."""
    count = max(len(curve) - bisect_right(curve.step, curve.current_step - duration * curve.steps), 1)
    if len(curve) % max(count // 4, 1) and curve.loss[-1] <= curve.first_loss:
        return None  # a dense curve is checked at every few points
    before = curve.loss[max(len(curve) - count - max(20, 3 * count), 0) : len(curve) - count]
    if len(before) < 7:
        return None
    base = median(before[-7:]) if count == 1 else fmean(before)
    newest = curve.loss[-1] if curve.loss[-1] > curve.first_loss else fmean(curve.loss[-count:])
    rise, learnt = newest - base, curve.loss_drop(base)
    if learnt < 0.05 * curve.first_loss or rise < 0.12 * learnt or rise <= 0:  # the last: the loss is 0 throughout
        return None
    if rise < SPIKE_SIGMAS * _noise_std(before) * math.sqrt(1 / count + 1 / len(before)):
        return None
    return Sign(SPIKE, int(curve.step[-count]), {"before": base, "loss": newest})


def _noise_std(losses: Sequence[float]) -> float:
    """Standard deviation of the noise around a trend, from the differences of neighbours."""
    return math.sqrt(fmean((b - a) ** 2 for a, b in pairwise(losses)) / 2)


def validation_spike(curve: Curve) -> Sign | None:
    """The newest validation is worse than a model that knows nothing, and one before was good."""
    if not curve.val_loss or not curve.from_scratch:
        return None
    best, newest = min(curve.val_loss), curve.val_loss[-1]
    if best > 0.5 * curve.first_loss or newest <= 1.1 * curve.first_loss:
        return None
    return Sign(SPIKE, int(curve.val_step[-1]), {"before": best, "loss": newest}, "validation")


def lasting_spike(curve: Curve, leap: Sign) -> Sign | None:
    """A spike from which the loss does not come back."""
    steps, losses = curve.losses_between(leap.since_step)
    if len(steps) < 3 or steps[-1] - leap.since_step < 0.05 * curve.steps:
        return None
    before, height = leap.numbers["before"], leap.numbers["loss"]
    level = float(losses[len(losses) // 2 :].mean())
    if level < before + 0.45 * (height - before):
        return None
    numbers = {"before": before, "loss": level, "rate": curve.learning_rate[-1]}
    return Sign(RATE_TOO_HIGH, leap.since_step, numbers, "later")


def updates_too_large(curve: Curve) -> Sign | None:
    """Updates as large as a part of the weights themselves: each undoes what those before have learnt."""
    if not 0.015 <= curve.progress <= 0.3 or len(curve) < 5 or not curve.from_scratch:
        return None
    if median(curve.loss[-3:]) < 0.85 * curve.first_loss:
        return None
    moved = median(curve.update_ratio[1:])
    if not moved > MAX_UPDATE_RATIO:
        return None
    return Sign(RATE_TOO_HIGH, 1, {"before": 0.5 * curve.first_loss, "loss": curve.loss[-1], "moved": moved,
                "rate": curve.max_learning_rate}, "updates")  # fmt: skip


def diverges_at_start(curve: Curve) -> Sign | None:
    """The loss is driven above where it began instead of falling."""
    if curve.progress > 0.3 or len(curve) < 2 or not curve.from_scratch:
        return None
    level = _diverged_loss(curve)
    if level is None:
        return None
    numbers = {"before": curve.first_loss, "loss": level, "rate": curve.learning_rate[-1]}
    return Sign(RATE_TOO_HIGH, int(curve.current_step), numbers, "start")


def _diverged_loss(curve: Curve) -> float | None:
    """How high the loss has been driven above its start; None where that may be the noise of batches."""
    last, two = curve.loss[-1], min(curve.loss[-2:])
    apart = (curve.current_step - curve.step[0]) / (len(curve) - 1)  # steps to an event: its loss is a mean over them
    if last > 1.6 * curve.first_loss or (last > 1.25 * curve.first_loss and apart >= 2):
        return last
    if two > 1.25 * curve.first_loss:
        return two
    if curve.val_loss and curve.val_loss[-1] > 1.2 * curve.first_loss and max(curve.loss) > 1.05 * curve.first_loss:
        return curve.val_loss[-1]
    if len(curve) < 4:
        return None
    count = max(len(curve) - bisect_right(curve.step, curve.current_step - 0.01 * curve.steps), 2)
    level = fmean(curve.loss[-count:])
    surely = 3 * _noise_std(curve.loss) * math.sqrt(apart + 1 / count)
    return level if level > max(1.07 * curve.first_loss, curve.first_loss + surely) else None


def updates_too_small(curve: Curve) -> Sign | None:
    """The updates are so small that even all of them together could not take the weights anywhere."""
    if curve.progress < 0.06 or len(curve) < 2 or not curve.from_scratch or not curve.first_loss:
        return None  # where the first loss is 0 there is nothing to fall from
    fallen = (curve.first_loss - median(curve.loss[max(len(curve) - 3, 1) :])) / abs(curve.first_loss)
    reach = curve.cumulative_update[-1] + curve.max_update_bound * (curve.steps - curve.current_step)
    if fallen > (0.05 if reach > 0.005 else 0.15) or reach > 0.03:
        return None
    return Sign(RATE_TOO_LOW, 1, {"fallen": fallen, "reach": reach, "rate": curve.max_learning_rate})


def stuck_at_chance(curve: Curve, classes: int, chance: float) -> Sign | None:
    """The loss stands where it stands when the input says nothing about the label."""
    if not 0.08 <= curve.progress <= 0.6 or len(curve) < 3 or not curve.from_scratch:
        return None
    if curve.cumulative_update[-1] < 0.005:
        return None
    lately = max(len(curve.losses_between(curve.current_step - 0.06 * curve.steps)[0]), 2)
    level = fmean(curve.loss[max(len(curve) - lately, 1) :])
    if not 0.992 * chance <= level <= 1.2 * chance:
        return None
    guessed = [metrics["accuracy"] for metrics in curve.val_metrics[-3:] if "accuracy" in metrics]
    if not guessed or max(guessed) > 1.8 / classes or min(curve.val_loss) < 0.98 * chance:
        return None
    return Sign(SHUFFLED, 1, {"step": curve.current_step, "loss": level, "chance": chance, "accuracy": guessed[-1]})


def plateau(curve: Curve) -> Sign | None:
    """Updates go on, and nothing comes of them any more: seen in the validations, else over a long time."""
    if not 0.1 <= curve.progress <= 0.85 or curve.learning_rate[-1] < 0.3 * curve.max_learning_rate:
        return None  # near the end, and at a decayed learning rate, a plateau is what the schedule intends
    return _validation_plateau(curve) or _training_plateau(curve)


def vanishing_updates(curve: Curve) -> Sign | None:
    """At the same learning rate the updates move the weights a fraction of what they did: the gradient is lost."""
    if len(curve) < 12 or curve.loss[-1] < CONVERGED_LOSS_RATIO * curve.first_loss:
        return None
    newest = max(len(curve) - bisect_right(curve.step, curve.current_step - 0.01 * curve.steps), 3)
    strides = np.array(curve.normalized_update)[-newest - 60 :]
    before, now = strides[:-newest], strides[-newest:]
    usual = float(np.median(before)) if len(before) >= 8 else math.nan
    if not now.max() <= VANISHING_UPDATE_RATIO * usual:
        return None
    return Sign(PLATEAU, int(curve.step[-newest]), {"loss": curve.loss[-1], "usual": usual, "stride": float(now.max()),
                "times": min(usual / max(float(now.max()), 1e-30), 1e6)}, "updates")  # fmt: skip


def _validation_plateau(curve: Curve) -> Sign | None:
    """The last validations differ by a fraction of what the ones before them did, for the same way travelled."""
    if len(curve.val_loss) < 8:
        return None
    losses = np.array(curve.val_loss[-10:])
    if losses[-1] < CONVERGED_LOSS_RATIO * curve.first_loss:
        return None
    changes = np.abs(np.diff(losses))
    ways = np.diff(np.array(curve.val_cumulative_update[-10:]))
    pace = changes / losses[1:] / np.maximum(ways, 1e-12)  # for its size: what falls by half each time falls on
    falling = bool((np.diff(losses[-4:]) < 0).all())  # slow, but it gets somewhere
    for last, share in PLATEAU_WINDOWS:
        before = float(np.median(pace[-last - 5 : -last]))
        if pace[-last:].max() <= share * before * (0.25 if falling else 1):
            break
    else:
        return None
    return Sign(PLATEAU, int(curve.val_step[-last - 1]), {"loss": curve.val_loss[-1],
                "change": float(changes[-last:].max()), "before": float(np.median(changes[:-last]))},
                "validations")  # fmt: skip


def _training_plateau(curve: Curve) -> Sign | None:
    """Over three tenths of the run neither the training loss nor the best validation has become better."""
    if curve.progress < 0.4:
        return None
    since = curve.current_step - 0.3 * curve.steps
    steps, losses = curve.losses_between(since)
    if len(steps) < 16:
        return None
    half = len(losses) // 2
    older, newer = losses[:half], losses[half:]
    error = math.sqrt(older.var() / len(older) + newer.var() / len(newer))
    if newer.mean() < older.mean() - error or newer.mean() < CONVERGED_LOSS_RATIO * curve.first_loss:
        return None
    _steps, earlier = curve.validation_losses_between(0, since)
    _steps, lately = curve.validation_losses_between(since)
    if len(earlier) and len(lately) and lately.min() < earlier.min():
        return None
    return Sign(PLATEAU, int(since), {"loss": float(losses.mean()), "steps": 0.3 * curve.steps}, "training")


def overfitting(curve: Curve) -> Sign | None:
    """The validation loss has turned and rises, while the training loss goes on falling."""
    if len(curve.val_loss) < 4:
        return None
    losses = np.array(curve.val_loss)
    best = int(losses.argmin())
    later = losses[best + 1 :]
    if len(later) < 3:
        return None
    turned, now = curve.val_step[best], curve.val_step[-1]
    span = max(now - turned, 0.02 * curve.steps)
    _s, then = curve.losses_between(turned - span / 2, turned + span / 2)
    _s, lately = curve.losses_between(now - span / 2, now)
    if not len(then) or not len(lately) or lately.mean() > 0.98 * then.mean():
        return None
    height, unsteady = float(later[-3:].min() - losses[best]), float(np.abs(np.diff(later[-4:])).max())
    risen = height > max(0.015 * losses[best], 2.5 * robust_noise_std(losses[-10:]), 1.5 * unsteady)
    little = height > max(0.005 * losses[best], 1.5 * _noise_std(losses[-10:]), 0.5 * unsteady)
    memorized = little and lately.mean() < MEMORIZED_LOSS_RATIO * later[-3:].min()
    if not risen and not memorized:
        return None
    return Sign(OVERFITTING, int(turned), {"best": float(losses[best]), "loss": float(losses[-1]),
                "training": float(lately.mean()), "then": float(then.mean())})  # fmt: skip


# -- and how a sickness ends -----------------------------------------------------------------------------------------
def _recent_loss(curve: Curve, part: float = 0.05) -> float:
    """The mean loss over the last part of the planned steps."""
    losses = curve.losses_between(curve.current_step - part * curve.steps)[1]
    return float(losses.mean()) if len(losses) else curve.loss[-1]


def _spike_over(curve: Curve, sign: Sign) -> bool:
    """A leap that has fallen again, a while ago."""
    down = _recent_loss(curve) < sign.numbers["before"] + 0.2 * (sign.numbers["loss"] - sign.numbers["before"])
    return down and curve.current_step - sign.since_step > 0.1 * curve.steps


def _divergence_over(curve: Curve, sign: Sign) -> bool:
    if sign.detected_by == "start":
        return max(_recent_loss(curve), *curve.val_loss[-3:]) < 0.7 * curve.first_loss
    return _recent_loss(curve) < sign.numbers["before"]


def _plateau_over(curve: Curve, sign: Sign) -> bool:
    if sign.detected_by == "updates":
        return curve.normalized_update[-1] > 0.3 * sign.numbers["usual"]
    if sign.detected_by == "validations":
        return min(curve.val_loss[-1:], default=math.inf) < sign.numbers["loss"] - 3 * sign.numbers["change"]
    return _recent_loss(curve) < 0.97 * sign.numbers["loss"]


RECOVERED: Mapping[str, Callable[[Curve, Sign], bool]] = {
    NOT_A_NUMBER: lambda curve, sign: curve.current_step > sign.since_step,
    SPIKE: _spike_over,
    PLATEAU: _plateau_over,
    OVERFITTING: lambda curve, sign: bool(curve.val_loss) and curve.val_loss[-1] < sign.numbers["best"],
    RATE_TOO_HIGH: _divergence_over,
    RATE_TOO_LOW: lambda curve, sign: _recent_loss(curve) < 0.8 * curve.first_loss,
    SHUFFLED: lambda curve, sign: (
        bool(curve.val_metrics) and curve.val_metrics[-1]["accuracy"] > 3 * sign.numbers["accuracy"]
    ),
}
