"""The folders that files lie in: which of them names the class of a file, and which the part that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bigmodel.importing.import_plan import part_of

INNERMOST = "folder"
DEEPEST = 8  # levels that can be chosen


@dataclass(frozen=True)
class Meaning:
    """classes, parts: columns, '' where no folder says it.  names: of the classes."""

    classes: str
    parts: str
    names: tuple[str, ...]


NOTHING = Meaning("", "", ())


def depth(paths: Iterable[str]) -> int:
    return min(max((len(_above(path)) for path in paths), default=0), DEEPEST)


def columns(path: str, deep: int) -> dict[str, str]:
    """'folder', the innermost one; where files of this depth lie deeper also 'folder 1', the outermost, and so on."""
    above = _above(path)
    found = {INNERMOST: above[-1] if above else ""}
    levels = range(deep) if deep > 1 else ()
    return found | {f"{INNERMOST} {level + 1}": above[level] if level < len(above) else "" for level in levels}


def says(column: str) -> bool:
    """Whether it is one of these columns."""
    return column == INNERMOST or column.startswith(f"{INNERMOST} ")


def meaning(paths: Sequence[str]) -> Meaning:
    """Folders called train, test and the like are parts and no classes. A class is the innermost folder; where all
    files lie in one of the same name, the next above that tells some apart."""
    deep = depth(paths)
    values: dict[str, set[str]] = {}
    for path in paths:
        for column, name in columns(path, deep).items():
            values.setdefault(column, set()).add(name)
    values = {column: names - {""} for column, names in values.items()}
    outward = [INNERMOST, *(f"{INNERMOST} {level}" for level in range(deep, 0, -1) if deep > 1)]
    parts = next((one for one in reversed(outward) if _are_parts(values.get(one, set()))), "")
    left = [one for one in outward if one in values and not (parts and any(map(part_of, values[one])))]
    classes = next((one for one in left if len(values[one]) > 1), next((one for one in left if values[one]), ""))
    return Meaning(classes, parts, tuple(sorted(values.get(classes, ()))))


def _are_parts(names: set[str]) -> bool:
    said = {part_of(name) for name in names}
    return len(said) > 1 and "train" in said and "" not in said


def _above(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts[:-1]
