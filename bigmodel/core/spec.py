"""RunSpec: the one thing that page, command line and notebook hand over to have a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import Architecture, Dataset, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Number
from bigmodel.core.words import Words, _

VERSION = 1

# fmt: off
TRAINING_FIELDS: tuple[Field, ...] = (
    Number(name="epochs", label=_("Epochs"), search=(), integer=True, default=5, minimum=1, maximum=10_000,
           help=_("How many times the model sees the whole training data, if the time limit allows it.")),
    Number(name="max_minutes", label=_("Time limit (minutes)"), search=(), default=3, minimum=0, maximum=10_080, step=1,
           help=_("Before the first step the run is cut to as many steps as fit into this time, and the learning rate follows them. 0: no limit. Where epochs or steps are changed there is none, unless you set one as well.")),
    Number(name="batch_size", label=_("Batch size"), logarithmic=True, integer=True, default=32, minimum=1, maximum=4096,
           help=_("Examples that are looked at together before each update. Larger is smoother and needs more memory.")),
    Number(name="learning_rate", label=_("Learning rate"), logarithmic=True, default=1e-3, minimum=1e-7, maximum=10,
           help=_("How far each update goes. Too high and the loss jumps or grows; too low and it hardly falls.")),
    Choice(name="optimizer", label=_("Optimizer"), default="adamw", advanced=True,
           options={"adamw": _("AdamW"), "adam": _("Adam"), "sgd": _("SGD (gradient descent)")},
           help=_("The rule that turns gradients into updates. Adam adapts the step to each weight; AdamW adds clean weight decay; SGD is plain gradient descent.")),
    Choice(name="loss", label=_("Loss function"), search=(), default="cross-entropy", advanced=True,
           options={"cross-entropy": _("Cross-entropy"), "mse": _("Mean squared error (MSE)")},
           help=_("What is made small. Cross-entropy suits classes and tokens; mean squared error compares the probabilities themselves.")),
    Choice(name="schedule", label=_("Learning rate schedule"), default="cosine", advanced=True,
           options={"constant": _("Constant"), "cosine": _("Cosine"), "inverse-sqrt": _("Inverse square root")},
           help=_("How the learning rate changes on the way: the same throughout, falling along a cosine, or rising and then falling with the root of the step as in 'Attention Is All You Need'.")),
    Number(name="warmup", label=_("Warm-up"), search=(0, 0.3), default=0.05, minimum=0, maximum=0.9, step=0.01, advanced=True,
           help=_("The part of the run in which the learning rate rises from zero. Keeps the first updates from doing harm.")),
    Number(name="max_steps", label=_("Stop after steps"), search=(), integer=True, default=0, minimum=0, maximum=10_000_000, advanced=True,
           help=_("A run ends after this many updates, even inside an epoch. 0: by epochs only.")),
    Number(name="weight_decay", label=_("Weight decay"), search=(0, 0.2), default=0.01, minimum=0, maximum=1, step=0.01, advanced=True,
           help=_("Pulls the weights towards zero, which keeps a model from learning its data by heart. Adam has none; AdamW does.")),
    Number(name="label_smoothing", label=_("Label smoothing"), search=(0, 0.2), default=0.0, minimum=0, maximum=0.5, step=0.01, advanced=True,
           help=_("Gives a little probability to the wrong answers too, so that the model does not become too sure of itself.")),
    Number(name="accumulation", label=_("Gradient accumulation"), search=(), integer=True, default=1, minimum=1, maximum=256, advanced=True,
           help=_("Batches that are added up before one update: the effect of a larger batch in the memory of a small one.")),
    Number(name="clip", label=_("Gradient clipping"), logarithmic=True, default=1.0, minimum=0, maximum=1000, step=0.1, advanced=True,
           help=_("Gradients longer than this are shortened, which tames sudden jumps. 0: no clipping.")),
    Number(name="eval_every", label=_("Validate every N steps"), search=(), integer=True, default=0, minimum=0, maximum=1_000_000, advanced=True,
           help=_("How often the model is measured on validation data. 0: after each epoch.")),
    Number(name="patience", label=_("Early stopping"), search=(), integer=True, default=0, minimum=0, maximum=1000, advanced=True,
           help=_("Ends the run when the validation result has not become better this many times in a row. 0: never.")),
    Number(name="seed", label=_("Seed"), search=(), integer=True, default=0, minimum=0, maximum=2**31 - 1, advanced=True,
           help=_("The start of all random numbers. On the same machine, with the precision fixed, the same seed gives the same run.")),
    Choice(name="precision", label=_("Precision"), search=(), default="auto", advanced=True,
           options={"auto": _("Automatic"), "fp32": _("fp32"), "bf16": _("bf16")},
           help=_("How numbers are kept while computing. bf16 needs less memory and is often faster; 'auto' measures both on the first batch.")),
    Number(name="threads", label=_("CPU threads"), search=(), integer=True, default=0, minimum=0, maximum=1024, advanced=True,
           help=_("How many cores compute on the CPU, at most those there are. 0: one or all, whichever is faster on the first batch. A run that is trained again takes over what the earlier one decided.")),
    Choice(name="compile", label=_("Compiling"), search=(), default="auto", advanced=True,
           options={"auto": _("Automatic"), "on": _("Try it"), "off": _("Off")},
           help=_("A compiler joins the operations of the network, which takes up to a minute and makes steps on a GPU faster. 'auto' tries it there where the run is long enough to pay for it.")),
    Choice(name="device", label=_("Device"), search=(), default="auto", advanced=True,
           options={"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("GPU (CUDA)"), "mps": _("GPU (Apple)")},
           help=_("Where the model is trained. 'auto' takes the best there is.")),
)
# fmt: on
LENGTH_SETTINGS = ("epochs", "max_steps")
# settings that change neither what a step computes nor how fast; the device is told apart by its name
NOT_COMPUTING = frozenset(
    {
        "seed",
        "epochs",
        "max_steps",
        "max_minutes",
        "eval_every",
        "patience",
        "learning_rate",
        "warmup",
        "schedule",
        "device",
    }
)  # fmt: skip


@dataclass(frozen=True)
class RunSpec:
    """What to train on what, and how. `settings` holds a checked value for every field that applies.

    parent: {"run", "step"} of the checkpoint that a branch begins with, None for a run from random weights.
    study: {"study", "trial"} that it is a trial of, None for a run that a person has started.
    """

    task: str
    architecture: str
    dataset: str
    settings: Mapping[str, Any]
    name: str = ""
    version: int = VERSION
    parent: Mapping[str, Any] | None = None
    study: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def to_json(self) -> dict:
        origins = {"parent": self.parent, "study": self.study}
        return {
            "version": self.version,
            "task": self.task,
            "architecture": self.architecture,
            "dataset": self.dataset,
            "name": self.name,
            "settings": dict(self.settings),
        } | {name: dict(origin) for name, origin in origins.items() if origin}

    def resolve(self) -> Session:
        """What the spec names, looked up; Refusal where one of the three is not there (any more)."""
        return Session(
            self, catalog.task(self.task), catalog.architecture(self.architecture), catalog.dataset(self.dataset)
        )

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @staticmethod
    def check(data: Mapping | RunSpec) -> RunSpec:
        """The spec in `data`, with defaults filled in; Refusal says what is wrong and what would do."""
        if isinstance(data, RunSpec):
            data = data.to_json()
        if not isinstance(data, Mapping):
            do = _("Give task, architecture, dataset and settings.")
            raise Refusal(_("This is not a spec of a run."), do=do, field="spec")
        known = {"version", "task", "architecture", "dataset", "name", "settings", "parent", "study"}
        _refuse_unknown(data, known, _("part of a spec"))
        if data.get("version", VERSION) != VERSION:
            what = _("This spec has version {version}.", version=str(data["version"])[:20])
            raise Refusal(what, do=_("This bigmodel reads version {known}.", known=VERSION), field="version")
        task, architecture, dataset = (
            catalog.task(data.get("task")),
            catalog.architecture(data.get("architecture")),
            catalog.dataset(data.get("dataset")),
        )
        _refuse_misfit(task, architecture, dataset)
        name = data.get("name", "")
        if not isinstance(name, str) or len(name) > limits.RUN_NAME_CHARACTERS or not name.isprintable():
            do = _("Give text of at most {maximum} characters.", maximum=limits.RUN_NAME_CHARACTERS)
            raise Refusal(_("This name will not do."), do=do, field="name")
        given = data.get("settings", {})
        if not isinstance(given, Mapping):
            raise Refusal(
                _("The settings are not names with values."), do=_("Give them as name=value."), field="settings"
            )
        fields = {field.name: field for field in fields_for(task, architecture)}
        _refuse_unknown(given, set(fields), _("setting"))
        settings = defaults(task, architecture, dataset)
        settings |= {key: fields[key].check(value) for key, value in without_time_limit(given).items()}
        architecture.check(settings)
        parent, study = _parent(data.get("parent")), _study(data.get("study"))
        return RunSpec(task.name, architecture.name, dataset.name, settings, name, parent=parent, study=study)


@dataclass(frozen=True)
class Session:
    """A spec with what it names, looked up once and handed to every stage of a run."""

    spec: RunSpec
    task: Task
    architecture: Architecture
    dataset: Dataset

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.spec.settings


def _parent(given: object) -> Mapping | None:
    """Checked for its form alone: whether there is such a checkpoint is the business of whoever begins with it."""
    if given is None:
        return None
    if isinstance(given, Mapping) and set(given) == {"run", "step"}:
        run, step = given["run"], given["step"]
        if isinstance(run, str) and type(step) is int and step >= 0:
            return MappingProxyType(dict(given))
    what = _("This is not a checkpoint to begin with.")
    raise Refusal(what, do=_("Name a run and a step of it."), field="parent")


def _study(given: object) -> Mapping | None:
    """Checked for its form alone, as a run outlives its study."""
    if given is None:
        return None
    if isinstance(given, Mapping) and set(given) == {"study", "trial"}:
        study, trial = given["study"], given["trial"]
        if isinstance(study, str) and type(trial) is int and trial >= 0:
            return MappingProxyType(dict(given))
    what = _("This is not a trial of a study.")
    raise Refusal(what, do=_("Name a study and the number of a trial."), field="study")


def fields_for(task: Task, architecture: Architecture) -> tuple[Field, ...]:
    """Every setting that a run of these two has, with choices narrowed to what fits."""
    training = [field for field in TRAINING_FIELDS if task.losses or field.name not in ("loss", "label_smoothing")]
    narrowed = tuple(
        _offered_losses(field, task) if isinstance(field, Choice) and field.name == "loss" else field
        for field in training
    )
    own = tuple(field for field in task.fields if field.name not in architecture.overrides)
    return narrowed + own + architecture.hyperparameters_for(task)


def _offered_losses(field: Choice, task: Task) -> Choice:
    return replace(field, options={name: field.options[name] for name in task.losses}, default=task.losses[0])


def defaults(task: Task, architecture: Architecture, dataset: Dataset) -> dict[str, object]:
    """Field defaults, then what suits the architecture, in general and for this head, then what suits it on this data."""
    settings = {field.name: field.default for field in fields_for(task, architecture)}
    for recipe in (
        architecture.default_settings,
        architecture.default_settings.get(task.head, {}),
        dataset.default_settings,
        dataset.default_settings.get(architecture.name, {}),
    ):
        settings |= {key: value for key, value in recipe.items() if key in settings}
    return settings


def without_time_limit(given: Mapping) -> Mapping:
    """Settings that somebody asks for: who names epochs or steps wants them, however long they take."""
    return {"max_minutes": 0, **given} if given.keys() & set(LENGTH_SETTINGS) else given


def check_inputs(task: Task, inputs: Mapping) -> dict:
    """Every input field with a checked value; Refusal names the wrong one and what would do."""
    fields = {field.name: field for field in task.inputs}
    _refuse_unknown(inputs, set(fields), _("input"))
    return {name: field.check(inputs.get(name, field.default)) for name, field in fields.items()}


def _refuse_unknown(given: Mapping, known: set[str], kind: Words) -> None:
    for key in given:
        if key not in known:
            what = _("There is no {kind} named {name}.", kind=kind, name=str(key)[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(sorted(known))), field=str(key))


def _refuse_misfit(task: Task, architecture: Architecture, dataset: Dataset) -> None:
    if not is_compatible(task, architecture=architecture):
        options = ", ".join(catalog.architectures_for(task))
        what = _("{architecture} has no {head} head.", architecture=architecture.name, head=task.head)
        raise Refusal(what, do=_("Choose one of: {options}.", options=options), field="architecture")
    if not is_compatible(task, dataset=dataset):
        options = ", ".join(catalog.datasets_for(task))
        missing = ", ".join(sorted(task.required_columns - set(dataset.columns)))
        what = _("{dataset} has no column {missing}.", dataset=dataset.name, missing=missing)
        raise Refusal(what, do=_("Choose one of: {options}.", options=options), field="dataset")
