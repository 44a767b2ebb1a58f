"""Row 8: a loss or a gradient that is no number any more, at a random step, or only where the model is measured."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import apart, good, home, launch, newest, patched, spec, steady, work
from bigmodel.core.events import DIVERGED, FINISHED
from bigmodel.runs.folder import Folder
from bigmodel.training import evaluator, throughput
from bigmodel.training.nonfinite_guard import NonfiniteGuard
from bigmodel.training.step import TrainStep

SPECS = [
    spec(name, max_steps=12, eval_every=5, accumulation=1 + number % 2)
    for number, name in enumerate(("cnn", "vit", "gpt"))
]
WHERE = ("loss", "gradient", "measurement")
VALUES = (math.nan, math.inf)


def run(trials: int, place: Path) -> Outcome:
    outcome, chance = Outcome(), random.Random(0)
    with steady(), patched((evaluator, "CHECKPOINT_SECONDS", -1.0)):
        for number in range(trials):
            where, one = WHERE[number % 3], SPECS[number // 3 % len(SPECS)]
            step, value = chance.randint(1, 12), chance.choice(VALUES)
            folder = launch(home(place / f"run-{number}", place / "cache"), one)
            name = f"{one.architecture}: {value} in the {where} of step {step}"
            apart(
                lambda folder=folder, where=where, step=step, value=value: _poisoned(folder, where, step, value),
                folder.log_file,
            )
            outcome.trials += 1
            judge = _judge_measurement if where == "measurement" else _judge_step
            for wrong in judge(folder, step, where):
                outcome.fail(f"{name}: {wrong}")
    outcome.worst = f"{len(outcome.failures)} broken promises"
    outcome.note = "in turns: the loss, one number of one gradient, all numbers of a measurement; NaN or infinity"
    return outcome


def _poisoned(folder: Folder, where: str, step: int, value: float) -> None:
    with {"loss": _loss, "gradient": _gradient, "measurement": _measurement}[where](step, value):
        work(folder)


def _loss(step: int, value: float) -> AbstractContextManager:
    """The loss of the update after `step - 1` others."""
    passes, real = [0], TrainStep._passes

    def wrong(self, group, epoch):
        passes[0] += 1
        if passes[0] != step:
            return real(self, group, epoch)
        with patched((self.forward, "loss", _times(self.forward.loss, value))):
            return real(self, group, epoch)

    return patched((TrainStep, "_passes", wrong))


def _times(loss: Callable, value: float) -> Callable:
    def times(*arguments: Any) -> Any:
        result = loss(*arguments)
        return result._replace(total=result.total * value)

    return times


def _gradient(step: int, value: float) -> AbstractContextManager:
    """One number of one gradient, while the loss stays what it is."""
    passes, real = [0], TrainStep._passes

    def wrong(self, group, epoch):
        passes[0] += 1
        loss = real(self, group, epoch)
        if passes[0] == step:
            *_others, last = (weight for weight in self.model.parameters() if weight.grad is not None)
            last.grad.view(-1)[0] = value
        return loss

    return patched((TrainStep, "_passes", wrong))


def _measurement(step: int, value: float) -> AbstractContextManager:
    """What the model gives while it is measured, from `step` on."""
    from torch.nn.modules.module import register_module_forward_hook
    from transformers import PreTrainedModel

    steps, real = [0], TrainStep._passes

    def counted(self, group, epoch):
        steps[0] += 1
        return real(self, group, epoch)

    def wrong(module: Any, _inputs: Any, output: Any) -> None:
        if (
            isinstance(module, PreTrainedModel)
            and not module.training
            and steps[0] >= step
            and hasattr(output, "logits")
        ):
            output.logits = output.logits * math.nan

    stack = ExitStack()
    stack.callback(register_module_forward_hook(wrong).remove)
    stack.enter_context(patched((TrainStep, "_passes", counted)))
    return stack


def _judge_step(folder: Folder, step: int, where: str) -> list[str]:
    wrong = []
    if folder.facts()["state"] != DIVERGED:
        wrong.append(f"the state is {folder.facts()['state']}")
    if newest(folder) != step:
        wrong.append(f"it was seen at step {newest(folder)}")
    if good(folder.path)[:1] != ([step - 1] if step > 1 else []):
        wrong.append(f"the newest whole checkpoint is {good(folder.path)[:1]}")
    if where == "loss" and _losses(folder)[-1:] and math.isfinite(_losses(folder)[-1]):
        wrong.append(f"it was shown as {_losses(folder)[-1]}")
    return wrong + _judge_weights(folder)


def _judge_measurement(folder: Folder, step: int, where: str) -> list[str]:
    wrong, validations = [], [event for _at, event in folder.events() if event.kind == "validation"]
    spoilt = [event for event in validations if event["step"] >= step]
    if any(math.isfinite(event["metrics"]["loss"]) for event in spoilt):
        wrong.append("a loss that is no number was shown as one")
    whole = [event for event in validations if event["step"] < step]
    expected = FINISHED if whole else DIVERGED
    if folder.facts()["state"] != expected:
        wrong.append(f"the state is {folder.facts()['state']}, not {expected}")
    if whole and folder.facts()["best_step"] >= step:
        wrong.append("a measurement that is no number was the best")
    return wrong + _judge_weights(folder)


def _judge_weights(folder: Folder) -> list[str]:
    """The model and every checkpoint hold numbers only."""

    def look() -> list[str]:
        import torch
        from safetensors.torch import load_file

        files = [*folder.path.glob("checkpoints/step-*/*.safetensors"), *folder.path.glob("model/*.safetensors")]
        spoilt = [
            file
            for file in files
            if any(not torch.isfinite(one).all() for one in load_file(file).values() if one.is_floating_point())
        ]
        return [f"{file.parent.name} holds what is no number" for file in spoilt]

    wrong = apart(look)
    return wrong if folder.has_model() else [*wrong, "no model is kept"]


def _losses(folder: Folder) -> list[float]:
    return [event["loss"] for _at, event in folder.events() if event.kind == "step"]


def _shown_as_zero() -> AbstractContextManager:
    """As Trainers show it."""
    real = throughput.Throughput.loss

    def loss(self: throughput.Throughput) -> float:
        mean = real(self)
        return mean if math.isfinite(mean) else 0.0

    return patched((throughput.Throughput, "loss", loss))


ROW = Row(
    number=8,
    injected="a loss, a gradient or a measurement that is NaN or infinite, at a random step",
    promise="stopped before the update, never shown as 0 nor taken for the best, the last good checkpoint and a model "
    "of numbers are kept",
    trials=90,
    run=run,
    without={
        "the look before the update": lambda: patched((NonfiniteGuard, "look", lambda *_: None)),
        "the true loss on the curve": _shown_as_zero,
    },
    fewer=9,
)
