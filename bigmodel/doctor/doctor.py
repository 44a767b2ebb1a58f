"""A run's events in, diagnoses out: a fold, so that a page that looks each second pays for what is new only."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping

from bigmodel.core import catalog, spec
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec
from bigmodel.doctor import signs
from bigmodel.doctor.curve import Curve
from bigmodel.doctor.diagnosis import Diagnosis, build_diagnosis
from bigmodel.doctor.signs import Sign

log = logging.getLogger("bigmodel.doctor")

DATASET_ERRORS = (OSError, ValueError, LookupError, TypeError)  # of a data set that is corrupt on the disk
CHECKS_PER_RUN = 250  # of the slow signs; spikes and NaN are checked at every event


def diagnose(spec: RunSpec, events: Iterable[Event]) -> list[Diagnosis]:
    """What is wrong with the run that these events tell of; most telling first."""
    return Doctor(spec).read(events).diagnoses()


class Doctor:
    """Reads one run. Give it each event once, in order."""

    def __init__(self, spec: RunSpec):
        self.settings = spec.settings
        self.recommended = _recommended_settings(spec)
        self.class_count = _class_count(spec)
        self.curve = Curve()
        self.active_signs: dict[str, Sign] = {}
        self.parameters = 0
        self._next_check = 0.0

    def read(self, events: Iterable[Event]) -> Doctor:
        for event in events:
            if event.kind not in READERS:
                continue
            try:
                READERS[event.kind](self, event)
            except Exception:  # a malformed event, or a curve that nobody foresaw: advice must not take a page down
                log.debug("passed over: %s", event, exc_info=True)
        return self

    def diagnoses(self) -> list[Diagnosis]:
        """The active signs in words, most telling first. What explains another hides it."""
        shown = [sign for kind, sign in self.active_signs.items() if not HIDDEN_BY[kind] & self.active_signs.keys()]
        ordered = sorted(shown, key=lambda sign: list(HIDDEN_BY).index(sign.kind))
        return [diagnosis for sign in ordered if (diagnosis := self._to_diagnosis(sign))]

    def _to_diagnosis(self, sign: Sign) -> Diagnosis | None:
        """None where the settings lack what a remedy is computed from, as those of an older version may."""
        try:
            return build_diagnosis(sign, self.settings, self.recommended)
        except Exception:
            log.debug("no words for %s", sign, exc_info=True)
            return None

    # -- events -----------------------------------------------------------------------------------------------
    def _plan(self, event: Event) -> None:
        self.curve.steps = int(event["steps"])
        self.parameters = int(event.data.get("parameters", 0))

    def _step(self, event: Event) -> None:
        step, loss, norm = int(event["step"]), float(event["loss"]), float(event["gradient_norm"])
        if len(self.curve) and step <= self.curve.current_step:
            self._rewind(step)
        if not math.isfinite(loss) or not math.isfinite(norm):
            source = "gradient" if math.isfinite(loss) else "loss"
            previous = {"before": self.curve.loss[-1]} if len(self.curve) else {}
            self._record(Sign(signs.NOT_A_NUMBER, step, previous | {"loss": loss}, source))
            return
        rate = float(event["learning_rate"])
        ratio, weight_rms = (float(event.data.get(name, math.nan)) for name in ("update", "weights"))
        self.curve.add(step, loss, rate, self._update_bound(rate, norm), ratio, weight_rms)
        if spike := signs.spike(self.curve):
            self._record(spike)
        if step >= self._next_check:
            self._next_check = step + self.curve.steps / CHECKS_PER_RUN
            self._check_signs()

    def _validation(self, event: Event) -> None:
        metrics, step = event["metrics"], int(event["step"])
        if not math.isfinite(metrics["loss"]):
            self._record(Sign(signs.NOT_A_NUMBER, step, {}, "validation"))
            return
        self.curve.add_validation(step, metrics)
        self._record_unless_explained(signs.validation_spike(self.curve))
        self._check_signs()

    def _rewind(self, step: int) -> None:
        """The run was resumed from an earlier checkpoint: what came after it is undone."""
        self.curve.truncate(step)
        self.active_signs = {kind: sign for kind, sign in self.active_signs.items() if sign.since_step < step}
        self._next_check = 0.0

    def _update_bound(self, rate: float, norm: float) -> float:
        """The largest change of a weight by one update, about: for Adam the learning rate, for SGD the rate times the
        (clipped) gradient norm spread over all parameters."""
        if self.settings.get("optimizer") != "sgd":
            return rate
        clip = float(self.settings.get("clip") or math.inf)
        return rate * min(norm, clip) / math.sqrt(max(self.parameters, 1))

    # -- signs ------------------------------------------------------------------------------------------------
    def _record(self, sign: Sign) -> None:
        """A sign keeps the numbers that it was first seen by; those of overfitting are updated."""
        if sign.kind == signs.OVERFITTING or sign.kind not in self.active_signs:
            self.active_signs[sign.kind] = sign

    def _check_signs(self) -> None:
        if not len(self.curve):
            return
        for kind, sign in list(self.active_signs.items()):
            if signs.RECOVERED[kind](self.curve, sign):
                del self.active_signs[kind]
        for detect in SLOW_SIGNS:
            self._record_unless_explained(detect(self.curve))
        if self.class_count:
            self._record_unless_explained(signs.stuck_at_chance(self.curve, self.class_count, self._chance_loss()))
        spike = self.active_signs.get(signs.SPIKE)
        if spike and spike.detected_by != "validation":
            self._record_unless_explained(signs.lasting_spike(self.curve, spike))

    def _record_unless_explained(self, sign: Sign | None) -> None:
        """Record a new sign unless an active one explains it."""
        if sign is not None and not HIDDEN_BY[sign.kind] & self.active_signs.keys():
            self._record(sign)

    def _chance_loss(self) -> float:
        """The loss of guessing among the classes."""
        return 1 - 1 / self.class_count if self.settings.get("loss") == "mse" else math.log(self.class_count)


SLOW_SIGNS = (
    signs.diverges_at_start, signs.updates_too_large, signs.updates_too_small, signs.vanishing_updates,
    signs.plateau, signs.overfitting,
)  # fmt: skip

READERS: Mapping[str, Callable[[Doctor, Event], None]] = {
    "plan": Doctor._plan,
    "step": Doctor._step,
    "validation": Doctor._validation,
}

# kind -> the kinds that explain it; also the order in which they are shown
HIDDEN_BY: Mapping[str, frozenset[str]] = {
    signs.NOT_A_NUMBER: frozenset(),
    signs.RATE_TOO_HIGH: frozenset(),
    signs.RATE_TOO_LOW: frozenset(),
    signs.SHUFFLED: frozenset({signs.RATE_TOO_HIGH, signs.RATE_TOO_LOW}),
    signs.OVERFITTING: frozenset({signs.RATE_TOO_HIGH, signs.SHUFFLED}),
    signs.PLATEAU: frozenset({signs.RATE_TOO_HIGH, signs.RATE_TOO_LOW, signs.SHUFFLED, signs.OVERFITTING}),
    signs.SPIKE: frozenset({signs.RATE_TOO_HIGH, signs.NOT_A_NUMBER}),
}


def _class_count(run: RunSpec) -> int:
    """Classes of the labels; 0 without classes, or where the data set is gone."""
    try:
        columns, needs = catalog.dataset(run.dataset).columns, catalog.task(run.task).required_columns
    except (Refusal, *DATASET_ERRORS):
        return 0
    return next((len(column.names) for name, column in columns.items() if name in needs and column.kind == "class"), 0)


def _recommended_settings(run: RunSpec) -> Mapping[str, object]:
    """The defaults for the run's task, network and data; its own settings where one of these is gone."""
    try:
        names = catalog.task(run.task), catalog.architecture(run.architecture), catalog.dataset(run.dataset)
        return spec.defaults(*names)
    except (Refusal, *DATASET_ERRORS):
        return run.settings
