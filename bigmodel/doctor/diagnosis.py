"""A diagnosis: what is wrong since when, how that is known, what would do, and the settings that do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bigmodel.core.words import Words, _
from bigmodel.doctor.signs import (
    NOT_A_NUMBER,
    OVERFITTING,
    PLATEAU,
    RATE_TOO_HIGH,
    RATE_TOO_LOW,
    SHUFFLED,
    SPIKE,
    Sign,
)


@dataclass(frozen=True)
class Diagnosis:
    """remedy: settings to change, by name.  from_checkpoint: whether what was learnt so far is worth going on from.
    sound_before: the step from which on the weights have come to harm; those of the steps before are as they should be."""

    kind: str
    since_step: int
    title: Words
    evidence: Words
    advice: Words
    remedy: Mapping[str, object] = field(default_factory=dict)
    from_checkpoint: bool = False
    sound_before: float = math.inf


TITLES: Mapping[str, Words] = {
    NOT_A_NUMBER: _("The loss is no longer a number"),
    SPIKE: _("The loss has leapt up"),
    PLATEAU: _("The loss stands still"),
    OVERFITTING: _("The model learns its data by heart (overfitting)"),
    RATE_TOO_HIGH: _("The learning rate is too high"),
    RATE_TOO_LOW: _("The learning rate is too low"),
    SHUFFLED: _("The labels look shuffled"),
}


def build_diagnosis(sign: Sign, settings: Mapping, usual: Mapping) -> Diagnosis:
    """The sign in words, with the remedy worked out from the run's settings and the recommended ones."""
    advice, remedy, from_checkpoint = ADVISORS[sign.kind](sign, settings, usual)
    changed = {name: value for name, value in remedy.items() if name in settings and settings[name] != value}
    harmless = sign.kind == PLATEAU and sign.detected_by != "updates"  # a plateau loses nothing of what was learnt
    return Diagnosis(
        sign.kind, sign.since_step, TITLES[sign.kind], _evidence(sign), advice, changed, from_checkpoint,
        sound_before=math.inf if harmless else sign.since_step,
    )  # fmt: skip


# -- evidence: (kind, detected by; '' for any other way) -> the words, filled in from the sign's numbers -------------
# fmt: off
EVIDENCE: Mapping[tuple[str, str], Words] = {
    (NOT_A_NUMBER, ""): _("At step {step} the loss was no number; before, it was {before}."),
    (NOT_A_NUMBER, "first"): _("At step {step} the loss was no number."),
    (NOT_A_NUMBER, "validation"): _("At step {step} the validation loss was no number."),
    (NOT_A_NUMBER, "gradient"): _("At step {step} the gradient was no number; the loss was {loss}."),
    (SPIKE, ""): _("At step {step} the loss leapt from {before} to {loss}, far more than it changes from step to step."),
    (SPIKE, "validation"): _("At step {step} the validation loss is {loss}, worse than that of a model that has learnt nothing; at best it was {before}."),
    (PLATEAU, ""): _("Since step {step}, for {steps} steps, the loss has been {loss} on average and has not become less."),
    (PLATEAU, "updates"): _("Since step {step} the updates move the weights {times} times less than before, at the same learning rate. The loss is {loss}."),
    (PLATEAU, "validations"): _("Since step {step} the validation loss has changed by {change} at most from one time to the next, and stands at {loss}. Before, it changed by {before}."),
    (OVERFITTING, ""): _("The validation loss was best at step {step} with {best} and has risen to {loss}; meanwhile the training loss fell from {then} to {training}."),
    (RATE_TOO_HIGH, ""): _("At step {step} the loss leapt up from {before} and has stayed at {loss} since, at a learning rate of {rate}."),
    (RATE_TOO_HIGH, "start"): _("The loss began at {before} and was driven up to {loss} by step {step}, at a learning rate of {rate}."),
    (RATE_TOO_HIGH, "updates"): _("An update moves the weights by {moved} % of their length, at a learning rate of {rate}; about 0.1 % is usual. The loss is {loss}."),
    (RATE_TOO_LOW, ""): _("The loss has fallen by {fallen} % since the start. At a learning rate of {rate} no weight can move further than {reach} in the whole run."),
    (SHUFFLED, ""): _("At step {step} the loss is {loss}, as if the classes were guessed ({chance}), and {accuracy} % of the validation answers are right, though the weights have moved far."),
}
# fmt: on


def _evidence(sign: Sign) -> Words:
    words = EVIDENCE.get((sign.kind, sign.detected_by)) or EVIDENCE[sign.kind, ""]
    if sign.kind == NOT_A_NUMBER and "{before}" in words.text and "before" not in sign.numbers:
        words = EVIDENCE[NOT_A_NUMBER, "first"]
    numbers = {"step": sign.since_step, **sign.numbers}
    named = [name for name in numbers if f"{{{name}}}" in words.text]
    return Words(words.text, tuple((name, FORMATS.get(name, _significant)(numbers[name])) for name in named))


