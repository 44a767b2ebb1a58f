"""What a study varies: the settings of a run that can be searched, and in which range, as their fields say it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import Architecture, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Number, Switch
from bigmodel.core.spec import TRAINING_FIELDS, fields_for
from bigmodel.core.words import _

if TYPE_CHECKING:
    import optuna

RATE_FACTOR, COUNT_FACTOR, LINEAR_FACTOR = 10, 4, 2  # how far a range goes from the value that stands in the form
SIGNIFICANT_DIGITS = 3  # of a real number that is tried
MAX_OPTIONS = 50


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`; on a logarithmic scale where the field has one and 0 is not in it."""

    low: float
    high: float

    def to_json(self) -> dict:
        return {"low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.low:.12g}..{self.high:.12g}"


@dataclass(frozen=True)
class Options:
    """These values alone."""

    values: tuple

    def to_json(self) -> dict:
        return {"options": list(self.values)}

    def __str__(self) -> str:
        return ",".join(_as_text(value) for value in self.values)


Dimension = Range | Options
Space = Mapping[str, Dimension]


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


# -- which settings ------------------------------------------------------------------------------------------
def searchable_fields(task: Task, architecture: Architecture) -> dict[str, Field]:
    """The settings that a study can vary, by name. How data are encoded is none: what is measured would change with it."""
    return {
        field.name: field
        for field in fields_for(task, architecture)
        if isinstance(field, Number | Choice | Switch)
        and field.search != ()
        and field.name not in task.encoding_settings
        and not (isinstance(field, Choice) and len(field.options) < 2)
    }


def basic_settings(fields: Mapping[str, Field]) -> list[str]:
    """Those of training that stand open in the form: they matter most."""
    return [field.name for field in TRAINING_FIELDS if field.name in fields and not field.advanced]


def default_space(fields: Mapping[str, Field], names: Sequence[str], settings: Mapping) -> dict[str, Dimension]:
    """The ranges that suit, around the values in `settings`."""
    return {name: default_dimension(fields[name], settings[name]) for name in names}


def default_dimension(field: Field, value: Any) -> Dimension:
    """What is tried of a setting whose value is `value`, which is always within it."""
    if isinstance(field, Switch):
        return Options((True, False))
    if isinstance(field, Choice):
        return Options(tuple(dict.fromkeys([*(field.search or field.options), value])))
    assert isinstance(field, Number)
    low, high = field.search or _range_around(field, value)
    low, high = max(min(low, value), field.minimum), min(max(high, value), field.maximum)
    if field.integer:
        return Range(math.floor(low), math.ceil(high))
    return Range(_rounded(low), _rounded(high))


def _range_around(field: Number, value: float) -> tuple[float, float]:
    if value <= 0:
        return field.minimum, field.maximum
    factor = LINEAR_FACTOR if not field.logarithmic else COUNT_FACTOR if field.integer else RATE_FACTOR
    return value / factor, value * factor


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


# -- checked -------------------------------------------------------------------------------------------------
def check_dimension(field: Field, data: object) -> Dimension:
    """The dimension in JSON or as it is; Refusal says what would do."""
    if isinstance(data, Range | Options):
        data = data.to_json()
    if isinstance(data, Mapping) and set(data) == {"low", "high"} and isinstance(field, Number):
        low, high = field.check(data["low"]), field.check(data["high"])
        if low >= high:
            what = _("The range of {name} goes from {low} to {high}.", name=field.name, low=low, high=high)
            raise Refusal(what, do=_("The first has to be the smaller one."), field=field.name)
        return Range(low, high)
    options = data["options"] if isinstance(data, Mapping) and set(data) == {"options"} else None
    if not isinstance(options, list | tuple):
        raise _no_dimension(field, data)
    values = tuple(dict.fromkeys(field.check(value) for value in options))
    if not 2 <= len(values) <= MAX_OPTIONS:
        what = _("{count} values of {name} are to be tried.", count=len(values), name=field.name)
        raise Refusal(what, do=_("Give from 2 to {maximum} of them.", maximum=MAX_OPTIONS), field=field.name)
    return Options(values)


def parse_dimension(field: Field, text: str, value: Any) -> Dimension:
    """From the command line: 'low..high', 'a,b,c', or nothing for what suits `value`."""
    if not text:
        return default_dimension(field, value)
    low, dots, high = text.partition("..")
    if dots and isinstance(field, Number):
        return check_dimension(field, {"low": field.parse(low), "high": field.parse(high)})
    return check_dimension(field, {"options": [field.parse(part.strip()) for part in text.split(",")]})


def _no_dimension(field: Field, data: object) -> Refusal:
    what = _("{name} cannot be searched in {value}.", name=field.name, value=str(data)[:60])
    do = _("Give a range such as 0.001..0.1, or values such as 16,32,64.")
    return Refusal(what, do=do, field=field.name)


# -- tried ---------------------------------------------------------------------------------------------------
def suggest(trial: optuna.Trial, field: Field, dimension: Dimension) -> Any:
    """The value that a trial takes; what it has taken before stays."""
    if isinstance(dimension, Options):
        return trial.suggest_categorical(field.name, dimension.values)
    assert isinstance(field, Number)
    low, high, log = dimension.low, dimension.high, _is_log(field, dimension)
    if field.integer:
        step = int(field.step or 1)
        high = low + (high - low) // step * step
        return trial.suggest_int(field.name, int(low), int(high), step=step, log=log and step == 1)
    value = trial.suggest_float(field.name, low, high, log=log)
    return min(max(_rounded(value), low), high)


def _is_log(field: Number, dimension: Range) -> bool:
    return field.logarithmic and dimension.low > 0


def grid_values(field: Field, dimension: Dimension, points: int) -> list:
    """All options; of a range so many points, evenly from end to end."""
    if isinstance(dimension, Options):
        return list(dimension.values)
    assert isinstance(field, Number)
    low, high = dimension.low, dimension.high
    if _is_log(field, dimension):
        values = [low * (high / low) ** (number / (points - 1)) for number in range(points)]
    else:
        values = [low + (high - low) * number / (points - 1) for number in range(points)]
    step = int(field.step or 1)
    if field.integer:
        return list(dict.fromkeys(int(low + round((value - low) / step) * step) for value in values))
    return [min(max(_rounded(value), low), high) for value in values]


def contains(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, Options):
        return value in dimension.values
    return dimension.low <= value <= dimension.high
