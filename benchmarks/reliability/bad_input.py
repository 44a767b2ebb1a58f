"""Rows 13 and 14: files from hostile hands at the importer, and hostile names and paths."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import patched
from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import DONE, FAILED
from bigmodel.core.words import LANGUAGES
from bigmodel.data.sandbox import run_in_sandbox
from bigmodel.importing.import_jobs import ImportJobs
from bigmodel.importing.import_plan import ImportPlan
from bigmodel.importing.store.registry import DatasetRegistry, default_title, slugify
from tests.corpus import bad_files

HANGS = 10.0  # seconds
READER = "bigmodel.importing.sandbox_worker"
TRACES = ("Traceback", 'File "')


# -- row 13 ------------------------------------------------------------------------------------------------
def hostile_files(trials: int, place: Path) -> Outcome:
    """The broken files first, each through the importer as a person would bring it; then mutations of whole ones."""
    outcome = Outcome()
    slowest, largest = 0.0, 0
    known = list(bad_files.broken().items())
    chance = random.Random(13)
    for number in range(trials):
        name, data = known[number] if number < len(known) else mutated(chance)
        seconds, memory = _bring(place / str(number), name, data, outcome)
        slowest, largest = max(slowest, seconds), max(largest, memory)
        outcome.trials += 1
    outcome.expect_within(slowest, HANGS, f"one file took {slowest:.1f} s")
    outcome.expect(largest < 2**30, f"the reading process grew to {largest / 2**20:.0f} MB")
    outcome.worst = f"slowest {slowest:.1f} s, largest process {largest / 2**20:.0f} MB"
    outcome.note = f"{len(known)} broken files made by hand, then mutations of {len(bad_files.WHOLE)} whole ones"
    return outcome


def mutated(chance: random.Random) -> tuple[str, bytes]:
    """A whole file with some of its bytes turned, cut out, doubled, moved, or replaced by what files are cut at."""
    name = chance.choice(sorted(bad_files.WHOLE))
    data = bytearray(bad_files.WHOLE[name]())
    for _again in range(chance.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        place, length = chance.randrange(len(data)), chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(6)
        if kind == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 3:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 4:
            data[place:place] = chance.choice(
                (b'"', b"\n", b"\x00", b"\xff", b"{", b"]", b"<", b"\\", b",", b"\r", b"PK\x03\x04")
            )
        else:
            del data[place:]
    return name, bytes(data)


def _bring(place: Path, name: str, data: bytes, outcome: Outcome) -> tuple[float, int]:
    """One file from the upload to the shelf. What is wrong with it must be said, and nothing may be lost."""
    desk, begun = ImportJobs(place), time.monotonic()
    with _Watch() as watch:
        try:
            parcel = desk.receive(name, [data])
            plan = desk.preview(parcel.id).plan
            job = desk.begin(parcel.id, plan, wait=True)
            if job.state == FAILED:
                raise job.error
            outcome.expect(job.state == DONE, f"{name}: ended as {job.state}")
            _count(desk, job.name, place, name, outcome)
        except Refusal as refusal:
            _say(refusal, name, outcome)
    log = place / "imports.log"
    outcome.expect(
        not log.exists() or not log.read_text("utf-8", "replace").strip(), f"{name}: the log tells of a fault"
    )
    return time.monotonic() - begun, watch.most


def _say(refusal: Refusal, name: str, outcome: Outcome) -> None:
    for language in LANGUAGES:
        words = refusal.say(language)
        outcome.expect(bool(words.strip()) and not any(trace in words for trace in TRACES), f"{name}: {words[:200]}")
    outcome.expect("bigmodel" not in refusal.say("en"), f"{name}: {refusal.say('en')[:200]}")


def _count(desk: ImportJobs, version: str, place: Path, name: str, outcome: Outcome) -> None:
    """Accepted and set aside together are what a second, separate reading counts."""
    shelf = DatasetRegistry(place)
    manifest = shelf.version(version).manifest
    original = next((shelf.folder / shelf.version(version).slug / "original").glob("file*"))
    counted = run_in_sandbox({"do": "count", "path": str(original), "plan": manifest["plan"]}, seconds=60)["count"]
    taken = sum(manifest["rows"].values()) + manifest["aside"]
    told = sum(
        one["count"] for one in map(json.loads, (shelf.version(version).folder / "aside.jsonl").open(encoding="utf-8"))
    )
    outcome.expect(told == manifest["aside"], f"{name}: {manifest['aside']} set aside, {told} told of")
    # a whole text is cut where its three splits meet
    cuts = 2 if ImportPlan.check(manifest["plan"]).continuous else 0
    outcome.expect(counted <= taken <= counted + cuts, f"{name}: {taken} taken in or set aside of {counted}")
    kept = hashlib.sha256(original.read_bytes()).hexdigest()
    outcome.expect(kept == manifest["source"]["sha256"], f"{name}: the original has changed")


class _Watch:
    """The memory of this process's children while something is done."""

    def __init__(self):
        self.most, self.over = 0, threading.Event()

    def __enter__(self) -> _Watch:
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self.over.wait(0.05):
            for child in me.children():
                try:
                    if READER in child.cmdline():  # not this process, of which a child is a copy for a moment
                        self.most = max(self.most, child.memory_info().rss)
                except psutil.Error:
                    continue