def _significant(value: float) -> str:
    """Three significant digits."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


FORMATS: Mapping[str, Callable[[float], object]] = {
    "step": round,
    "steps": round,
    "times": "{:.0f}".format,
    "moved": lambda share: f"{100 * share:.2g}",
    "fallen": lambda share: f"{100 * max(share, 0):.1f}",
    "accuracy": lambda share: f"{100 * share:.0f}",
}


# -- advice: (words, settings to change, from a checkpoint?) --------------------------------------------------------
# optimizer -> (least, most) of a weight decay that hinders learning by heart; SGD adds it to the gradient, Adam has none
DECAY_RANGE: Mapping[str, tuple[float, float]] = {"adamw": (0.1, 1.0), "sgd": (1e-3, 0.1)}
Treatment = tuple[Words, dict[str, object], bool]


def _advise_not_a_number(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    rate = settings["learning_rate"]
    rate = _round(rate / 2 if rate < 10 * usual["learning_rate"] else usual["learning_rate"])
    advice = _(
        "Go back to the last good checkpoint and go on with a lower learning rate, {rate}. If it happens again at the same step, look at the data there.",
        rate=f"{rate:g}",
    )
    return advice, {"learning_rate": rate} | _clip_setting(settings), True


def _advise_spike(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    rate = _round(settings["learning_rate"] / 2)
    advice = _(
        "One leap that falls again does no harm: some examples are odd. If it stays up or comes again, go on from the last good checkpoint with half the learning rate, {rate}.",
        rate=f"{rate:g}",
    )
    return advice, {"learning_rate": rate} | _clip_setting(settings), True


def _advise_plateau(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    rate = _round(settings["learning_rate"] / 3)
    if sign.detected_by == "updates":
        advice = _(
            "The gradient no longer reaches the weights: units have died or are saturated, or a part is cut off. Go on from a checkpoint before step {step} with a third of the learning rate, {rate}; if it happens again, look at the network.",
            step=sign.since_step, rate=f"{rate:g}",
        )  # fmt: skip
        return advice, {"learning_rate": rate}, True
    advice = _(
        "Either the model has learnt what it can, and you may stop; or the steps are too long to get any further: try a third of the learning rate, {rate}. A larger network can learn more.",
        rate=f"{rate:g}",
    )
    return advice, {"learning_rate": rate}, True


def _advise_overfitting(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    advice = _(
        "The best weights are kept, so you may stop now. To get further: more data, a smaller network, or more of what hinders learning by heart (dropout, weight decay, augmentation); early stopping ends such a run by itself."
    )
    remedy: dict[str, object] = {"patience": settings.get("patience") or 3}
    if settings.get("dropout", 0.5) < 0.5:
        remedy["dropout"] = min(round(settings["dropout"] + 0.1, 2), 0.5)
    if settings.get("optimizer") in DECAY_RANGE:
        least, most = DECAY_RANGE[settings["optimizer"]]
        decay = settings["weight_decay"]
        remedy["weight_decay"] = max(decay, min(max(decay * 2, least), most))
    if settings.get("augment") == "none":
        remedy["augment"] = "shift"
    if any(settings.get(name) != value for name, value in remedy.items()):
        return advice, remedy, False
    advice = _(
        "The best weights are kept, so you may stop now. All that hinders learning by heart is in use already: more data or a smaller network would get further; or train again up to step {step} only, so that the learning rate has come down where the validation was best.",
        step=max(sign.since_step, 1),
    )  # fmt: skip
    return advice, {"max_steps": max(sign.since_step, 1)}, False


def _advise_rate_too_high(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    rate = settings["learning_rate"]
    lower = _round(rate / 10 if rate < 3 * usual["learning_rate"] else usual["learning_rate"])
    if sign.detected_by in ("start", "updates"):
        return _("Start again with a lower learning rate: {rate}.", rate=f"{lower:g}"), {"learning_rate": lower}, False
    advice = _("Go on from the last good checkpoint with a lower learning rate: {rate}.", rate=f"{lower:g}")
    return advice, {"learning_rate": lower} | _clip_setting(settings), True


def _advise_rate_too_low(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    rate = settings["learning_rate"]
    higher = _round(usual["learning_rate"] if usual["learning_rate"] > 3 * rate else min(rate * 10, 10.0))
    return _("Start again with a higher learning rate: {rate}.", rate=f"{higher:g}"), {"learning_rate": higher}, False


def _advise_shuffled(sign: Sign, settings: Mapping, usual: Mapping) -> Treatment:
    advice = _(
        "Look at the data: does each label belong to its row? A column sorted by itself, or labels read from another file, look like this."
    )
    return advice, {}, False


def _clip_setting(settings: Mapping) -> dict[str, object]:
    """Gradients shortened, where they are not yet."""
    return {"clip": 1.0} if not 0 < settings.get("clip", 1.0) <= 1 else {}


def _round(rate: float) -> float:
    """Two significant digits, inside what the field allows."""
    return float(f"{min(max(rate, 1e-7), 10.0):.2g}")


ADVISORS: Mapping[str, Callable[[Sign, Mapping, Mapping], Treatment]] = {
    NOT_A_NUMBER: _advise_not_a_number,
    SPIKE: _advise_spike,
    PLATEAU: _advise_plateau,
    OVERFITTING: _advise_overfitting,
    RATE_TOO_HIGH: _advise_rate_too_high,
    RATE_TOO_LOW: _advise_rate_too_low,
    SHUFFLED: _advise_shuffled,
}
