"""How often the doctor is right: it reads small real trainings with and without known faults."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.report import Headline, Report, progress
from bigmodel.core.events import Event
from bigmodel.doctor.doctor import Doctor
from bigmodel.studio import home
from tests.corpus import training_faults
from tests.corpus.training_faults import FAULTS, Trial

IN_TIME = 0.1  # of the run's steps after the onset
OVERFIT_RATIO = 1.02  # a validation loss this many times its lowest is overfitting, if it never comes back
SEEDS = {
    "report": 17_000,
    "tuning": 1000,
    "more tuning": 5000,
    "last tuning": 9000,
    "update tuning": 13_000,
}  # thresholds are chosen on one set of trainings and judged on another
CLEAN, EACH = 34, 5  # trainings of a set: without a fault, and with each
GOALS = {"caught": 0.9, "false_alarms": 0.03}


@dataclass(frozen=True)
class Outcome:
    """What the doctor diagnosed in one training. Steps; None for never."""

    trial: Trial
    onset: int | None  # None: the fault had no effect
    caught: int | None  # the first step with a right diagnosis
    early: tuple[str, ...]  # kinds diagnosed before the onset
    others: tuple[str, ...]  # wrong kinds diagnosed afterwards
    seconds: float  # of one core, for the training

    @property
    def delay(self) -> float:
        """From the onset, as a fraction of the run."""
        if self.caught is None or self.onset is None:
            return math.inf
        return max(self.caught - self.onset, 0) / self.trial.steps

    @property
    def in_time(self) -> bool:
        return self.delay <= IN_TIME


def judge(trial: Trial, events: Sequence[Event]) -> Outcome:
    """The doctor reads the events one by one, as the page does, and is compared with the fault."""
    doctor, first_steps = Doctor(trial.spec()), {}
    step = 0
    for event in events:
        step = int(event.data.get("step", step))
        doctor.read([event])
        if event.kind in ("step", "validation"):
            for diagnosis in doctor.diagnoses():
                first_steps.setdefault(diagnosis.kind, step)
    allowed_from, onset = _onset(trial, events)
    right = FAULTS[trial.fault]
    hits = [step for kind, step in first_steps.items() if kind in right and step >= allowed_from]
    if trial.fault == "clean" and _overfit_from(events) is not None:
        first_steps.pop("overfitting", None)  # no fault was built in, and yet it has overfitted: a right diagnosis
    return Outcome(
        trial,
        onset,
        min(hits, default=None),
        tuple(kind for kind, step in first_steps.items() if onset is None or step < allowed_from),
        tuple(
            kind
            for kind, step in first_steps.items()
            if onset is not None and step >= allowed_from and kind not in right
        ),
        sum(event["cpu_seconds"] for event in events if event.kind == "cost"),
    )


def _onset(trial: Trial, events: Sequence[Event]) -> tuple[float, int | None]:
    """(first step at which a diagnosis is no false alarm, step from which its delay counts).

    Overfitting is gradual: its onset is the step from which the smoothed validation loss stays above its lowest. The
    rows are too few from the start.
    """
    if trial.fault == "clean":
        return math.inf, None
    if trial.fault != "few-rows":
        return trial.onset, trial.onset
    onset = _overfit_from(events)
    return (math.inf, None) if onset is None else (1, onset)


def _overfit_from(events: Sequence[Event]) -> int | None:
    """The step from which the validation loss stayed above its lowest; None where it did not."""
    measured = [(event["step"], event["metrics"]["loss"]) for event in events if event.kind == "validation"]
    losses = [loss for _step, loss in measured]
    smooth = [sum(part) / len(part) for part in (losses[max(i - 2, 0) : i + 3] for i in range(len(losses)))]
    last_below = max(i for i, loss in enumerate(smooth) if loss <= OVERFIT_RATIO * min(smooth))
    return None if last_below == len(measured) - 1 else measured[last_below + 1][0]


# -- figures ----------------------------------------------------------------------------------------------------
def figures(outcomes: Sequence[Outcome]) -> dict:
    """By fault: trainings, caught in time, caught later, missed, delays; false alarms where nothing was wrong."""
    clean = [outcome for outcome in outcomes if outcome.trial.fault == "clean"]
    faulty = [outcome for outcome in outcomes if outcome.onset is not None]
    later_onset = [outcome for outcome in faulty if outcome.trial.at > 0]
    by_fault = {fault: [outcome for outcome in faulty if outcome.trial.fault == fault] for fault in FAULTS}
    return {
        "trainings": len(outcomes),
        "ill": len(faulty),
        "caught": sum(outcome.in_time for outcome in faulty),
        "well": len(clean),
        "left_out": sum(outcome.onset is None for outcome in outcomes) - len(clean),  # few rows without overfitting
        "false_alarms": sum(bool(outcome.early) for outcome in clean),
        "false_alarms_by_kind": dict(Counter(kind for outcome in clean for kind in outcome.early)),
        "before_onset": len(later_onset),
        "false_alarms_before_onset": sum(bool(outcome.early) for outcome in later_onset),
        "by_fault": {fault: _of_fault(some) for fault, some in by_fault.items() if some},
    }


def _of_fault(outcomes: Sequence[Outcome]) -> dict:
    delays = [outcome.delay for outcome in outcomes if outcome.caught is not None]
    return {
        "trainings": len(outcomes),
        "caught": sum(outcome.in_time for outcome in outcomes),
        "later": sum(outcome.caught is not None and not outcome.in_time for outcome in outcomes),
        "median_delay": round(median(delays), 4) if delays else None,
        "also_said": dict(Counter(kind for outcome in outcomes for kind in outcome.others)),
    }


def _shares(found: Mapping) -> tuple[str, str]:
    """(caught in time, false alarms), in percent."""
    return f"{100 * found['caught'] / found['ill']:.0f} %", f"{100 * found['false_alarms'] / found['well']:.1f} %"


def render(found: Mapping) -> str:
    caught, alarms = _shares(found)
    head = (
        "what was done", "right diagnosis", "trainings", "caught in time", "later", "missed", "median delay", "also said",
    )  # fmt: skip
    lines = [
        f"{found['trainings']} small real trainings, each with its own seed: {found['ill']} with a fault, of which "
        f"**{found['caught']} ({caught}) were caught within {100 * IN_TIME:.0f} % of the run's steps** after its onset "
        f"(goal: {100 * GOALS['caught']:.0f} %), and {found['well']} without, of which **{found['false_alarms']} "
        f"({alarms}) had a false alarm** (goal: at most {100 * GOALS['false_alarms']:.0f} %). Of {found['before_onset']} "
        f"trainings whose fault came later, {found['false_alarms_before_onset']} had an alarm before it.",
        "",
        *report.table(head, (_cells(fault, counts) for fault, counts in found["by_fault"].items())),
        "",
        f"{report.describe(found['environment'])}.",
    ]
    return "\n".join(lines)


WHAT = {
    "not-a-number": "an output or a gradient becomes NaN in one step",
    "bad-batches": "wrong labels for 1.2 % of the steps",
    "rate-leaps": f"the learning rate is {training_faults.LEAP:.0f} times what the schedule says, from one step on",
    "rate-too-high": "learning rate 50 to 300 times the usual, from the start",
    "rate-too-low": "learning rate 300 to 1000 times less than the usual, from the start",
    "standstill": "the updates become nothing, or a hundredth, from one step on; validated 60 times",
    "few-rows": "so few rows that they are learnt by heart; validated 40 times",
    "shuffled-labels": "the labels belong to other rows",
}


def _cells(fault: str, counts: Mapping) -> tuple:
    missed = counts["trainings"] - counts["caught"] - counts["later"]
    delay = "" if counts["median_delay"] is None else f"{100 * counts['median_delay']:.1f} %"
    others = ", ".join(f"{kind} {count}" for kind, count in counts["also_said"].items())
    right = " or ".join(FAULTS[fault])
    return (WHAT[fault], right, counts["trainings"], counts["caught"], counts["later"], missed, delay, others)


def headlines(found: Mapping) -> list[Headline]:
    caught, alarms = _shares(found)
    goals = f"at least {GOALS['caught']:.0%}", f"at most {GOALS['false_alarms']:.0%}"
    return [
        Headline(
            f"faults in trainings that the doctor names within {IN_TIME:.0%} of the steps", caught, goals[0], "doctor"
        ),
        Headline("trainings without a fault in which it raises a false alarm", alarms, goals[1], "doctor"),
    ]


REPORT = Report("doctor", report.ROOT / "docs" / "benchmarks" / "doctor.md", render, headlines)


# -- the command ----------------------------------------------------------------------------------------------------
def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", type=Path, help="folder of the trainings' events; what is there is not trained again")
    parser.add_argument("--seeds", choices=SEEDS, default="report", help="which set of trainings (%(default)s)")
    parser.add_argument("--clean", type=int, default=CLEAN, help="trainings without a fault (%(default)s)")
    parser.add_argument("--each", type=int, default=EACH, help="trainings with each fault (%(default)s)")
    parser.add_argument("--kept", action="store_true", help="judge only the trainings that are kept already")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    trials = training_faults.trials(SEEDS[options.seeds], options.clean, options.each)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if options.kept:
            trials = [trial for trial in trials if (folder / f"{trial.name}.jsonl").exists()]
        outcomes = list(_carry_out(trials, folder))
    seconds = sum(outcome.seconds for outcome in outcomes)
    environment = report.environment(("torch",), f"{seconds:.0f} s on one core")
    found = figures(outcomes) | {"seeds": options.seeds, "environment": environment}
    progress(render(found))
    if not options.dry and options.seeds == "report":
        REPORT.save(found)
    enough = found["caught"] >= GOALS["caught"] * found["ill"]
    return found, enough and found["false_alarms"] <= GOALS["false_alarms"] * found["well"]


def _carry_out(trials: Iterable[Trial], folder: Path) -> Iterable[Outcome]:
    os.environ["OMP_NUM_THREADS"] = "1"
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        outcome = judge(trial, training_faults.carry_out(trial, folder, home() / "cache"))
        yield outcome
        progress(_summary(outcome))


def _summary(outcome: Outcome) -> str:
    state = "well" if outcome.onset is None else f"ill from step {outcome.onset}"
    caught = "nothing" if outcome.caught is None else f"caught at {outcome.caught} ({100 * outcome.delay:.1f} %)"
    early = f", FALSE ALARM {' '.join(outcome.early)}" if outcome.early else ""
    others = f", also {' '.join(outcome.others)}" if outcome.others else ""
    late = "" if outcome.onset is None or outcome.in_time else ", NOT IN TIME"
    return f"{outcome.trial.name} of {outcome.trial.steps}: {state}, {caught}{late}{early}{others}"
