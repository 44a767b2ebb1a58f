"""Row 15: hostile model folders at the gate. An audit hook watches for what runs nevertheless."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from jinja2 import TemplateError

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import patched
from bigmodel.base_models import chat_template_check, gguf, store, validate_folder
from bigmodel.core import chat_template
from bigmodel.core.errors import Refusal
from tests.corpus.hostile_models import HOSTILE, sound
from tests.corpus.mutated_models import mutation

SECONDS = 2.0  # of CPU
MUTATIONS = 300
WATCHED = ("subprocess.Popen", "os.system", "os.exec", "pickle.find_class", "socket.connect")


def run(trials: int, place: Path) -> Outcome:
    """Every kind once and MUTATIONS folders changed at random, or a chosen few of both; and a sound folder, which must be
    let in. Seconds are of CPU: what else the machine does decides nothing."""
    outcome, slowest = Outcome(), 0.0
    _watch()
    if (
        store.import_folder(place / "home", sound(place / "sound"), [place], title="Sound", source="here").parameters
        <= 0
    ):
        outcome.fail("a sound folder is not let in")
    kinds = list(HOSTILE)
    mutations = min(MUTATIONS, max(trials // 4, trials - len(kinds)))
    chosen = random.Random(15).sample(kinds, min(trials - mutations, len(kinds)))
    for number, kind in enumerate(chosen):
        home, folder, canary = place / f"home-{number}", place / f"model-{number}", place / f"canary-{number}"
        HOSTILE[kind](sound(folder), canary)
        outcome.trials += 1
        begun = time.process_time()
        wrong = _tried(home, folder)
        spent = time.process_time() - begun
        slowest = max(slowest, spent)
        outcome.expect(not wrong, f"{kind}: {wrong}")
        outcome.expect_within(spent, SECONDS, f"{kind}: took {spent:.1f} s")
        outcome.expect(not canary.exists(), f"{kind}: its program has run")
        outcome.expect(not any(store.bases_folder(home).glob("*")), f"{kind}: something of it has been kept")
        shutil.rmtree(folder, ignore_errors=True)
    for number in range(mutations):
        outcome.trials += 1
        begun = time.process_time()
        wrong = _mutated(number, place / f"mutated-{number}")
        spent = time.process_time() - begun
        slowest = max(slowest, spent)
        outcome.expect(not wrong, f"mutation {number}: {wrong}")
        outcome.expect_within(spent, 2 * SECONDS, f"mutation {number}: took {spent:.1f} s")
    outcome.worst = f"judged after at most {slowest:.2f} s of CPU"
    outcome.note = (
        f"{len(kinds)} kinds of folders and {MUTATIONS} mutations of tokenizer, template, config and GGUF, which are refused "
        "or compute within bounds; an audit hook watches for programs started, pickles read and connections"
    )
    return outcome


def _mutated(number: int, folder: Path) -> str:
    """What went wrong with a folder that was changed at random, '' where it was refused, or does no harm when it is used."""
    kind, change = mutation(number)
    change(sound(folder))
    _seen.clear()
    try:
        if kind == "gguf":
            gguf.read_architecture(folder / "model.gguf")
        else:
            validate_folder.validate(folder, [folder])
            {"tokenizer": _tokenize, "template": _converse}.get(kind, lambda _folder: None)(folder)
    except Refusal:
        return ""
    except BaseException as error:  # a panic of tokenizers is no Exception
        return f"{type(error).__name__}: {str(error)[:100]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"it was let in, after {_seen[0]}" if _seen else ""


def _tokenize(folder: Path) -> None:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the library refuses it in words of its own
        return
    for text in ("a" * 5_000 + "b", " " * 5_000 + "!", "a b\n" * 1_000):
        try:
            if len(tokenizer.encode(text).ids) > 100 * len(text):
                raise AssertionError("a text of few characters has many tokens")
        except Exception as error:
            if isinstance(error, AssertionError):
                raise


def _converse(folder: Path) -> None:
    template = (folder / "chat_template.jinja").read_text("utf-8")
    messages = [{"role": role, "content": "a BOOM " * 2_000} for role in ("user", "assistant")]
    with suppress(TemplateError):  # among them RenderLimit: no rendering is longer than that
        chat_template.render(template, messages)


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
    injected="model folders with pickles, programs, remote code, bombs, links, endless templates, weights that lie; 300 mutations",
    promise="each is refused within 2 s of CPU with the reason, nothing of it runs, nothing of it is kept",
    trials=len(HOSTILE) + MUTATIONS,
    run=run,
    without={
        "the look at what configs name": _let_pass("_refuse_code"),
        "the look at chat templates": lambda: patched((chat_template_check, "find_problem", lambda text: "")),
        "the look at first bytes": lambda: patched((validate_folder, "_is_program", lambda file: False)),
    },
    fewer=160,
)
