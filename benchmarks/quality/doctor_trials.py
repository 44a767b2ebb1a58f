"""How often the doctor is right: `python -m benchmarks.quality.doctor_trials` trains with and without known faults."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks import report_page
from benchmarks.quality import faults
from benchmarks.quality.faults import FAULTS, Trial
from bigmodel.core.events import Event
from bigmodel.doctor.doctor import Doctor
from bigmodel.studio import home

FILE = Path(__file__).with_name("doctor_figures.json")
MARKS = report_page.marks("python -m benchmarks.quality.doctor_trials", "doctor")
IN_TIME = 0.1  # of the run's steps after the onset
RISEN = 1.02  # a validation loss this many times its lowest is overfitting, if it never comes back
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
    """What the doctor said of one training. Steps; None for never."""

    trial: Trial
    onset: int | None  # None: the training did not fall ill
    caught: int | None  # the first step at which a right diagnosis stood there
    early: tuple[str, ...]  # kinds that were said before anything was wrong
    others: tuple[str, ...]  # kinds that were said afterwards and are not what was done
    seconds: float  # of one core, for the training

    @property
    def delay(self) -> float:
        """From the onset, as part of the run."""
        if self.caught is None or self.onset is None:
            return math.inf
        return max(self.caught - self.onset, 0) / self.trial.steps

    @property
    def in_time(self) -> bool:
        return self.delay <= IN_TIME


def judge(trial: Trial, happened: Sequence[Event]) -> Outcome:
    """The doctor reads the events one by one, as the page does, and is compared with what was done."""
    doctor, said = Doctor(trial.spec()), {}
    step = 0
    for event in happened:
        step = int(event.data.get("step", step))
        doctor.read([event])
        if event.kind in ("step", "validation"):
            for one in doctor.diagnoses():
                said.setdefault(one.kind, step)
    sick, onset = _onset(trial, happened)
    right = FAULTS[trial.fault]
    first = [since for kind, since in said.items() if kind in right and since >= sick]
    if trial.fault == "clean" and _turned(happened) is not None:
        said.pop("overfitting", None)  # nothing was done to it, and yet it has learnt its rows by heart: rightly said
    return Outcome(
        trial,
        onset,
        min(first, default=None),
        tuple(kind for kind, since in said.items() if onset is None or since < sick),
        tuple(kind for kind, since in said.items() if onset is not None and since >= sick and kind not in right),
        sum(event["cpu_seconds"] for event in happened if event.kind == "cost"),
    )


def _onset(trial: Trial, happened: Sequence[Event]) -> tuple[float, int | None]:
    """(first step at which a diagnosis is no false alarm, step from which its delay counts).

    Overfitting creeps: after the run one sees where the validation loss, its noise smoothed away, was lowest, and
    from where on it stood above that for good. The rows are too few from the start.
    """
    if trial.fault == "clean":
        return math.inf, None
    if trial.fault != "few-rows":
        return trial.onset, trial.onset
    turned = _turned(happened)
    return (math.inf, None) if turned is None else (1, turned)


def _turned(happened: Sequence[Event]) -> int | None:
    """The step from which the validation loss stood above its lowest for good; None where it did not."""
    measured = [(event["step"], event["metrics"]["loss"]) for event in happened if event.kind == "validation"]
    losses = [loss for _step, loss in measured]
    smooth = [sum(part) / len(part) for part in (losses[max(i - 2, 0) : i + 3] for i in range(len(losses)))]
    last_below = max(i for i, loss in enumerate(smooth) if loss <= RISEN * min(smooth))
    return None if last_below == len(measured) - 1 else measured[last_below + 1][0]


# -- figures ----------------------------------------------------------------------------------------------------
def figures(outcomes: Sequence[Outcome]) -> dict:
    """By fault: trainings, caught in time, caught later, missed, delays; false alarms where nothing was wrong."""
    by_fault = {}
    for fault in FAULTS:
        ill = [one for one in outcomes if one.trial.fault == fault and one.onset is not None]
        if not ill:
            continue
        delays = [one.delay for one in ill if one.caught is not None]
        by_fault[fault] = {
            "trainings": len(ill),
            "caught": sum(one.in_time for one in ill),
            "later": sum(one.caught is not None and not one.in_time for one in ill),
            "median_delay": round(median(delays), 4) if delays else None,
            "also_said": dict(Counter(kind for one in ill for kind in one.others)),
        }
    well = [one for one in outcomes if one.trial.fault == "clean"]
    before = [one for one in outcomes if one.onset is not None and one.trial.at > 0]
    ill = [one for one in outcomes if one.onset is not None]
    return {
        "trainings": len(outcomes),
        "ill": len(ill),
        "caught": sum(one.in_time for one in ill),
        "well": len(well),
        "left_out": sum(one.onset is None for one in outcomes) - len(well),  # few rows, and yet it did not turn
        "false_alarms": sum(bool(one.early) for one in well),
        "false_alarms_by_kind": dict(Counter(kind for one in well for kind in one.early)),
        "before_onset": len(before),
        "false_alarms_before_onset": sum(bool(one.early) for one in before),
        "by_fault": by_fault,
    }


def section(found: Mapping) -> str:
    """The figures as they stand on the page."""
    share = f"{100 * found['caught'] / found['ill']:.0f} %"
    alarms = f"{100 * found['false_alarms'] / found['well']:.1f} %"
    lines = [
        "## How often the doctor is right",
        "",
        "The doctor (`bigmodel/doctor/`) reads the curve of a run. Here it reads those of small real trainings, of all "
        "tasks and most networks, into which a fault was built (`benchmarks/quality/faults.py`); its thresholds were "
        "chosen on other trainings than these (`--seeds tuning`). `python -m benchmarks.quality.doctor_trials` repeats it.",
        "",
        f"{found['trainings']} small real trainings, each with its own seed: {found['ill']} with a fault, of which "
        f"**{found['caught']} ({share}) were caught within {100 * IN_TIME:.0f} % of the run's steps** after its onset "
        f"(goal: {100 * GOALS['caught']:.0f} %), and {found['well']} without, of which **{found['false_alarms']} "
        f"({alarms}) had a false alarm** (goal: at most {100 * GOALS['false_alarms']:.0f} %). Of {found['before_onset']} "
        f"trainings whose fault came later, {found['false_alarms_before_onset']} had an alarm before it. Where nothing was done "
        "and the validation loss has turned all the same and stayed up, 'overfitting' is not a false alarm.",
        "",
        "| what was done | right diagnosis | trainings | caught in time | later | missed | median delay | also said |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(fault, one) for fault, one in found["by_fault"].items()),
        "",
        f"{_place(found)}",
    ]
    return "\n".join(lines)


WHAT = {
    "not-a-number": "an output or a gradient becomes NaN in one step",
    "bad-batches": "wrong labels for 1.2 % of the steps",
    "rate-leaps": f"the learning rate is {faults.LEAP:.0f} times what the schedule says, from one step on",
    "rate-too-high": "learning rate 50 to 300 times the usual, from the start",
    "rate-too-low": "learning rate 300 to 1000 times less than the usual, from the start",
    "standstill": "the updates become nothing, or a hundredth, from one step on; validated 60 times",
    "few-rows": "so few rows that they are learnt by heart; validated 40 times",
    "shuffled-labels": "the labels belong to other rows",
}


def _row(fault: str, one: Mapping) -> str:
    missed = one["trainings"] - one["caught"] - one["later"]
    delay = "" if one["median_delay"] is None else f"{100 * one['median_delay']:.1f} %"
    others = ", ".join(f"{kind} {count}" for kind, count in one["also_said"].items())
    right = " or ".join(FAULTS[fault])
    cells = (WHAT[fault], right, one["trainings"], one["caught"], one["later"], missed, delay, others)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _place(found: Mapping) -> str:
    place = found["place"]
    return f"Python {place['python']}, torch {place['torch']}; {place['cpu_seconds']} s on one core; {place['date']}."


def keep(found: Mapping, file: Path = FILE, page: Path = report_page.PAGE) -> None:
    file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    report_page.keep(page, section(found), MARKS)


# -- the command ----------------------------------------------------------------------------------------------------
def main(argv: Sequence[str] | None = None) -> int:
    """0: both goals were reached. 1: one was not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.doctor_trials", description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder of the trainings' events; what is there is not trained again")
    parser.add_argument("--seeds", choices=SEEDS, default="report", help="which set of trainings (%(default)s)")
    parser.add_argument("--clean", type=int, default=CLEAN, help="trainings without a fault (%(default)s)")
    parser.add_argument("--each", type=int, default=EACH, help="trainings with each fault (%(default)s)")
    parser.add_argument("--dry", action="store_true", help="print the figures, leave the page as it is")
    parser.add_argument("--kept", action="store_true", help="judge only the trainings that are kept already")
    asked = parser.parse_args(argv)
    trials = faults.trials(SEEDS[asked.seeds], asked.clean, asked.each)
    with tempfile.TemporaryDirectory() as passing:
        folder = asked.keep or Path(passing)
        if asked.kept:
            trials = [trial for trial in trials if (folder / f"{trial.name}.jsonl").exists()]
        outcomes = list(_carry_out(trials, folder))
    spent = sum(one.seconds for one in outcomes)
    found = figures(outcomes) | {"seeds": asked.seeds, "place": _here(round(spent))}
    print(section(found))
    if not asked.dry and asked.seeds == "report":
        keep(found)
    enough = found["caught"] >= GOALS["caught"] * found["ill"]
    return 0 if enough and found["false_alarms"] <= GOALS["false_alarms"] * found["well"] else 1


def _carry_out(trials: Iterable[Trial], folder: Path) -> Iterable[Outcome]:
    os.environ["OMP_NUM_THREADS"] = "1"
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        outcome = judge(trial, faults.carry_out(trial, folder, home() / "cache"))
        yield outcome
        print(_told(outcome), flush=True)


def _told(one: Outcome) -> str:
    verdict = "well" if one.onset is None else f"ill from step {one.onset}"
    said = "nothing" if one.caught is None else f"caught at {one.caught} ({100 * one.delay:.1f} %)"
    early = f", FALSE ALARM {' '.join(one.early)}" if one.early else ""
    others = f", also {' '.join(one.others)}" if one.others else ""
    late = "" if one.onset is None or one.in_time else ", NOT IN TIME"
    return f"{one.trial.name} of {one.trial.steps}: {verdict}, {said}{late}{early}{others}"


def _here(seconds: int) -> dict:
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "cpu_seconds": seconds,
        "date": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main())
