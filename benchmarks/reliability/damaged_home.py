"""Row 16: home folders in which lines of stories, specs and manifests are garbage."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import patched, spec
from bigmodel.base_models.store import register_bases
from bigmodel.cli.command import main
from bigmodel.cli.terminal import REFUSED
from bigmodel.core import checked_json, events
from bigmodel.core.errors import Refusal
from bigmodel.core.events import STARTING, Event
from bigmodel.core.words import LANGUAGES, say
from bigmodel.importing.store.registry import DatasetRegistry, register_home
from bigmodel.runs.run import Run
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor
from bigmodel.studio import Studio
from bigmodel.ui.runs.curves import Curves

HOME = Path(__file__).parents[2] / "tests" / "corpus" / "home"
FILES = (
    "spec.json",
    "events.jsonl",
    "model/bigmodel.json",
    "checkpoints/*/manifest.json",
    "checkpoints/*/training.json",
)
BUG = "Something went wrong in bigmodel itself"
GARBAGE = (
    b"[1]", b"null", b"{}", b"", b"7", b'"text"', b"[" * 100_000, b'{"a":' * 100_000, b"\x00" * 500, b"\xff\xfe{\x00}\x00",
    b'{"kind":"step","time":"x","step":7,"loss":1.0}', b'{"kind":[],"time":1}', b'{"kind":"state","time":1,"state":["queued"]}',
    b'{"kind":"step","time":1,"step":1e999,"loss":1}', b'{"kind":"step","time":1,"step":' + b"9" * 4000 + b',"loss":1}',
    b'{"kind":"note","time":1,"words":{"text":"{a:>9999999999}","values":{"a":1}}}',
    b'{"kind":"note","time":1e300,"words":"\\ud800"}', b'{"kind":"phase","time":1,"words":{"text":"{a}{b}","values":{"a":1}}}',
    b'{"kind":"validation","time":1,"step":1,"metrics":{"loss":{"number":[1]}}}', b"\xed\xa0\x80", b"a" * 2**20,
)  # fmt: skip
VALUES = (None, True, -1, 0, 2**53 + 1, 10**30, 1e300, float("nan"), "", "x", "\x00", "../..", [], {}, [1], [[]], {"text": 5},
          {"text": "{a", "values": {"a": 1}}, {"text": "{a.__class__}", "values": {"a": 1}}, {"number": [1]}, {"": {}})  # fmt: skip


class _NoWorkers:
    """An executor that starts nothing: the queue is what is looked at."""

    def start(self, folder: Path) -> Any:
        class Alive:
            def exit_reason(self) -> None:
                return None

        return Alive()


def damaged_homes(trials: int, place: Path) -> Outcome:
    """In each home one run, or what belongs to a data set, is damaged; everything else must be as it was."""
    outcome, chance = Outcome(), random.Random(16)
    set_aside = left_out = 0
    for number in range(trials):
        home = place / str(number)
        shutil.copytree(HOME, home)
        intact = {run.id: run for run in Store(home).all()}
        victim, what = _damage(home, chance)
        lines, runs = _look(home, victim, intact, f"{number}: {what}", outcome)
        set_aside, left_out = set_aside + lines, left_out + runs
        shutil.rmtree(home)
        outcome.trials += 1
    outcome.worst = f"{len(outcome.failures)} of {outcome.trials} homes stopped anything else"
    outcome.note = f"{set_aside} lines set aside in stories that could be read, {left_out} runs or data sets left out"
    return outcome


def _damage(home: Path, chance: random.Random) -> tuple[str, str]:
    """(the run or data set that is damaged, how)."""
    run = chance.choice(sorted((home / "runs").iterdir()))
    own = [*(home / "datasets").rglob("*.json"), *(home / "bases").glob("*/base.json")]
    files = own if chance.random() < 0.25 else [file for name in FILES for file in run.glob(name)]
    file = chance.choice(sorted(files))
    how = _damage_lines(file, chance) if file.name == "events.jsonl" else _damage_json(file, chance)
    return (
        run.name if file.is_relative_to(run) else file.relative_to(home).parts[1]
    ), f"{file.relative_to(home)}: {how}"


def _damage_lines(file: Path, chance: random.Random) -> str:
    lines = file.read_bytes().splitlines()
    for _again in range(chance.choice((1, 1, 3, 20))):
        at = chance.randrange(len(lines) + 1)
        way = chance.randrange(4)
        if way == 0 or at == len(lines):
            lines.insert(at, chance.choice(GARBAGE))
        elif way == 1:
            lines[at] = chance.choice(GARBAGE)
        elif way == 2:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        else:
            lines[at] = _with_wrong_value(lines[at], chance)
    file.write_bytes(b"\n".join(lines) + b"\n")
    return "lines"


def _damage_json(file: Path, chance: random.Random) -> str:
    data = file.read_bytes()
    way = chance.randrange(5)
    if way == 0:
        file.write_bytes(chance.choice(GARBAGE))
    elif way == 1:
        file.write_bytes(data[: chance.randrange(len(data))])
    elif way == 2:
        file.unlink()
        file.mkdir()
        return "a folder in its place"
    else:
        file.write_bytes(_with_wrong_value(data, chance))
    return "content"


def _with_wrong_value(text: bytes, chance: random.Random) -> bytes:
    """The JSON with one value, at any depth, replaced by one of another type; of a line that is none, the line."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return text
    places = list(_places(record))
    if not places:
        return text
    holder, key = chance.choice(places)
    holder[key] = chance.choice(VALUES)
    return json.dumps(record).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield value, key
        yield from _places(part)


