"""Row 9: memory that is not enough, while loading, in a step, in a measurement, in a save and in an answer."""

from __future__ import annotations

import itertools
import math
import random
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import apart, damaged, finish, good, home, kept, launch, patched, spec, steady, work
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FAILED, FINISHED
from bigmodel.core.words import Words
from bigmodel.runs.folder import Folder
from bigmodel.training import evaluator, loop, out_of_memory
from bigmodel.training.step import TrainStep

SPEC = spec("cnn", max_steps=10, eval_every=4, batch_size=32, augment="none", dropout=0.0)
WRITER = spec("gpt", max_steps=2)
ROOM = 2**24  # bytes that an address-space limit leaves
CLOSE = 0.01  # how far the curve of a run whose batches were cut may be from the other


def run(trials: int, place: Path) -> Outcome:
    outcome, chance = Outcome(), random.Random(0)
    with steady(), patched((evaluator, "CHECKPOINT_SECONDS", -1.0)):
        whole, writer = (
            launch(home(place / name, place / "cache"), one) for name, one in (("whole", SPEC), ("writer", WRITER))
        )
        finish(whole), finish(writer)
        cases = itertools.islice(itertools.cycle(itertools.product(("batch", *PHASES, *ANSWERS), WAYS)), trials)
        worst = 0.0
        for number, (phase, way) in enumerate(cases):
            outcome.trials += 1
            name = f"{phase}, {way}"
            if phase in ANSWERS:
                _answer(writer, phase, WAYS[way], name, outcome)
                continue
            folder = launch(home(place / f"run-{number}", place / "cache"), SPEC)
            step = chance.randint(2, 9)
            apart(
                lambda folder=folder, phase=phase, way=way, step=step: _starved(folder, phase, WAYS[way], step),
                folder.log_file,
            )
            if phase == "batch":
                worst = max(worst, _judge_cut(folder, whole, name, outcome))
            else:
                _judge(folder, phase, name, outcome)
    outcome.worst = f"a curve off by {100 * worst:.2f} % where batches were cut"
    outcome.note = "raised by torch, or by an address-space limit that stays in force: " + ", ".join(
        (*PHASES, "batch", *ANSWERS)
    )
    return outcome


# -- ways for memory to be short -----------------------------------------------------------------------
def _ask_for_too_much() -> None:
    import torch

    torch.empty(2**60)


def _starve() -> None:
    """From now on this process gets hardly any more; what it asks for first is more than that."""
    import torch

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    torch.zeros(2 * ROOM)


def _feed() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


WAYS: dict[str, Callable[[], None]] = {"raised": _ask_for_too_much, "limit": _starve}

# phase -> where it is short, the words that name it
PHASES = {
    "load": "Building the network",
    "step": "Training step",
    "measurement": "Validating the model",
    "save": "Saving",
}
# the same of an answer
ANSWERS = {"answer": "memory was used up. This was being done: Computing an answer", "opening": "memory is not enough"}


def _starved(folder: Folder, phase: str, short: Callable[[], None], step: int) -> None:
    with {"load": _in_load, "step": _in_step, "measurement": _in_measurement, "save": _in_save, "batch": _in_batch}[
        phase
    ](short, step):
        work(folder)


def _in_load(short: Callable[[], None], step: int) -> AbstractContextManager:
    def optimizer(*_arguments):
        short()

    return patched((loop, "optimizer", optimizer))


def _in_step(short: Callable[[], None], step: int) -> AbstractContextManager:
    """In every forward pass of this update, however small the batch."""
    count, real = [0], TrainStep.gradients

    def gradients(self, group, epoch):
        count[0] += 1
        return real(self, group, epoch)

    def look(module: Any, _inputs: Any) -> None:
        if _is_model(module) and module.training and count[0] == step:
            short()

    return _both(patched((TrainStep, "gradients", gradients)), look)


def _in_measurement(short: Callable[[], None], step: int) -> AbstractContextManager:
    inside, real = [False], evaluator.Evaluator._measure

    def measure(self, split):
        inside[0] = True
        return real(self, split)

    def look(module: Any, _inputs: Any) -> None:
        if _is_model(module) and not module.training and inside[0]:
            short()

    return _both(patched((evaluator.Evaluator, "_measure", measure)), look)


def _in_save(short: Callable[[], None], step: int) -> AbstractContextManager:
    real = evaluator.Evaluator._write

    def write(self, staging):
        if self.step >= step:
            short()
        real(self, staging)

    return patched((evaluator.Evaluator, "_write", write))


def _in_batch(short: Callable[[], None], step: int) -> AbstractContextManager:
    """Only where more than a quarter of a batch is computed at once."""

    def look(module: Any, inputs: Any, named: dict) -> None:
        if _is_model(module) and module.training and len(named["pixel_values"]) > 8:
            try:
                short()
            finally:
                _feed()  # smaller pieces find their room

    return _both(ExitStack(), look, with_kwargs=True)


def _is_model(module: Any) -> bool:
    from transformers import PreTrainedModel

    return isinstance(module, PreTrainedModel)


