"""StudySpec: what page, command line and notebook hand over to have settings searched; and the presets that need no knowledge."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.contracts import Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Number
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.tuning.search_space import (
    Space,
    basic_settings,
    check_dimension,
    contains,
    default_space,
    grid_values,
    searchable_fields,
)

VERSION = 1
MAX_GRID = 10_000  # trials
TPE, RANDOM, GRID = "tpe", "random", "grid"
MEDIAN, HYPERBAND, NO_PRUNING = "median", "hyperband", "none"
FIRST_FULL = 4  # trials that are never pruned by the median
FULL_SHARE = {MEDIAN: 0.5, HYPERBAND: 0.35, NO_PRUNING: 1.0}  # of the others' steps that are trained, in the mean
RESOURCE = 9  # parts of a run, after which trials are compared: Hyperband prunes after 1 and 3 of them

# fmt: off
SEARCH_FIELDS: tuple[Field, ...] = (
    Choice(name="sampler", label=_("Search"), default=TPE,
           options={TPE: _("TPE (learns from the trials)"), RANDOM: _("Random"), GRID: _("Grid")},
           help=_("How the next values are chosen. TPE tries more of what went well; random is a fair baseline; a grid tries every combination.")),
    Choice(name="pruner", label=_("Pruning"), default=MEDIAN,
           options={MEDIAN: _("Median rule"), HYPERBAND: _("Hyperband"), NO_PRUNING: _("No pruning")},
           help=_("Which trials end early. Median: those behind half of the others at the same validation. Hyperband: many begin, the better third goes on, again and again.")),
    Number(name="trials", label=_("Trials"), integer=True, default=20, minimum=0, maximum=10_000,
           help=_("The search ends after so many trials. 0: no limit; a grid ends with its last combination.")),
    Number(name="minutes", label=_("Minutes"), default=0, minimum=0, maximum=1_000_000,
           help=_("The search ends after so many minutes of training in all. 0: no limit.")),
    Number(name="steps", label=_("Steps"), integer=True, default=0, minimum=0, maximum=1_000_000_000,
           help=_("The search ends after so many training steps in all. 0: no limit.")),
    Number(name="points", label=_("Points of a range"), integer=True, default=3, minimum=2, maximum=50,
           help=_("Into how many values a grid cuts a range.")),
    Number(name="seed", label=_("Seed"), integer=True, default=0, minimum=0, maximum=2**31 - 1,
           help=_("The start of the random numbers that values are drawn with. Trials keep the seed of their training.")),
)
# fmt: on


@dataclass(frozen=True)
class Preset:
    """A search that needs no knowledge. names: 'basic' settings, all 'numbers' or 'all' that can be searched."""

    title: Words
    about: Words
    icon: str
    names: str
    search: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        _("Quick"),
        _("Learning rate and batch size: what matters most, in a few trials."),
        ":material/bolt:",
        "basic",
        {"trials": 8},
    ),
    "thorough": Preset(
        _("Thorough"),
        _("All numbers, the size of the network too. Most trials end early."),
        ":material/search:",
        "numbers",
        {"trials": 30},
    ),
    "overnight": Preset(
        _("Overnight"),
        _("Everything that can be searched, for eight hours."),
        ":material/bedtime:",
        "all",
        {"trials": 0, "minutes": 480, "pruner": HYPERBAND},
    ),
}


@dataclass(frozen=True)
class StudySpec:
    """What is searched: `spec` is the run whose settings are varied, `space` how far, `search` a checked value for every
    one of SEARCH_FIELDS."""

    spec: RunSpec
    space: Space
    search: Mapping[str, Any]
    name: str = ""
    created: float = 0.0
    version: int = VERSION

    def to_json(self) -> dict:
        return {
            "version": self.version,
            "name": self.name,
            "created": self.created,
            "spec": self.spec.to_json(),
            "space": {name: dimension.to_json() for name, dimension in self.space.items()},
            "search": dict(self.search),
        }

    @property
    def fields(self) -> Mapping[str, Field]:
        """Of the settings that are searched."""
        known = searchable_fields(catalog.task(self.spec.task), catalog.architecture(self.spec.architecture))
        return {name: known[name] for name in self.space}

    @property
    def metric(self) -> Metric:
        """What is searched for the best of: the one by which a run chooses its best checkpoint."""
        return catalog.task(self.spec.task).metrics[0]

    def grid(self) -> list[dict[str, Any]]:
        """Every combination, in an order drawn with the seed, so that a search that is stopped early has seen all sides."""
        points, fields = self.search["points"], self.fields
        values = [grid_values(fields[name], dimension, points) for name, dimension in self.space.items()]
        combinations = [dict(zip(self.space, chosen, strict=True)) for chosen in product(*values)]
        random.Random(self.search["seed"]).shuffle(combinations)
        return combinations

    def max_trials(self) -> int:
        """How many trials there can be; 0 where that has no limit."""
        trials = self.search["trials"]
        if self.search["sampler"] != GRID:
            return trials
        return min(trials or MAX_GRID, self._grid_size())

    def _grid_size(self) -> int:
        points = self.search["points"]
        return math.prod(len(grid_values(self.fields[name], self.space[name], points)) for name in self.space)

    def start(self) -> dict[str, Any]:
        """What the form says already, the first trial: a search is never worse than that. {} where it lies outside."""
        settings = {name: self.spec.settings[name] for name in self.space}
        return settings if all(contains(self.space[name], value) for name, value in settings.items()) else {}

    @staticmethod
    def check(data: Mapping | StudySpec) -> StudySpec:
        """The study in `data`, with defaults filled in; Refusal says what is wrong and what would do."""
        if isinstance(data, StudySpec):
            data = data.to_json()
        known = {"version", "name", "created", "spec", "space", "search"}
        if not isinstance(data, Mapping) or set(data) - known:
            raise Refusal(_("This is not a study."), do=_("Choose among: {options}.", options=", ".join(sorted(known))))
        if data.get("version", VERSION) != VERSION:
            what = _("This study has version {version}.", version=str(data["version"])[:20])
            raise Refusal(what, do=_("This bigmodel reads version {known}.", known=VERSION), field="version")
        spec = RunSpec.check(data.get("spec", {}))
        study = StudySpec(spec, _check_space(spec, data.get("space")), _check_search(data.get("search", {})),
                          RunSpec.check(spec.to_json() | {"name": data.get("name", "")}).name,
                          float(data.get("created", 0.0)))  # fmt: skip
        study.check_size()
        return study

    def check_size(self) -> None:
        """Refuse a search that would never end, or a grid that nobody can wait for."""
        if self.search["sampler"] != GRID:
            if not any(self.search[name] for name in ("trials", "minutes", "steps")):
                what = _("This search has no end.")
                raise Refusal(what, do=_("Give a number of trials, minutes or steps."), field="trials")
            return
        size = self._grid_size()
        if size > MAX_GRID:
            what = _("This grid has {count} combinations.", count=size)
            do = _("Search fewer settings, or cut their ranges into fewer points. At most {maximum}.", maximum=MAX_GRID)
            raise Refusal(what, do=do, field="points")


def _check_space(spec: RunSpec, given: object) -> Space:
    known = searchable_fields(catalog.task(spec.task), catalog.architecture(spec.architecture))
    if not isinstance(given, Mapping) or not given:
        do = _("Choose among: {options}.", options=", ".join(sorted(known)))
        raise Refusal(_("There is nothing to search."), do=do, field="space")
    for name in given:
        if name not in known:
            what = _("{name} cannot be searched.", name=str(name)[:60])
            raise Refusal(what, do=_("Choose among: {options}.", options=", ".join(sorted(known))), field=str(name))
    return MappingProxyType({name: check_dimension(known[name], dimension) for name, dimension in given.items()})


def _check_search(given: object) -> Mapping[str, Any]:
    fields = {field.name: field for field in SEARCH_FIELDS}
    given = given if isinstance(given, Mapping) else {}
    for name in given:
        if name not in fields:
            what = _("There is no {kind} named {name}.", kind=_("setting of a search"), name=str(name)[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(sorted(fields))), field=str(name))
    return MappingProxyType({name: field.check(given.get(name, field.default)) for name, field in fields.items()})


def preset_space(preset: str, spec: RunSpec) -> Space:
    """What a preset searches, around the settings of `spec`."""
    fields = searchable_fields(catalog.task(spec.task), catalog.architecture(spec.architecture))
    names = {
        "basic": basic_settings(fields),
        "numbers": [name for name, field in fields.items() if isinstance(field, Number)],
        "all": list(fields),
    }[PRESETS[preset].names]
    return default_space(fields, names, spec.settings)


def with_validations(spec: RunSpec, steps: int, epochs: float) -> RunSpec:
    """The run with as many validations as there are parts to compare, where it has fewer. `steps`, `epochs`: as forecast, of
    the whole run. One with a time limit decides by itself how many it can afford."""
    settings = spec.settings
    if settings["eval_every"] or settings["max_minutes"] or steps < 2 * RESOURCE or epochs >= RESOURCE / 2:
        return spec
    return RunSpec.check(spec.to_json() | {"settings": {**settings, "eval_every": math.ceil(steps / RESOURCE)}})


def typical_runs(study: StudySpec) -> float:
    """How many runs of full length the trials come to; 0.0 where their number has no limit."""
    trials = study.max_trials()
    full = min(trials, FIRST_FULL)
    return full + (trials - full) * FULL_SHARE[study.search["pruner"]]