# -- what must go on ---------------------------------------------------------------------------------------
def _look(home: Path, victim: str, intact: dict[str, Run], what: str, outcome: Outcome) -> tuple[int, int]:
    """(lines that were set aside, runs and data sets that were left out)."""
    before = len(outcome.failures)

    def goes_on(name: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Refusal:
            return None
        except Exception as error:
            if len(outcome.failures) == before:  # one failure a home
                outcome.fail(f"{what}: {name}: {type(error).__name__}: {str(error)[:200]}")
            return None

    register_home(home), register_bases(home)
    studio = Studio(home)
    others = {id: run for id, run in intact.items() if id != victim}
    listed = {run.id: run for run in goes_on("the list of runs", studio.runs.all) or ()}
    if len(outcome.failures) == before and {id: listed.get(id) for id in others} != others:
        outcome.fail(f"{what}: another run is not what it was")
    goes_on("the pages", lambda: _read_as_pages_do(studio, listed.values()))
    goes_on("the list of models", lambda: [say(model.title, "zh") for model in studio.models.all()])
    goes_on("the list of bases", lambda: [base.title for base in studio.base_models.all()])
    goes_on("the list of data", lambda: [say(data.title, "zh") for data in studio.data.registry.values()])
    for words in (["runs"], ["runs", "--json"], ["data", "list"], *(["show", id] for id in intact)):
        goes_on(" ".join(words), lambda words=words: _command(home, words))
    goes_on("the queue", lambda: _queue(home))
    damaged = goes_on("what is left out", lambda: [*studio.runs.damaged(), *DatasetRegistry(home).damaged()]) or []
    return sum(run.damaged for run in listed.values()), len(damaged)


def _read_as_pages_do(studio: Studio, runs: Any) -> None:
    for run in runs:
        curves = Curves(run.id).read(studio, patience=60.0)
        for language in LANGUAGES:
            for event in [*curves.notes, *curves.phases, *curves.states]:
                words = event.data.get("words") or event.data.get("reason")
                if isinstance(words, dict):
                    say(events.Words.from_json(words), language)
        studio.runs.checkpoints(run.id), studio.runs.branches(run.id), studio.runs.resume_point(run.id)
        studio.runs.will_retry(run.id)


def _command(home: Path, words: list[str]) -> None:
    said, printed = io.StringIO(), io.StringIO()
    with redirect_stderr(said), redirect_stdout(printed):
        code = main([*words, "--home", str(home)])
    if BUG in said.getvalue() or code not in (0, REFUSED):
        raise AssertionError(said.getvalue())


def _queue(home: Path) -> None:
    """A run that is launched now is started, whatever the others are like."""
    store = Store(home)
    id = store.launch(spec("cnn"))
    supervisor = Supervisor(store, executor=_NoWorkers())
    try:
        for _round in range(3):
            supervisor.tick()
    finally:
        supervisor.close()
    if store.get(id).state != STARTING:
        raise AssertionError(f"a new run is {store.get(id).state}")


def _unchecked(line: bytes | str) -> Event:
    record = json.loads(line)
    return Event(record.pop("kind"), time=record.pop("time"), data=record)


ROW = Row(
    16,
    "home folders with garbage in stories of runs, specs, manifests of data sets, models, bases and checkpoints",
    "it is set aside and counted; all other runs, data sets and models are as they were, and commands, pages and queue go on",
    1000,
    damaged_homes,
    {
        "the check of each line of a story": lambda: patched((events, "parse", _unchecked)),
        "the check of what manifests hold": lambda: patched(
            (checked_json, "read_object", lambda file, shape=None: json.loads(file.read_bytes()))
        ),
    },
    fewer=30,
)
