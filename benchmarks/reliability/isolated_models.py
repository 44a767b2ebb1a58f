"""Row 17: models from outside that abort, loop, give up or want all memory while others are answered."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import patched
from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS, Model, read_model
from bigmodel.inference import isolated_worker
from bigmodel.inference.client import ModelClient
from bigmodel.inference.connection import Reply
from bigmodel.studio import LIBRARIES

MEMORY_BYTES = 2**29
SILENCE_SECONDS = 25.0  # what loops is ended after so long; loading libraries on a slow machine takes half of it
PATIENCE = 80.0  # seconds until a worker has loaded its libraries, has been silent and has been ended
PROMPT = "a poem about a mountain " + "x" * 40


@dataclass(frozen=True)
class Hostile:
    """parts: of the tokenizer. reasons: what the refusal must name one of."""

    parts: Mapping
    reasons: tuple[str, ...]


def _split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _grow(times: int) -> dict:
    replace = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 400}
    return {"type": "Sequence", "normalizers": [replace] * times}


KINDS = {
    "a table of 1 GiB, for which Rust aborts": Hostile(
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAIA=="}}, ("of memory",)
    ),
    "an expression that is tried for hours": Hostile(
        {"normalizer": _grow(2), "pre_tokenizer": _split("(a|aa){18}b")}, ("had said nothing",)
    ),
    "an expression over which Oniguruma panics": Hostile({"pre_tokenizer": _split("(x+x+)+y")}, ("gave up",)),
    "a text that grows a billion times": Hostile({"normalizer": _grow(5)}, ("of memory", "memory was used up")),
    "a part that is none": Hostile({"normalizer": {"type": "Nothing"}}, ("could not be", "cannot be")),
}


def run(trials: int, place: Path) -> Outcome:
    """Each kind in its turn, beside an answer of a starter that has begun and must be whole in the end."""
    outcome, slowest = Outcome(), 0.0
    client = ModelClient(place / "log")
    bounds = (
        (isolated_worker, "SILENCE_SECONDS", min(SILENCE_SECONDS, isolated_worker.SILENCE_SECONDS)),
        (isolated_worker, "MEMORY_BASE_BYTES", min(MEMORY_BYTES, isolated_worker.MEMORY_BASE_BYTES)),
    )
    try:
        with child_process.preloading(LIBRARIES), patched(*bounds):
            for number in range(trials):
                kind = list(KINDS)[number % len(KINDS)]
                outcome.trials += 1
                begun = time.monotonic()
                wrong = _asked(client, _stranger(place / f"model-{number}", KINDS[kind].parts), KINDS[kind].reasons)
                slowest = max(slowest, time.monotonic() - begun)
                outcome.expect(not wrong, f"{kind}: {wrong}")
    finally:
        client.close()
    outcome.worst = f"{slowest:.1f} s until the reason was told"
    outcome.note = f"{len(KINDS)} kinds of tokenizers: {'; '.join(KINDS)}"
    return outcome


def _stranger(folder: Path, parts: Mapping) -> Model:
    shutil.copytree(STARTERS / "poet", folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | parts), "utf-8")
    return read_model("base:stranger", folder)


def _asked(client: ModelClient, hostile: Model, reasons: tuple[str, ...]) -> str:
    """What went wrong, '' where the true reason is told and somebody else's answer goes on."""
    others = client.ask(read_model("starter:poet", STARTERS / "poet"), {"prompt": "明月", "max_new_tokens": 300})
    next(others)
    wrong = _reason_told(client, hostile, reasons)
    try:
        whole = list(others)[-1].done
    except Refusal as refusal:
        return f"somebody else is told: {refusal}"
    return wrong if whole else "somebody else's answer has no end"


def _reason_told(client: ModelClient, hostile: Model, reasons: tuple[str, ...]) -> str:
    reply = client.ask(hostile, {"prompt": PROMPT, "max_new_tokens": 5}, from_outside=True)
    told: list[Refusal | None] = []
    asking = threading.Thread(target=lambda: told.append(_refusal(reply)), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not told:
        reply.connection.process.kill()
        asking.join()
        return f"nothing is told within {PATIENCE:.0f} s"
    (refusal,) = told
    if refusal is None:
        return "it answers"
    right = any(reason in refusal.say("en") for reason in reasons) and refusal.say("zh")
    return "" if right else f"it is told: {refusal.say('en')}"


def _refusal(reply: Reply) -> Refusal | None:
    try:
        list(reply)
    except Refusal as refusal:
        return refusal
    return None


def _in_the_shared_process(ask: Callable) -> Callable:
    return lambda client, model, inputs, from_outside=False: ask(client, model, inputs)


def _without(thing: object, name: str, value: object) -> Callable[[], AbstractContextManager]:
    return lambda: patched((thing, name, value))


ROW = Row(
    number=17,
    injected="models from outside whose tokenizer aborts, loops, cannot be loaded or wants all memory, while others are answered",
    promise="the true reason is told in both languages; nobody else's answer ends",
    trials=20,
    run=run,
    without={
        "a process of its own": _without(ModelClient, "ask", _in_the_shared_process(ModelClient.ask)),
        "the bound of its memory": _without(isolated_worker, "memory_limit", lambda _folder: 2**36),
        "the watchdog": _without(isolated_worker.IsolatedConnection, "_watch", lambda _line, _process: None),
    },
    fewer=2,
)