def _both(patch: AbstractContextManager, look: Callable, with_kwargs: bool = False) -> AbstractContextManager:
    import torch

    stack = ExitStack()
    stack.enter_context(patch)
    if not with_kwargs:
        stack.callback(torch.nn.modules.module.register_module_forward_pre_hook(look).remove)
        return stack
    real = torch.nn.Module.__call__

    def call(self, *inputs, **named):
        look(self, inputs, named)
        return real(self, *inputs, **named)

    stack.enter_context(patched((torch.nn.Module, "__call__", call)))
    return stack


# -- what must hold ------------------------------------------------------------------------------------
def _judge(folder: Folder, phase: str, name: str, outcome: Outcome) -> None:
    facts = folder.facts()
    said = Refusal.from_json(facts["error"]).say("en") if facts["error"] else ""
    outcome.expect(facts["state"] == FAILED, f"{name}: the state is {facts['state']}")
    outcome.expect("memory was used up" in said and PHASES[phase] in said, f"{name}: it is said as {said!r}")
    outcome.expect("batch size" in said, f"{name}: no setting to lower is named: {said!r}")
    outcome.expect(not damaged(folder.path), f"{name}: damaged checkpoints {damaged(folder.path)}")
    outcome.expect(max(good(folder.path), default=-1) >= kept(folder), f"{name}: what was kept is gone")
    outcome.expect(finish(folder) == FINISHED, f"{name}: resumed with memory, it is {folder.facts()['state']}")


def _judge_cut(folder: Folder, whole: Folder, name: str, outcome: Outcome) -> float:
    """The batch is cut, that is written down, and the curve stays; how far it is off."""
    events = [event for _at, event in folder.events()]
    notes = [event for event in events if event.kind == "note" and "parts" in event.data]
    outcome.expect(
        folder.facts()["state"] == FINISHED,
        f"{name}: the state is {folder.facts()['state']} ({folder.facts()['error']})",
    )
    said = [str(Words.from_json(event["words"])) for event in notes]
    outcome.expect(
        [event["parts"] for event in notes] == [4] and "4 parts" in said[-1], f"{name}: it is announced as {said}"
    )
    one, other = ([event["loss"] for _at, event in each.events() if event.kind == "step"] for each in (whole, folder))
    off = max((abs(a - b) / a for a, b in zip(one, other, strict=False)), default=math.inf)
    outcome.expect(len(one) == len(other) and off <= CLOSE, f"{name}: the curve is off by {100 * off:.1f} %")
    return off


def _answer(writer: Folder, phase: str, short: Callable[[], None], name: str, outcome: Outcome) -> None:
    """Two questions to one model worker: the first finds no memory, for the answer or for the model, the second does."""
    first, second = apart(lambda: _asked_twice(writer, phase, short))
    said = Refusal.from_json(first[-1]["error"]).say("en") if "error" in first[-1] else str(first[-1])
    outcome.expect(ANSWERS[phase] in said, f"{name}: it is said as {said!r}")
    outcome.expect("done" in second[-1], f"{name}: the next question is answered with {second[-1]}")


def _asked_twice(writer: Folder, phase: str, short: Callable[[], None]) -> list[list[dict]]:
    from bigmodel.inference import engine
    from bigmodel.inference.worker import _advance, _handle_request

    engines = engine.EngineCache()

    def ask(number: int) -> list[dict]:
        request = {
            "do": "ask",
            "folder": str(writer.model),
            "inputs": {"prompt": "a", "max_new_tokens": 3},
            "cache": "",
        }
        replies: list[dict] = []
        open_answers = {"1": _handle_request(request, engines)}
        while open_answers:
            _advance("1", open_answers["1"], open_answers, lambda _name, **what: replies.append(what))
        return [{key: value for key, value in reply.items() if key in ("error", "done")} for reply in replies]

    if phase == "answer":
        engines.get(writer.model)
    asked = [0]

    def look(*_anything: Any) -> None:
        asked[0] += 1
        if asked[0] == 1:
            short()

    def load(*arguments: Any) -> Any:
        look()
        return real(*arguments)

    real = engine.load_model
    with patched((engine, "load_model", load)) if phase == "opening" else _both(ExitStack(), look):
        first = ask(1)
    _feed()
    return [first, ask(2)]


ROW = Row(
    number=9,
    injected="memory that is not enough: raised by torch, or by a limit on the address space",
    promise="what was being done and what to lower is said; a batch that is too large is cut, announced and recorded, "
    f"the curve within {CLOSE:.0%}; the run can be resumed, the next question is answered",
    trials=56,
    run=run,
    without={
        "the plain word for memory": lambda: patched((out_of_memory, "is_out_of_memory", lambda _error: False)),
        "the mean over the whole batch": lambda: patched((TrainStep, "_passes", _mean_of_the_pieces)),
    },
    fewer=4,
)


def _mean_of_the_pieces(self, group, epoch):
    """As it would be if pieces were only added up, as if each were the batch."""
    loss = _passes(self, group, epoch)
    for weight in self.model.parameters():
        if weight.grad is not None:
            weight.grad *= self.micro_batches**2
    return loss._replace(total=loss.total * self.micro_batches)


_passes = TrainStep._passes
