"""How costs grow: ten times the data, four times the network, a thousand runs, a million points."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.speed.dashboard import server
from benchmarks.speed.data import HERE as DATA
from benchmarks.speed.data import spec as text_spec
from benchmarks.speed.report import alone
from benchmarks.speed.rows import SIZES
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import OURS, spec_of
from bigmodel.core.events import FINISHED, QUEUED, RUNNING, STARTING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.runs.folder import Folder, create_run_folder
from bigmodel.runs.index import IndexWriter
from bigmodel.studio import Studio

LINEAR = 1.15  # what is measured may be so much dearer than in proportion
FEW, MANY = 10, 1_000  # runs
SHORT, LONG = 1_000, 1_000_000  # points of a run
LOOKS = 5
READING = 60.0  # seconds, in which a page that is watched reads the whole run
EVERY = 500  # steps between two validations of the run with many points


def growth(rounds: int) -> list[dict]:
    return [*_data(min(rounds, 3)), *_network(rounds), *_runs(), *_points()]


# -- training -----------------------------------------------------------------------------------------------
def _data(rounds: int) -> list[dict]:
    names = ("bench_texts_hundredth", "bench_texts_tenth")
    sides = {name: Side(DATA + "our_encoding", spec=text_spec(name).to_json()) for name in names}
    found = alternate(sides, rounds)
    small, large = ([one["seconds"] for one in found[name]] for name in names)
    times = [b / a for a, b in zip(small, large, strict=True)]
    note = f"{median(small):.2f} s for {SIZES[names[0]]} MB of text, {median(large):.2f} s for {SIZES[names[1]]} MB"
    return [alone("10 x the data: encoding takes", times, "x the time", f"<= {10 * LINEAR:.3g}", note)]


def _network(rounds: int) -> list[dict]:
    """The blocks of a GPT hold 12 x layers x width^2 weights: twice the width, four times the work."""
    shape = {"layers": 6, "block_size": 128, "batch_size": 8, "vocabulary": 300, "tokenizer": "characters"}
    fixed = {**shape, "dropout": 0.0, "precision": "fp32"}
    specs = {
        width: spec_of("text-generation", "gpt", "classics_en", width=width, attention_heads=width // 64, **fixed)
        for width in (256, 512)
    }
    sides = {width: Side(OURS, spec=spec.to_json(), steps=6, warm=2) for width, spec in specs.items()}
    found = alternate({str(width): side for width, side in sides.items()}, rounds)
    small, large = found["256"], found["512"]
    weights = large[0]["parameters"] / small[0]["parameters"]
    times = [b["step_seconds"] / a["step_seconds"] for a, b in zip(small, large, strict=True)]
    note = (
        f"{small[0]['parameters'] / 1e6:.1f} and {large[0]['parameters'] / 1e6:.1f} million parameters; "
        f"{1000 * median(one['step_seconds'] for one in small):.0f} and "
        f"{1000 * median(one['step_seconds'] for one in large):.0f} ms a step; {small[0]['threads']} and "
        f"{large[0]['threads']} threads"
    )
    work = f"{weights:.2f} x the parameters: a step takes"
    return [alone(work, times, "x the time", f"<= {weights * LINEAR:.3g}", note)]


# -- many runs, long runs -------------------------------------------------------------------------------------
def _spec() -> RunSpec:
    return RunSpec.check({"task": "image-classification", "architecture": "cnn", "dataset": "digits"})


def ended(home: Path, number: int, points: int) -> Folder:
    """A run that has ended, with that many points on its curve: written event by event as a worker does."""
    folder = home / "runs" / f"20260101-{number:06}-cnn-digits-{number % 65536:04x}"
    spec = _spec()
    create_run_folder(folder, spec, Event("state", {"state": QUEUED, "number": number, "token": f"{number:064x}"}))
    lines = bytearray()
    for event in _life(points):
        lines += event.line()
    with (folder / "events.jsonl").open("ab") as file:
        file.write(lines)
    return Folder(folder)


def _life(points: int) -> Iterator[Event]:
    """As a run tells it; the curve falls and trembles."""
    now = 1.7e9
    yield Event("state", {"state": STARTING, "reason": None}, now)
    yield Event("state", {"state": RUNNING, "reason": None}, now)
    plan = {"steps": points, "epochs": 5, "steps_per_epoch": max(points // 5, 1), "parameters": 300_000}
    unit = {"text": "pictures", "values": {}}
    yield Event("plan", {**plan, "device": "cpu", "precision": "fp32", "threads": 1, "rows": {}, "unit": unit}, now)
    for step in range(1, points + 1):
        loss = 2.3 / (1 + step / points * 20) * (1 + 0.1 * ((step * 7919) % 100 - 50) / 50)
        more = {"learning_rate": 1e-3, "gradient_norm": 0.5 + loss / 7, "rate": 4000.0 + step % 91}
        yield Event(
            "step",
            {"step": step, "epoch": 5 * step / points, "loss": loss, "seconds": step / 10, **more},
            now + step / 10,
        )
        if step % EVERY == 0:
            metrics = {"accuracy": 1 - loss / 3, "loss": loss}
            yield Event("validation", {"step": step, "epoch": 1.0, "metrics": metrics, "seconds": 0.1}, now + step / 10)
    yield Event("state", {"state": FINISHED, "reason": None}, now + points / 10)


def _indexed(home: Path, folders: list[Folder]) -> None:
    """What the supervisor does beside everything else."""
    index = IndexWriter(Studio(home).runs.index_file)
    for folder in folders:
        while index.sync_run(folder):
            pass
    index.close()


def _runs() -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        home, times = Path(place), {}
        for count in (FEW, MANY):
            known = len(list((home / "runs").glob("*"))) if (home / "runs").exists() else 0
            _indexed(home, [ended(home, number, 20) for number in range(known + 1, count + 1)])
            times[count] = [_took(lambda: _listed(home, count)) for _look in range(LOOKS)]  # noqa: B023
    note = f"{1000 * median(times[FEW]):.1f} ms for {FEW}; all of them, read anew from index and folders"
    work = f"the list of {MANY:,} runs"
    return [alone(work, [1000 * one for one in times[MANY]], "ms", "<= 200", note)]


def _listed(home: Path, count: int) -> None:
    found = Studio(home).runs.all(limit=count)
    if len(found) != count:
        raise ValueError(f"{len(found)} runs of {count} were listed")


def _points() -> list[dict]:
    """A session opens the run's page: asked, drawn, done. The first look after the server's start reads the run."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        folders = {points: ended(home, number, points) for number, points in enumerate((SHORT, LONG), 1)}
        _indexed(home, list(folders.values()))
        with server(home) as (_process, address):
            asyncio.run(_look(address, "", 1, words=""))  # the server has its pages' code loaded
            first = {points: asyncio.run(_look(address, folder.id, 1))[0] for points, folder in folders.items()}
            asyncio.run(_look(address, folders[LONG].id, 1, stay=READING))
            looks = {points: asyncio.run(_look(address, folder.id)) for points, folder in folders.items()}
        size = folders[LONG].size() / 1e6
    later = [1000 * one for one in looks[LONG]]
    short = 1000 * median(looks[SHORT])
    work = f"the page of a run with {LONG:,} points"
    note = f"{short:.0f} ms for {SHORT:,}; a session of its own for each look"
    reading = f"with its beginning; {size:.0f} MB of events are read on while it is looked at, once a server"
    return [
        alone(work, later, "ms", "<= 500", note),
        alone(f"{work}, the first look", [1000 * first[LONG]], "ms", "<= 500", reading),
    ]


async def _look(
    address: str, run: str, sessions: int = LOOKS, words: str = "live_plot", stay: float = 0.0
) -> list[float]:
    """Seconds from asking for the page to its end, in one new session after the other; each stays for a while."""
    from benchmarks.speed.sessions import Watcher

    took = []
    for _session in range(sessions):
        one = Watcher(address, "runs", f"run={run}" if run else "", words)
        life = asyncio.create_task(one.live())
        first = asyncio.create_task(one.drawn.wait())
        await asyncio.wait([life, first], timeout=300, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            life.cancel()
            await life
        took.append(one.runs[0])
        await asyncio.sleep(stay)
        life.cancel()
        await asyncio.wait([life])
    return took


def _took(do: Callable[[], object]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun
