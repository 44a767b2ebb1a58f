"""Row 15: hostile model folders at the gate. An audit hook watches for what runs nevertheless."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import patched
from bigmodel.base_models import chat_template_check, store, validate_folder
from bigmodel.core.errors import Refusal
from tests.corpus.hostile_models import HOSTILE, sound

SECONDS = 2.0
WATCHED = ("subprocess.Popen", "os.system", "os.exec", "pickle.find_class", "socket.connect")


def run(trials: int, place: Path) -> Outcome:
    """Every kind once, or a chosen few of them; and a sound folder, which must be let in."""
    outcome, slowest = Outcome(), 0.0
    _watch()
    if (
        store.import_folder(place / "home", sound(place / "sound"), [place], title="Sound", source="here").parameters
        <= 0
    ):
        outcome.fail("a sound folder is not let in")
    kinds = list(HOSTILE)
    chosen = kinds if trials >= len(kinds) else random.Random(15).sample(kinds, trials)
    for number, kind in enumerate(chosen):
        home, folder, canary = place / f"home-{number}", place / f"model-{number}", place / f"canary-{number}"
        HOSTILE[kind](sound(folder), canary)
        outcome.trials += 1
        begun = time.monotonic()
        wrong = _tried(home, folder)
        spent = time.monotonic() - begun
        slowest = max(slowest, spent)
        outcome.expect(not wrong, f"{kind}: {wrong}")
        outcome.expect(spent <= SECONDS, f"{kind}: took {spent:.1f} s")
        outcome.expect(not canary.exists(), f"{kind}: its program has run")
        outcome.expect(not any(store.bases_folder(home).glob("*")), f"{kind}: something of it has been kept")
        shutil.rmtree(folder, ignore_errors=True)
    outcome.worst = f"refused after at most {slowest:.2f} s"
    outcome.note = (
        f"{len(kinds)} kinds of folders; an audit hook watches for programs started, pickles read and connections"
    )
    return outcome


def _tried(home: Path, folder: Path) -> str:
    """What went wrong, '' where the folder was refused with a reason."""
    _seen.clear()
    try:
        store.import_folder(home, folder, [folder], title="Hostile", source="somewhere")
    except Refusal as refusal:
        if _seen:
            return f"it was refused, after {_seen[0]}"
        return "" if refusal.say("en") and refusal.say("zh") else "it was refused without a word"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it was let in"


_seen: list[str] = []
_watching: list[bool] = []


def _watch() -> None:
    """Whatever a model could do is told to Python's audit hooks; one stays for the life of the process."""
    if _watching:
        return
    _watching.append(True)

    def hook(event: str, arguments: tuple) -> None:
        if event in WATCHED:
            _seen.append(event)

    sys.addaudithook(hook)


def _let_pass(name: str) -> Callable[[], AbstractContextManager]:
    return lambda: patched((validate_folder, name, lambda *_anything, **_more: False))


ROW = Row(
    number=15,
    injected="model folders with pickles, programs, remote code, bombs, links, endless templates, weights that lie",
    promise="each is refused within 2 s with the reason, nothing of it runs, nothing of it is kept",
    trials=len(HOSTILE),
    run=run,
    without={
        "the look at what configs name": _let_pass("_refuse_code"),
        "the look at chat templates": lambda: patched((chat_template_check, "find_problem", lambda text: "")),
        "the look at first bytes": lambda: patched((validate_folder, "_is_program", lambda file: False)),
    },
    fewer=118,
)
