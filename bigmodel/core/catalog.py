"""The registry of tasks, architectures and data sets: those that ship, discovered in their packages, and people's own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from bigmodel.core.contracts import Architecture, Dataset, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

T = TypeVar("T")


def _discover(package: str, base: type[T]) -> Mapping[str, T]:
    """One instance of each subclass of `base` that a module of `package` defines under a `name`, by that name."""
    instances: dict[str, T] = {}
    for info in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if not isinstance(value, type) or not issubclass(value, base) or value.__module__ != module.__name__:
                continue
            if "name" in vars(value):
                instances[vars(value)["name"]] = value()
    return dict(sorted(instances.items(), key=lambda item: getattr(item[1], "order", 50)))


@cache
def tasks() -> Mapping[str, Task]:
    return _discover("bigmodel.tasks", Task)


@cache
def architectures() -> Mapping[str, Architecture]:
    return _discover("bigmodel.architectures", Architecture)


@cache
def datasets() -> Mapping[str, Dataset]:
    """Those that ship; with people's own: `all_datasets`."""
    return _discover("bigmodel.datasets", Dataset)


_registered: dict[str, Callable[[], Mapping]] = {}


def register(kind: str, things: Callable[[], Mapping]) -> None:
    """Add people's own of a kind. `things()`: by name, from this process's home folder; called at each lookup, as it grows."""
    _registered[kind] = things


def registered(kind: str) -> Mapping:
    """People's own of a kind, by name."""
    return _registered[kind]() if kind in _registered else {}


def all_datasets() -> Mapping[str, Dataset]:
    """People's own first, then those that ship."""
    return {**registered("dataset"), **datasets()}


def task(name: object) -> Task:
    return _lookup(tasks(), name, "task")


def architecture(name: object) -> Architecture:
    return _lookup(architectures(), name, "architecture")


def dataset(name: object) -> Dataset:
    own = registered("dataset")
    if isinstance(name, str) and name in own:
        return own[name]  # older versions are not listed
    return _lookup(all_datasets(), name, "dataset")


def find_dataset(name: str) -> Dataset | None:
    """None where it is gone: what was trained on it can still be inspected."""
    own = registered("dataset")
    return own[name] if name in own else datasets().get(name)


KINDS = {"task": _("task"), "architecture": _("network"), "dataset": _("data set")}


def _lookup(things: Mapping[str, T], name: object, kind: str) -> T:
    if isinstance(name, str) and name in things:
        return things[name]
    what = _("There is no {kind} named {name}.", kind=KINDS[kind], name=str(name)[:60])
    raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(things)), field=kind)


def fine_tuning() -> Architecture:
    """The architecture that begins with a base model."""
    return next(one for one in architectures().values() if one.fine_tunes)


def architectures_for(task: Task) -> Mapping[str, Architecture]:
    return {name: network for name, network in architectures().items() if is_compatible(task, architecture=network)}


def datasets_for(task: Task) -> Mapping[str, Dataset]:
    return {name: data for name, data in all_datasets().items() if is_compatible(task, dataset=data)}