@contextmanager
def _forgetful():
    """The reading process drops what it cannot use instead of setting it aside."""
    code = (
        "import bigmodel.importing.to_rows as r\nwhole = r.rows\n"
        "r.rows = lambda records, plan: (one for one in whole(records, plan) if not isinstance(one, r.BadRecord))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        Path(place, "sitecustomize.py").write_text(code)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (place, before)))
        try:
            yield
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


FILES = Row(
    13,
    "hostile files at the importer: broken ones of every format, and mutations of whole ones",
    "each is taken in or refused in words of both languages, within 10 s and 1 GiB; accepted + set aside = rows; the original is kept",
    1150,  # every broken one, and a thousand mutations
    hostile_files,
    {"rows that cannot be used are set aside": _forgetful},
    fewer=8,
)


# -- row 14 ------------------------------------------------------------------------------------------------
ODD = (
    "../../{x}.csv", "/etc/{x}.csv", "..\\..\\{x}.csv", "C:\\{x}.csv", "con", "CON.csv", "nul.txt", "aux.{x}.csv", "com1.csv",
    "lpt9", "{x}\x00.csv", "{x}\n.csv", "\u202e{x}vsc.exe", "\u200b{x}.csv", "." * 50 + "{x}", "{x}" + "a" * 255, "数据{x}.csv",
    "é" * 120 + "{x}.csv", "{x}/../../..", "~/{x}.csv", "${{HOME}}{x}", "`id`{x}.csv", "$(id){x}.csv", "{x};rm -rf .csv",
    "-rf {x}", " {x} .csv ", "{x}.", "{x}?.csv", "{x}*.csv", "%2e%2e%2f{x}.csv", "....//{x}.csv", "\\\\host\\share\\{x}.csv",
    "{x}<script>.csv", "file:///etc/{x}", "\ud800{x}.csv", "{x}\u2028.csv", "\ufeff{x}.csv", ".hidden{x}", "🎉{x}.csv",
)  # fmt: skip


def hostile_names(trials: int, place: Path) -> Outcome:
    """The same small table under names that lead elsewhere, as a file, a title, a data set and a path."""
    outcome = Outcome()
    home, outside = place / "home", place / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_bytes(bad_files.csv())
    desk = ImportJobs(home)
    (home / "inbox").mkdir(parents=True)
    (home / "inbox" / "link").symlink_to(outside)
    before = _seen(place)
    for number in range(trials):
        name = ODD[number % len(ODD)].replace("{x}", secrets.token_hex(2))
        _names(desk, name, number, outcome)
        outcome.trials += 1
    left = {path for path in _seen(place) - before if not path.is_relative_to(home)}
    outcome.expect(not left, f"written outside: {sorted(map(str, left))[:5]}")
    outcome.worst = f"{len(left)} files outside the home folder"
    outcome.note = f"{len(ODD)} ways to name a file, with a part that changes"
    return outcome


def _names(desk: ImportJobs, name: str, number: int, outcome: Outcome) -> None:
    _harmless(lambda: desk.receive(name, [bad_files.csv()]), name, outcome)
    slug, title = slugify(name), default_title(name)
    outcome.expect(
        bool(re.fullmatch(r"[\w-]+", slug)) and slug not in ("con", "nul", "aux", "com1", "lpt9"), f"{name!r}: {slug!r}"
    )
    outcome.expect(title.isprintable() and len(title) <= limits.TITLE_CHARACTERS, f"{name!r}: {title!r}")
    for path in (name, f"inbox/{name}", "link/secret.csv", str(desk.home / "inbox" / "link" / "secret.csv")):
        _harmless(
            lambda path=path: outcome.fail(f"{path!r} was let in") if desk.add_path(path) else None, path, outcome
        )
    outcome.expect(name not in desk.registry, f"{name!r} is a data set")
    _harmless(lambda: desk.uploaded_file(name), name, outcome)
    if number % 20 == 0:
        parcel = desk.receive(name, [bad_files.csv()])
        plan = desk.preview(parcel.id).plan
        job = desk.begin(parcel.id, plan, title="", wait=True)
        outcome.expect(job.state == DONE, f"{name!r}: {job.error}")


def _harmless(do: Callable, name: str, outcome: Outcome) -> None:
    try:
        do()
    except Refusal:
        pass
    except Exception as error:
        outcome.fail(f"{name!r}: {type(error).__name__}: {error}")


def _seen(place: Path) -> set[Path]:
    return {Path(folder) / name for folder, _folders, names in os.walk(place) for name in names}


NAMES = Row(
    14,
    "hostile names and paths",
    "nothing outside the home folder is touched, nothing outside the allowed folders is read",
    300,
    hostile_names,
    {"only the allowed folders are read": lambda: patched((ImportJobs, "roots", lambda self: [Path("/")]))},
    fewer=40,
)
