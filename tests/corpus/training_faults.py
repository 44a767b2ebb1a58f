"""Small real trainings with known faults that the doctor has to diagnose: what goes wrong, where, from which step."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigmodel.core import catalog, events
from bigmodel.core.contracts import Dataset
from bigmodel.core.spec import RunSpec

# What goes wrong -> the doctor's kinds that would be right. A learning rate that leaps is seen as a spike as long as
# nobody can know that the loss stays up.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "clean": (),
    "not-a-number": ("not-a-number",),
    "bad-batches": ("spike",),
    "rate-leaps": ("rate-too-high", "spike"),
    "rate-too-high": ("rate-too-high",),
    "rate-too-low": ("rate-too-low",),
    "standstill": ("plateau",),
    "few-rows": ("overfitting",),
    "shuffled-labels": ("shuffled-labels",),
}
LEAP = 30.0  # what the learning rate is multiplied by when it leaps
PACES = {"stops": 0.0, "crawls": 0.01}  # and at a standstill; the third way is that no gradient comes back


@dataclass(frozen=True)
class Case:
    """A combination small enough to be trained in seconds. `rows`: of training, validation, test."""

    task: str
    architecture: str
    dataset: str
    rows: tuple[int, int, int]
    few: int  # rows of training that are soon learnt by heart
    steps: int  # in the mean
    settings: Mapping[str, object]
    too_high: tuple[float, float] = (100.0, 300.0)  # times the usual learning rate


_PICTURES = {"batch_size": 48, "label_smoothing": 0.0}
_VIT = {**_PICTURES, "width": 48, "layers": 2, "learning_rate": 8e-4}
_GPT = {"batch_size": 12, "block_size": 48, "vocabulary": 320, "weight_decay": 0.01, "width": 64, "layers": 2}
_POEMS = {**_GPT, "vocabulary": 1200, "learning_rate": 3e-3}
_LSTM = {**_GPT, "batch_size": 24, "units": 128, "embedding": 64, "learning_rate": 6e-3, "layers": 1}
_PAIRS = {
    "batch_size": 16, "vocabulary": 1000, "sentence_length": 40, "label_smoothing": 0.0, "width": 64, "layers": 1,
    "learning_rate": 2e-3,
}  # fmt: skip
_OVERFIT = {"dropout": 0.0, "weight_decay": 0.0, "augment": "none"}

_IMAGES, _TEXT, _TRANSLATION = "image-classification", "text-generation", "translation"
CASES: Mapping[str, Case] = {
    "digits-cnn": Case(_IMAGES, "cnn", "digits", (1445, 176, 60), 48, 520, {**_PICTURES, "channels": 10}),
    "digits-vit": Case(_IMAGES, "vit", "digits", (1445, 176, 60), 60, 480, {**_VIT, "augment": "none"}, (50.0, 150.0)),
    "fashion-cnn": Case(
        _IMAGES, "cnn", "fashion_mnist", (6000, 200, 60), 64, 460,
        {**_PICTURES, "channels": 4, "stages": 3, "learning_rate": 3e-3},  # at 6e-3 its validation loss leaps by itself
    ),
    "fashion-resnet": Case(
        _IMAGES, "resnet", "fashion_mnist", (6000, 200, 60), 64, 520, {**_PICTURES, "channels": 10, "blocks": 1}
    ),
    "fashion-vit": Case(_IMAGES, "vit", "fashion_mnist", (6000, 200, 60), 80, 360, _VIT, (50.0, 150.0)),
    "poetry-gpt": Case(_TEXT, "gpt", "poetry_zh", (6000, 60, 20), 40, 400, _POEMS),
    "classics-gpt": Case(_TEXT, "gpt", "classics_en", (600, 12, 4), 6, 400, _GPT),
    "classics-lstm": Case(_TEXT, "lstm", "classics_en", (600, 12, 4), 6, 560, _LSTM),
    "en-zh": Case(_TRANSLATION, "transformer", "en_zh", (6000, 100, 20), 60, 360, _PAIRS, (50.0, 150.0)),
    "en-de": Case(_TRANSLATION, "transformer", "en_de", (6000, 60, 20), 60, 360, _PAIRS, (50.0, 150.0)),
}  # fmt: skip
CLASSIFIERS = tuple(name for name, case in CASES.items() if case.task == "image-classification")


@dataclass(frozen=True)
class Trial:
    """One training: a case with chance settings, and what goes wrong with it from which part of the run on."""

    name: str
    case: str
    fault: str
    seed: int
    steps: int
    at: float = 0.0
    settings: Mapping[str, object] = field(default_factory=dict)
    way: str = ""  # of doing the same harm

    @property
    def onset(self) -> int:
        """The step at which the harm is done first; of overfitting the curve itself tells, afterwards."""
        return max(1, round(self.at * self.steps))

    def spec(self) -> RunSpec:
        case = CASES[self.case]
        names = RunSpec.check(
            {"task": case.task, "architecture": case.architecture, "dataset": case.dataset}
        ).settings.keys()
        few = _OVERFIT if self.fault == "few-rows" else {}
        wanted = {
            "epochs": 10_000, "max_steps": self.steps, "patience": 0,
            "seed": self.seed, "device": "cpu", "precision": "fp32",
        }  # fmt: skip
        settings = {**wanted, **case.settings, **few, **self.settings}
        return RunSpec.check(
            {
                "task": case.task,
                "architecture": case.architecture,
                "dataset": case.dataset,
                "name": self.name,
                "settings": {name: value for name, value in settings.items() if name in names},
            }
        )


# -- which trainings ---------------------------------------------------------------------------------------------
def trials(first_seed: int, clean: int, each: int) -> list[Trial]:
    """`clean` trainings without and `each` with every fault, over the cases in turn, every one with its own seed."""
    counts = {fault: clean if fault == "clean" else each for fault in FAULTS}
    made = []
    for fault, count in counts.items():
        names = CLASSIFIERS if fault == "shuffled-labels" else tuple(CASES)
        for number in range(count):
            seed = first_seed + len(made)
            made.append(_trial(fault, names[(number + first_seed) % len(names)], seed))
    return made


def _trial(fault: str, case: str, seed: int) -> Trial:
    import numpy as np

    random = np.random.default_rng([seed, 17])
    usual = RunSpec.check({"task": CASES[case].task, "architecture": CASES[case].architecture,
                           "dataset": CASES[case].dataset, "settings": _known(case)}).settings  # fmt: skip
    rate = float(usual["learning_rate"]) * float(np.exp(random.uniform(np.log(0.6), np.log(1.6))))
    steps = round(CASES[case].steps * float(random.uniform(0.8, 1.25)))
    settings: dict[str, object] = {
        "schedule": str(random.choice(["constant", "cosine", "cosine", "inverse-sqrt"])),
        "warmup": float(random.choice([0.0, 0.02, 0.05])),
        "optimizer": str(random.choice(["adam", "adamw"])),
        "eval_every": max(steps // int(random.choice([12, 25, 40])), 1),
    }
    if settings["schedule"] == "inverse-sqrt":
        settings["warmup"] = 0.1  # without one it falls from its peak at once
    at, way = 0.0, ""
    if fault in ("not-a-number", "bad-batches", "rate-leaps"):
        at = float(random.uniform(0.15, 0.8))
        if fault != "not-a-number":
            settings["schedule"] = "constant"  # a rate that is nearly nothing by then does no harm
        way = str(random.choice(["loss", "gradient"])) if fault == "not-a-number" else ""
    if fault == "standstill":
        at = float(random.uniform(0.1, 0.4))
        settings["schedule"] = "constant"
        way = str(random.choice([*PACES, "dies"]))
    if fault == "rate-too-high":
        low, high = CASES[case].too_high
        rate *= float(np.exp(random.uniform(np.log(low), np.log(high))))
    if fault == "rate-too-low":
        rate /= float(np.exp(random.uniform(np.log(300), np.log(1000))))
    if fault in ("rate-too-high", "rate-too-low", "shuffled-labels"):
        settings["warmup"] = 0.0 if settings["schedule"] != "inverse-sqrt" else 0.02
    looks = {"few-rows": 40, "standstill": 60}.get(fault)
    if looks:
        settings["eval_every"] = max(steps // looks, 1)  # seen in time only by who looks often enough
    settings["learning_rate"] = min(rate, 10.0)
    return Trial(f"{fault}-{case}-{seed}", case, fault, seed, steps, at, settings, way)


def _known(case: str) -> dict:
    one = CASES[case]
    known = RunSpec.check({"task": one.task, "architecture": one.architecture, "dataset": one.dataset}).settings
    return {name: value for name, value in one.settings.items() if name in known}


# -- carried out --------------------------------------------------------------------------------------------------
def carry_out(trial: Trial, folder: Path, cache: Path) -> list[events.Event]:
    """Train it; what happened, kept in `folder` under the trial's name. One that is there already is read."""
    kept = folder / f"{trial.name}.jsonl"
    if kept.exists():
        return [event for _offset, event in events.read(kept)]
    import tempfile

    import datasets

    from bigmodel.training.loop import train

    staging = kept.with_suffix(".part")
    staging.unlink(missing_ok=True)
    started = time.process_time()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as place, _harmed(trial):
        happened = []
        for event in train(trial.spec(), Path(place), lambda: False, cache, "cpu"):
            if event.kind in ("plan", "step", "validation", "state", "result"):
                happened.append(event)
    staging.parent.mkdir(parents=True, exist_ok=True)
    cost = events.Event("cost", {"cpu_seconds": time.process_time() - started})
    events.append(staging, [*happened, cost])
    staging.rename(kept)
    return carry_out(trial, folder, cache)


