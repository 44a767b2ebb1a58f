"""How true forecasts are: thirty configurations forecast and then trained, each in a process of its own.

probe     how long the forecast itself takes once the data are encoded; at most 5 s
time      from the plan to the end of the run, beside the forecast's seconds; right within 20 %
memory    the most that the process held, beside the forecast's; right within 15 %
time left what the run page says after a tenth of the steps, beside what was left; right within 15 %
resumed   the same of a run that was stopped half-way, a tenth of the steps after it goes on; for every third of them
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.report import Headline, Report, progress
from benchmarks.speed.side import Side
from bigmodel.core.events import RUNNING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.runs.run import fold

BOUNDS = {"seconds": 0.20, "memory": 0.15, "left": 0.15, "resumed": 0.15}  # how far a right forecast may be off
PROBE = 5.0  # seconds that a forecast may take
GOAL = 27

TEXT, PAIRS, PICTURES = "text-generation", "translation", "image-classification"
# task, network, data, settings: steps for some eight to thirty seconds on two cores, as in a run of two seconds a tenth of
# the steps says how busy the machine just was; translators write nothing at all
# before some hundred steps, which no forecast can know
CONFIGURATIONS: Sequence[tuple[str, str, str, dict]] = (
    (PICTURES, "cnn", "digits", {"epochs": 80}),
    (PICTURES, "cnn", "digits", {"epochs": 80, "batch_size": 128}),
    (PICTURES, "cnn", "fashion_mnist", {"max_steps": 150}),
    (PICTURES, "cnn", "fashion_mnist", {"max_steps": 160, "batch_size": 256, "channels": 16}),
    (PICTURES, "cnn", "fashion_mnist", {"max_steps": 120, "augment": "none", "optimizer": "sgd"}),
    (PICTURES, "resnet", "digits", {"epochs": 40}),
    (PICTURES, "resnet", "digits", {"epochs": 100, "batch_size": 128}),
    (PICTURES, "resnet", "fashion_mnist", {"max_steps": 300}),
    (PICTURES, "vit", "digits", {"epochs": 12}),
    (PICTURES, "vit", "digits", {"epochs": 40, "layers": 2, "width": 64}),
    (PICTURES, "vit", "fashion_mnist", {"max_steps": 120}),
    (PICTURES, "vit", "fashion_mnist", {"max_steps": 60, "width": 192, "attention_heads": 6}),
    (TEXT, "gpt", "poetry_zh", {"max_steps": 60}),
    (TEXT, "gpt", "poetry_zh", {"max_steps": 40, "width": 192, "batch_size": 16, "precision": "bf16"}),
    (TEXT, "gpt", "poetry_zh", {"max_steps": 300, "width": 64, "layers": 2, "block_size": 64}),
    (TEXT, "gpt", "prose_zh", {"max_steps": 80}),
    (TEXT, "gpt", "prose_zh", {"max_steps": 80, "precision": "fp32", "eval_every": 20}),
    (TEXT, "gpt", "classics_en", {"max_steps": 60, "vocabulary": 2048}),
    (TEXT, "gpt", "classics_en", {"max_steps": 30, "vocabulary": 2048, "block_size": 256, "width": 256}),
    (TEXT, "gpt", "classics_en", {"max_steps": 30, "accumulation": 2, "vocabulary": 4096}),
    (TEXT, "lstm", "poetry_zh", {"max_steps": 60}),
    (TEXT, "lstm", "prose_zh", {"max_steps": 100}),
    (TEXT, "lstm", "classics_en", {"max_steps": 60}),
    (TEXT, "lstm", "classics_en", {"max_steps": 240, "units": 64, "vocabulary": 2048, "precision": "fp32"}),
    (PAIRS, "transformer", "en_zh", {"max_steps": 160}),
    (PAIRS, "transformer", "en_zh", {"max_steps": 160, "width": 64, "layers": 2}),
    (PAIRS, "transformer", "en_zh", {"max_steps": 120, "precision": "bf16", "batch_size": 64}),
    (PAIRS, "transformer", "en_de", {"max_steps": 150}),
    (PAIRS, "transformer", "en_de", {"max_steps": 150, "precision": "fp32"}),
    (PAIRS, "transformer", "en_de", {"max_steps": 80, "accumulation": 2}),
)


def spec_of(number: int) -> RunSpec:
    task, architecture, dataset, settings = CONFIGURATIONS[number]
    data = {"task": task, "architecture": architecture, "dataset": dataset}
    return RunSpec.check(data | {"settings": settings | {"seed": 0, "device": "cpu"}})


def trial(number: int, cache: Path) -> dict:
    """The forecast of a configuration beside its training, and every third beside a resumed one."""
    predicted, actual = (_in_process(step, number, cache) for step in (forecast, train))
    resumed = {"resumed": _in_process(resume, number, cache)["left"]} if number % 3 == 0 else {}
    return resumed | {
        "configuration": " ".join(map(str, CONFIGURATIONS[number][1:])),
        "seconds": [predicted["seconds"], actual["seconds"]],
        "memory": [predicted["memory"], actual["memory"]],
        "left": actual["left"],
        "pace": [predicted["pace"], actual["pace"]],
        "probe": predicted["probe"],
    }


def _in_process(step: Callable, number: int, cache: Path) -> dict:
    with Side(f"{__name__}:{step.__name__}", number=number, cache=str(cache)) as side:
        return side.measure()


def forecast(number: int, cache: str) -> Callable[[], dict]:
    from bigmodel.training.forecast import forecast
    from bigmodel.training.warm_up import import_libraries

    import_libraries()

    def measure() -> dict:
        stages = forecast(spec_of(number), Path(cache))
        next(stages)  # the data are encoded
        started = time.perf_counter()
        *_earlier, figures = stages
        pace = f"{figures['precision']}, {figures['threads']}"
        return figures | {"pace": pace, "probe": time.perf_counter() - started}

    return measure


def train(number: int, cache: str) -> Callable[[], dict]:
    import resource

    def measure() -> dict:
        spec = spec_of(number)
        events = _train(spec, cache, stop_halfway=(False,))
        plan = next(event for event in events if event.kind == "plan")
        return {
            "seconds": events[-1].time - plan.time,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "left": _time_left(spec, events, max(plan["steps"] / 10, 2)),
            "pace": f"{plan['precision']}, {plan['threads']}",
        }

    return measure


def resume(number: int, cache: str) -> Callable[[], dict]:
    """The time left of a run that goes on from its middle: as the run page says it, and as it was."""

    def measure() -> dict:
        spec = spec_of(number)
        events = _train(spec, cache, stop_halfway=(True, False))
        until = 0.6 * next(event["steps"] for event in events if event.kind == "plan")
        resumed = next(i for i, event in enumerate(events) if event.kind == "resume")
        return {"left": _time_left(spec, events, until, resumed)}

    return measure


def _train(spec: RunSpec, cache: str, stop_halfway: Sequence[bool]) -> list[Event]:
    """The timed events of the run, trained in as many parts as there are flags."""
    from bigmodel.training.loop import train
    from bigmodel.training.warm_up import import_libraries

    import_libraries()
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        for stop in stop_halfway:
            events += [Event("state", {"state": state}) for state in ("queued", "starting", RUNNING)]
            for event in train(spec, Path(folder), partial(_half_done, events, stop), Path(cache)):
                events.append(Event(event.kind, event.data, time.time()))
    return events


def _time_left(spec: RunSpec, events: Sequence[Event], step: float, start: int = 0) -> list[float | None]:
    """[the run page's estimate at the first step event from `step` on, what was left]."""
    at = next(i for i in range(start, len(events)) if events[i].kind == "step" and events[i]["step"] >= step)
    return [fold("", spec, events[: at + 1]).eta, events[-1].time - events[at].time]


def _half_done(events: Sequence[Event], stop: bool) -> bool:
    """Whether to stop now: half of the steps are reported."""
    steps = next((event["steps"] for event in reversed(events) if event.kind == "plan"), 0)
    step = next((event["step"] for event in reversed(events) if event.kind == "step"), 0)
    return stop and 0 < steps <= 2 * step


# -- the page ---------------------------------------------------------------------------------------------------------
UNITS = {"seconds": (1, "s"), "memory": (1e6, "MB"), "left": (1, "s"), "resumed": (1, "s")}


def relative_error(pair: Sequence[float | None]) -> float:
    """Of (forecast, actual), as a fraction of the actual value; infinite without a forecast."""
    predicted, actual = pair
    return abs(predicted - actual) / actual if predicted is not None else float("inf")


def count_right(rows: Sequence[Mapping]) -> dict[str, int]:
    return {
        name: sum(relative_error(row[name]) <= bound for row in rows if name in row) for name, bound in BOUNDS.items()
    }


def render(found: Mapping) -> str:
    rows, right, probes = found["rows"], count_right(found["rows"]), [row["probe"] for row in found["rows"]]
    again = sum("resumed" in row for row in rows)
    head = ("network, data, settings", "time: said, came", "memory: said, came", "left: said, came", "after going on")
    lines = [
        f"Right of {len(rows)} (goal {GOAL}): time within {BOUNDS['seconds']:.0%} **{right['seconds']}**, memory within "
        f"{BOUNDS['memory']:.0%} **{right['memory']}**, time left within {BOUNDS['left']:.0%} **{right['left']}**, of "
        f"{again} that went on **{right['resumed']}**. The forecast itself took {median(probes):.1f} s in the median, "
        f"{max(probes):.1f} s at most (goal {PROBE:g} s).",
        "",
        *report.table(head, map(_cells, rows)),
        "",
        f"{report.describe(found['environment'])}.",
    ]
    return "\n".join(lines)


def _cells(row: Mapping) -> list[str]:
    return [row["configuration"].replace("{}", ""), *(_pair(row, name) for name in BOUNDS)]


def _pair(row: Mapping, name: str) -> str:
    """'14, 13 s (11%)'; bold where it is further off than the bound."""
    if name not in row:
        return ""
    (predicted, actual), (scale, unit) = row[name], UNITS[name]
    error = relative_error(row[name])
    said = "-" if predicted is None else f"{predicted / scale:,.0f}"
    text = f"{said}, {actual / scale:,.0f} {unit} ({error:.0%})"
    return text if error <= BOUNDS[name] else f"**{text}**"


def headlines(found: Mapping) -> list[Headline]:
    right, total = count_right(found["rows"]), len(found["rows"])
    what = {
        "seconds": "forecasts of a run's time",
        "memory": "forecasts of its memory",
        "left": "estimates of the time left",
    }
    return [
        Headline(
            f"{words} that are right within {BOUNDS[name]:.0%}", f"{right[name]} of {total}", f">= {GOAL}", "forecasts"
        )
        for name, words in what.items()
    ]


REPORT = Report("forecasts", report.ROOT / "docs" / "benchmarks" / "forecasts.md", render, headlines)


# -- the command ------------------------------------------------------------------------------------------------------
def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="N,N", help="numbers of configurations, from 0; implies --dry")
    parser.add_argument("--cache", type=Path, help="folder of encoded data")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    numbers = list(map(int, options.only.split(","))) if options.only else range(len(CONFIGURATIONS))
    rows, load = [], report.load()
    with tempfile.TemporaryDirectory() as temporary:
        for number in numbers:
            rows.append(trial(number, options.cache or Path(temporary)))
            pace = " / ".join(dict.fromkeys(rows[-1]["pace"]))
            progress("  ".join([*_cells(rows[-1]), f"probe {rows[-1]['probe']:.1f} s", pace]))
    environment = report.environment(("torch", "transformers"), f"load {load} -> {report.load()}")
    found = {"rows": rows, "environment": environment}
    if not options.dry and not options.only:
        REPORT.save(found)
    right, again = count_right(rows), sum("resumed" in row for row in rows)
    progress(f"right of {len(rows)}, of {again} that went on: {right}")
    enough = min(right[name] for name in ("seconds", "memory", "left")) >= min(GOAL, 0.9 * len(rows))
    return found, enough and right["resumed"] >= 0.9 * again
