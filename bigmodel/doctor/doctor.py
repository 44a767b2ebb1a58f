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
from bigmodel.doctor.diagnosis import Diagnosis, diagnosis
from bigmodel.doctor.signs import Sign

log = logging.getLogger("bigmodel.doctor")

UNREADABLE = (OSError, ValueError, LookupError, TypeError)  # what a data set that was damaged on the disk raises
LOOKS = 250  # times in a run that the slow signs are looked for; spikes and numbers at every event


def diagnose(spec: RunSpec, events: Iterable[Event]) -> list[Diagnosis]:
    """What is wrong with the run that these events tell of; most telling first."""
    return Doctor(spec).read(events).diagnoses()


class Doctor:
    """Reads one run. Give it each event once, in order."""

    def __init__(self, spec: RunSpec):
        self.settings = spec.settings
        self.usual = _usual(spec)
        self.classes = _classes(spec)
        self.curve = Curve()
        self.found: dict[str, Sign] = {}
        self.parameters = 0
        self._due = 0.0

    def read(self, events: Iterable[Event]) -> Doctor:
        for event in events:
            reader = READERS.get(event.kind)
            if reader is None:
                continue
            try:
                reader(self, event)
            except Exception:  # a line not written by us, or a curve nobody thought of: no advice is worth a page
                log.debug("passed over: %s", event, exc_info=True)
        return self

    def diagnoses(self) -> list[Diagnosis]:
        """The sicknesses that still hold. What explains another hides it."""
        shown = [sign for kind, sign in self.found.items() if not HIDDEN_BY[kind] & self.found.keys()]
        ordered = sorted(shown, key=lambda sign: list(HIDDEN_BY).index(sign.kind))
        return [told for sign in ordered if (told := self._in_words(sign))]

    def _in_words(self, sign: Sign) -> Diagnosis | None:
        """None where the settings are not those that a remedy can be worked out from: of a run of other times, say."""
        try:
            return diagnosis(sign, self.settings, self.usual)
        except Exception:
            log.debug("no words for %s", sign, exc_info=True)
            return None

    # -- events -----------------------------------------------------------------------------------------------
    def _plan(self, event: Event) -> None:
        self.curve.steps = int(event["steps"])
        self.parameters = int(event.data.get("parameters", 0))

    def _step(self, event: Event) -> None:
        step, loss, norm = int(event["step"]), float(event["loss"]), float(event["gradient_norm"])
        if len(self.curve) and step <= self.curve.now:
            self._back_to(step)
        if not math.isfinite(loss) or not math.isfinite(norm):
            way = "gradient" if math.isfinite(loss) else "loss"
            before = {"before": self.curve.loss[-1]} if len(self.curve) else {}
            self._find(Sign(signs.NOT_A_NUMBER, step, before | {"loss": loss}, way))
            return
        rate = float(event["learning_rate"])
        moved = (float(event.data.get(name, math.nan)) for name in ("update", "weights"))
        self.curve.add(step, loss, rate, self._reach(rate, norm), *moved)
        leap = signs.spike(self.curve)
        if leap:
            self._find(leap)
        if step >= self._due:
            self._due = step + self.curve.steps / LOOKS
            self._look()

    def _validation(self, event: Event) -> None:
        metrics, step = event["metrics"], int(event["step"])
        if not math.isfinite(metrics["loss"]):
            self._find(Sign(signs.NOT_A_NUMBER, step, {}, "validation"))
            return
        self.curve.validate(step, metrics)
        self._take(signs.validation_leaps(self.curve))
        self._look()

    def _back_to(self, step: int) -> None:
        """The run goes on from a checkpoint before what was read last: what came after it is no more."""
        self.curve.cut(step)
        self.found = {kind: sign for kind, sign in self.found.items() if sign.since < step}
        self._due = 0.0

    def _reach(self, rate: float, norm: float) -> float:
        """How far an update moves a weight, about: Adam by the learning rate, SGD by its part of the gradient."""
        if self.settings.get("optimizer") != "sgd":
            return rate
        clip = float(self.settings.get("clip") or math.inf)
        return rate * min(norm, clip) / math.sqrt(max(self.parameters, 1))

    # -- signs ------------------------------------------------------------------------------------------------
    def _find(self, sign: Sign) -> None:
        """A sickness stays as it was first seen; how far the model has learnt by heart is told anew each time."""
        if sign.kind == signs.OVERFITTING or sign.kind not in self.found:
            self.found[sign.kind] = sign

    def _look(self) -> None:
        if not len(self.curve):
            return
        for kind, sign in list(self.found.items()):
            if signs.HEALED[kind](self.curve, sign):
                del self.found[kind]
        for see in (
            signs.climbs_at_first,
            signs.overturns,
            signs.hardly_moves,
            signs.weights_stand,
            signs.stands_still,
            signs.learns_by_heart,
        ):
            self._take(see(self.curve))
        if self.classes:
            self._take(signs.knows_nothing(self.curve, self.classes, self._chance()))
        if signs.SPIKE in self.found and self.found[signs.SPIKE].way != "validation":
            self._take(signs.stays_up(self.curve, self.found[signs.SPIKE]))

    def _take(self, sign: Sign | None) -> None:
        """Nothing new is found that a known sickness explains."""
        if sign is not None and not HIDDEN_BY[sign.kind] & self.found.keys():
            self._find(sign)

    def _chance(self) -> float:
        """The loss of guessing among the classes."""
        return 1 - 1 / self.classes if self.settings.get("loss") == "mse" else math.log(self.classes)


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


def _classes(run: RunSpec) -> int:
    """How many classes the labels have; 0 where they are no classes or the data set is no longer there."""
    try:
        columns, needs = catalog.dataset(run.dataset).columns, catalog.task(run.task).needs
    except (Refusal, *UNREADABLE):
        return 0
    return next((len(one.names) for name, one in columns.items() if name in needs and one.kind == "class"), 0)


def _usual(run: RunSpec) -> Mapping[str, object]:
    """The recommended settings for the run's task, network and data; its own where these are no longer there."""
    try:
        return spec.defaults(
            catalog.task(run.task), catalog.architecture(run.architecture), catalog.dataset(run.dataset)
        )
    except (Refusal, *UNREADABLE):
        return run.settings