@contextmanager
def _harmed(trial: Trial) -> Iterator[None]:
    """The catalogue with the trial's own task, network and data in the place of the usual ones."""
    case = CASES[trial.case]
    clock = _Clock(trial)
    places = (
        (catalog.tasks(), case.task, _task(trial, clock)),
        (catalog.architectures(), case.architecture, _architecture(trial, clock)),
        (catalog.datasets(), case.dataset, _Part(catalog.dataset(case.dataset), trial)),
    )
    before = [(things, name, things[name]) for things, name, _own in places]
    for things, name, own in places:
        things[name] = own
    try:
        with clock:
            yield
    finally:
        for things, name, thing in before:
            things[name] = thing


class _Clock:
    """Knows how many updates have been made; turns the learning rate where that is the harm."""

    def __init__(self, trial: Trial):
        self.trial, self.done = trial, 0

    @property
    def step(self) -> int:
        """The update that is being worked on, from 1."""
        return self.done + 1

    def __enter__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        self.hooks = [register_optimizer_step_pre_hook(self._before), register_optimizer_step_post_hook(self._after)]

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _before(self, optimizer: Any, *rest: object) -> None:
        factor = {"rate-leaps": LEAP, "standstill": PACES.get(self.trial.way)}.get(self.trial.fault)
        if factor is None or self.step < self.trial.onset:
            return
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def _after(self, *rest: object) -> None:
        self.done += 1


