"""What there is: every task, architecture and data set that ships, found by looking into their folders, and what
people brought."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache

from bigmodel.core.contracts import Architecture, Dataset, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _


def _discover(package: str, kind: type) -> Mapping[str, object]:
    """One object of each subclass of `kind` that a module of `package` defines under a `name`."""
    home = importlib.import_module(package)
    found = {}
    for place in sorted(pkgutil.iter_modules(home.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"{package}.{place.name}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and issubclass(thing, kind) and thing.__module__ == module.__name__
            if own and "name" in vars(thing):
                found[thing.name] = thing()
    return dict(sorted(found.items(), key=lambda item: getattr(item[1], "order", 50)))


@cache
def tasks() -> Mapping[str, Task]:
    return _discover("bigmodel.tasks", Task)


@cache
def architectures() -> Mapping[str, Architecture]:
    return _discover("bigmodel.architectures", Architecture)


@cache
def datasets() -> Mapping[str, Dataset]:
    """Those that ship; with those that people brought: `every_dataset`."""
    return _discover("bigmodel.datasets", Dataset)


_registered: dict[str, Callable[[], Mapping]] = {}


def register(kind: str, things: Callable[[], Mapping]) -> None:
    """`things()` names what the home folder of this process holds of a kind; asked anew each time, since it grows."""
    _registered[kind] = things


def registered(kind: str) -> Mapping:
    """What people brought of a kind, by name."""
    return _registered[kind]() if kind in _registered else {}


def all_datasets() -> Mapping[str, Dataset]:
    """Those that people brought, and those that ship."""
    return {**registered("dataset"), **datasets()}


def task(name: str) -> Task:
    return _lookup(tasks(), name, "task")


def architecture(name: str) -> Architecture:
    return _lookup(architectures(), name, "architecture")


def dataset(name: str) -> Dataset:
    own = registered("dataset")
    if isinstance(name, str) and name in own:
        return own[name]  # older versions are not listed
    return _lookup(all_datasets(), name, "dataset")


def find_dataset(name: str) -> Dataset | None:
    """None where it is not there: what was trained on it can still be looked at."""
    own = registered("dataset")
    return own[name] if name in own else datasets().get(name)


KINDS = {"task": _("task"), "architecture": _("network"), "dataset": _("data set")}


def _lookup(things: Mapping, name: object, kind: str):
    if isinstance(name, str) and name in things:
        return things[name]
    what = _("There is no {kind} named {name}.", kind=KINDS[kind], name=str(name)[:60])
    raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(things)), field=kind)


def architectures_for(task: Task) -> Mapping[str, Architecture]:
    return {name: one for name, one in architectures().items() if is_compatible(task, architecture=one)}


def datasets_for(task: Task) -> Mapping[str, Dataset]:
    return {name: one for name, one in all_datasets().items() if is_compatible(task, dataset=one)}
