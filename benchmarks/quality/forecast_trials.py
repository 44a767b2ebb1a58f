"""How true forecasts are: thirty configurations foretold and then trained, each in a process of its own.

    python -m benchmarks.quality.forecast_trials [--only N,N]

probe     how long the forecast itself takes once the data are encoded; at most 5 s
time      from the plan to the end of the run, beside the forecast's seconds; right within 20 %
memory    the most that the process held, beside the forecast's; right within 15 %
time left what the run page says after a tenth of the steps, beside what was left; right within 15 %
resumed   the same of a run that was stopped half-way, a tenth of the steps after it goes on; for every third of them
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks import report_page
from bigmodel.core.events import RUNNING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.runs.run import fold

FILE = Path(__file__).with_name("forecast_figures.json")
MARKS = report_page.marks("python -m benchmarks.quality.forecast_trials", "forecasts")
TIME, MEMORY, LEFT, PROBE = 0.20, 0.15, 0.15, 5.0
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
    """Foretold and then trained; the two beside each other."""
    told, done = (_child(what, number, cache) for what in ("foretell", "train"))
    resumed = {"resumed": _child("resume", number, cache)["left"]} if number % 3 == 0 else {}
    return resumed | {
        "configuration": " ".join(map(str, CONFIGURATIONS[number][1:])),
        "seconds": [told["seconds"], done["seconds"]],
        "memory": [told["memory"], done["memory"]],
        "left": done["left"],
        "pace": [told["pace"], done["pace"]],
        "probe": told["probe"],
    }


def foretell(number: int, cache: Path) -> dict:
    from bigmodel.training.forecast import forecast
    from bigmodel.training.warm_up import warm_up

    warm_up()
    asked = forecast(spec_of(number), cache)
    next(asked)  # until here the data were encoded
    begun = time.perf_counter()
    *_before, figures = asked
    return figures | {"pace": f"{figures['precision']}, {figures['threads']}", "probe": time.perf_counter() - begun}


def train(number: int, cache: Path) -> dict:
    import resource

    from bigmodel.training.loop import train
    from bigmodel.training.warm_up import warm_up

    warm_up()
    spec, events = spec_of(number), [Event("state", {"state": state}) for state in ("queued", "starting", RUNNING)]
    with tempfile.TemporaryDirectory() as folder:
        for event in train(spec, Path(folder), lambda: False, cache):
            events.append(Event(event.kind, event.data, time.time()))
    plan = next(event for event in events if event.kind == "plan")
    begun, steps = plan.time, plan["steps"]
    tenth = next(i for i, event in enumerate(events) if event.kind == "step" and event["step"] >= max(steps / 10, 2))
    left = fold("", spec, events[: tenth + 1]).eta
    return {
        "seconds": events[-1].time - begun,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "left": [left, events[-1].time - events[tenth].time],
        "pace": f"{plan['precision']}, {plan['threads']}",
    }


def resume(number: int, cache: Path) -> dict:
    """The time left that is told of a run that goes on from its middle, and what was left."""
    from bigmodel.training.loop import train
    from bigmodel.training.warm_up import warm_up

    warm_up()
    spec, events = spec_of(number), []
    with tempfile.TemporaryDirectory() as folder:
        for half in (True, False):
            events += [Event("state", {"state": state}) for state in ("queued", "starting", RUNNING)]
            for event in train(spec, Path(folder), partial(_half_done, events, half), cache):
                events.append(Event(event.kind, event.data, time.time()))
    until = 0.6 * next(event["steps"] for event in events if event.kind == "plan")
    on = next(i for i, event in enumerate(events) if event.kind == "resume")
    point = next(i for i in range(on, len(events)) if events[i].kind == "step" and events[i]["step"] >= until)
    return {"left": [fold("", spec, events[: point + 1]).eta, events[-1].time - events[point].time]}


def _half_done(events: Sequence[Event], asked: bool) -> bool:
    """Whether half of the steps have been told of, where that is to be the end."""
    steps = next((event["steps"] for event in reversed(events) if event.kind == "plan"), 0)
    step = next((event["step"] for event in reversed(events) if event.kind == "step"), 0)
    return asked and 0 < steps <= 2 * step


def _child(what: str, number: int, cache: Path) -> dict:
    command = [
        sys.executable,
        "-m",
        "benchmarks.quality.forecast_trials",
        f"--{what}",
        str(number),
        "--cache",
        str(cache),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def off(pair: Sequence[float | None]) -> float:
    """How far what was told is from what came, as a part of what came; infinite where nothing was told."""
    told, came = pair
    return abs(told - came) / came if told is not None else float("inf")


def summed(rows: Sequence[dict]) -> dict[str, int]:
    bounds = {"seconds": TIME, "memory": MEMORY, "left": LEFT, "resumed": LEFT}
    return {name: sum(off(row[name]) <= bound for row in rows if name in row) for name, bound in bounds.items()}


def _lines(rows: Sequence[dict]) -> Iterator[str]:
    for row in rows:
        (told, came), (held, used), (eta, left) = row["seconds"], row["memory"], row["left"]
        yield (
            f"time {told or 0:6.1f} s / {came:6.1f} s ({off(row['seconds']):4.0%})  "
            f"memory {held / 1e6:5.0f} / {used / 1e6:5.0f} MB ({off(row['memory']):4.0%})  "
            f"left {eta or 0:6.1f} / {left:6.1f} s ({off(row['left']):4.0%})  probe {row['probe']:.1f} s  "
            f"{_resumed(row)}{' / '.join(dict.fromkeys(row['pace']))}  {row['configuration']}"
        )


def _resumed(row: Mapping) -> str:
    return (
        "resumed {:6.1f} / {:6.1f} s ({:4.0%})  ".format(*row["resumed"], off(row["resumed"]))
        if "resumed" in row
        else ""
    )


# -- the page ---------------------------------------------------------------------------------------------------------
def section(found: Mapping) -> str:
    """The figures as they stand on the page."""
    rows, right, probes = found["rows"], summed(found["rows"]), [row["probe"] for row in found["rows"]]
    again = sum("resumed" in row for row in rows)
    lines = [
        "## How true forecasts are",
        "",
        "What the Train page says before the start, beside what came, each in a process of its own; then the time left that a "
        "run's page says after a tenth of the steps, and a tenth of the steps after a run goes on from its middle. "
        "`python -m benchmarks.quality.forecast_trials` repeats it. Bold: further off than the goal.",
        "",
        f"Right of {len(rows)} (goal {GOAL}): time within {TIME:.0%} **{right['seconds']}**, memory within {MEMORY:.0%} "
        f"**{right['memory']}**, time left within {LEFT:.0%} **{right['left']}**, of {again} that went on **{right['resumed']}**. "
        f"The forecast itself took {median(probes):.1f} s in the median, {max(probes):.1f} s at most (goal {PROBE:g} s).",
        "",
        "| network, data, settings | time: said, came | memory: said, came | left: said, came | after going on |",
        "|---|---|---|---|---|",
        *(_row(row) for row in rows),
        "",
        f"{found['place']}; load {found['load'][0]} -> {found['load'][1]}; {found['date']}.",
    ]
    return "\n".join(lines)


def _row(row: Mapping) -> str:
    cells = [row["configuration"].replace("{}", "")]
    for name, bound, scale, unit in (
        ("seconds", TIME, 1, "s"),
        ("memory", MEMORY, 1e6, "MB"),
        ("left", LEFT, 1, "s"),
        ("resumed", LEFT, 1, "s"),
    ):
        if name not in row:
            cells.append("")
            continue
        told, came = row[name]
        said = "-" if told is None else f"{told / scale:,.0f}"
        far = off(row[name])
        text = f"{said}, {came / scale:,.0f} {unit} ({far:.0%})"
        cells.append(text if far <= bound else f"**{text}**")
    return "| " + " | ".join(cells) + " |"


def _place() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(map(str, range(len(CONFIGURATIONS)))), help="numbers, 0 to 29")
    parser.add_argument("--dry", action="store_true", help="leave BENCHMARKS.md as it is")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--foretell", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for what, do in (("foretell", foretell), ("train", train), ("resume", resume)):
        if getattr(asked, what) is not None:
            print(json.dumps(do(getattr(asked, what), asked.cache)))
            return 0
    rows, load = [], [round(os.getloadavg()[0], 2)]
    with tempfile.TemporaryDirectory() as place:
        for number in map(int, asked.only.split(",")):
            rows.append(trial(number, asked.cache or Path(place)))
            print(next(_lines(rows[-1:])), flush=True)
    right, again = summed(rows), sum("resumed" in row for row in rows)
    print(
        f"right: time {right['seconds']}, memory {right['memory']}, time left {right['left']} of {len(rows)}; "
        f"time left of a run that goes on {right['resumed']} of {again}"
    )
    found = {"rows": rows, "place": _place(), "load": [*load, round(os.getloadavg()[0], 2)], "date": f"{date.today()}"}
    if not asked.dry and len(rows) == len(CONFIGURATIONS):
        report_page.write(FILE, json.dumps(found, indent=1) + "\n")
        report_page.keep(report_page.PAGE, section(found), MARKS)
    enough = min(GOAL, 0.9 * len(rows))
    return (
        0
        if min(right[name] for name in ("seconds", "memory", "left")) >= enough and right["resumed"] >= 0.9 * again
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