def _task(trial: Trial, clock: _Clock) -> Any:
    """The task without its slow extras, and with bad batches where these are the harm."""
    task = copy.copy(catalog.task(CASES[trial.case].task))
    task.pinned = lambda rows, settings: []
    if hasattr(task, "_translation_metrics"):
        task._translation_metrics = lambda *rest: {}
    if trial.fault != "bad-batches":
        return task
    honest: Callable = task.batch
    last = trial.onset + max(2, round(0.012 * trial.steps))

    def batch(arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        import torch

        made = honest(arrays, indices, settings, epoch)
        if epoch is None or not trial.onset <= clock.step < last:
            return made
        labels = made["labels"]
        real = labels != -100
        chance = torch.Generator().manual_seed(trial.seed + clock.step)
        wrong = torch.randint(0, int(labels.max()) + 1, labels.shape, generator=chance)
        return {**made, "labels": torch.where(real, wrong, labels)}

    task.batch = batch
    return task


def _architecture(trial: Trial, clock: _Clock) -> Any:
    architecture = copy.copy(catalog.architecture(CASES[trial.case].architecture))
    if trial.fault != "not-a-number" and trial.way != "dies":
        return architecture
    honest: Callable = architecture.model

    def cut(module: Any, inputs: Any, output: Any) -> None:
        """The answers stay, the way back from them is lost."""
        if module.training and clock.step >= trial.onset:
            output.logits = output.logits.detach() + 0 * output.logits

    def model(facts: Mapping, settings: Mapping) -> Any:
        made = honest(facts, settings)
        if trial.way == "dies":
            made.register_forward_hook(cut)
            return made
        if trial.way == "gradient":
            weight = next(iter(made.parameters()))
            weight.register_hook(lambda gradient: gradient * float("nan") if clock.step == trial.onset else None)
            return made

        def spoil(module: Any, inputs: Any, output: Any) -> None:
            if module.training and clock.step == trial.onset:
                output.logits = output.logits * float("nan")

        made.register_forward_hook(spoil)
        return made

    architecture.model = model
    return architecture


class _Part(Dataset):
    """Some rows of a data set; with shuffled labels where these are the harm."""

    def __init__(self, whole: Dataset, trial: Trial):
        self.whole, self.fault, self.seed = whole, trial.fault, trial.seed
        case = CASES[trial.case]
        train, *others = case.rows
        self.counts = (case.few if trial.fault == "few-rows" else train, *others)
        for name in ("name", "title", "about", "facts", "columns", "default_settings"):
            setattr(self, name, getattr(whole, name))

    def path(self) -> Path:
        return self.whole.path()

    def fingerprint(self) -> str:
        own = self.fault in ("few-rows", "shuffled-labels")
        parts = [self.whole.fingerprint(), self.counts, [self.fault, self.seed] if own else []]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def rows(self) -> Any:
        import datasets
        import numpy as np

        every = self.whole.rows()
        few = self.fault == "few-rows"
        chosen = {}
        for split, count in zip(("train", "validation", "test"), self.counts, strict=True):
            first = self.seed * 7 % max(len(every[split]) - count, 1) if few and split == "train" else 0
            chosen[split] = every[split].select(range(first, min(first + count, len(every[split]))))
            if self.fault == "shuffled-labels":
                labels = np.random.default_rng([self.seed, 5]).permutation(np.asarray(chosen[split]["label"]))
                features = chosen[split].features
                chosen[split] = (
                    chosen[split].remove_columns("label").add_column("label", labels.tolist()).cast(features)
                )
        return datasets.DatasetDict(chosen)
