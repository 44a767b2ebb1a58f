"""The folders that files lie in: which of them names the class of a file, and which the part that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bigmodel.importing.import_plan import CONTENT_WORDS, parse_split

INNERMOST = "folder"
MAX_DEPTH = 8  # levels that can be chosen
PORTION_WORDS = frozenset(["batch", "part", "fold", "chunk", "shard", "subset", "group", "folder", "dir", "disk"])


@dataclass(frozen=True)
class FolderLabels:
    """classes, parts: columns, '' where no folder says it.  names: of the classes."""

    class_column: str
    split_column: str
    class_names: tuple[str, ...]


NO_FOLDER_LABELS = FolderLabels("", "", ())


def depth(paths: Iterable[str]) -> int:
    return min(max((len(_parent_dirs(path)) for path in paths), default=0), MAX_DEPTH)


def columns(path: str, deep: int) -> dict[str, str]:
    """'folder', the innermost one; where files of this depth lie deeper also 'folder 1', the outermost, and so on."""
    above = _parent_dirs(path)
    found = {INNERMOST: above[-1] if above else ""}
    levels = range(deep) if deep > 1 else ()
    return found | {f"{INNERMOST} {level + 1}": above[level] if level < len(above) else "" for level in levels}


def infer_folder_labels(paths: Sequence[str]) -> FolderLabels:
    """Folders called train, test and the like are parts and no classes, nor are those called images. A class is the innermost folder; where all
    files lie in one of the same name, the next above that tells some apart."""
    deep = depth(paths)
    values: dict[str, set[str]] = {}
    for path in paths:
        for column, name in columns(path, deep).items():
            values.setdefault(column, set()).add(name)
    values = {column: names - {""} for column, names in values.items()}
    outward = [INNERMOST, *(f"{INNERMOST} {level}" for level in range(deep, 0, -1) if deep > 1)]
    parts = next((one for one in reversed(outward) if _are_splits(values.get(one, set()))), "")
    left = [
        column
        for column in outward
        if column in values
        and not (parts and any(map(parse_split, values[column])))
        and not all(map(names_contents, values[column]))
    ]
    classes = next((one for one in left if len(values[one]) > 1), next((one for one in left if values[one]), ""))
    return FolderLabels(classes, parts, tuple(sorted(values.get(classes, ()))))


def names_contents(folder: str) -> bool:
    """Whether a folder is named after what lies in it, as images or train_images, and not after a class."""
    words = [word for word in re.split(r"[\W_\d]+", folder.lower()) if word]
    return bool(words) and all(word in CONTENT_WORDS or parse_split(word) for word in words)


def names_portion(folder: str) -> bool:
    """Whether a folder is named as a portion of a whole, as batch_3: a class only where nothing else says one."""
    words = [word for word in re.split(r"[\W_\d]+", folder.lower()) if word]
    return bool(words) and all(word in CONTENT_WORDS or word in PORTION_WORDS or parse_split(word) for word in words)


def _are_splits(names: set[str]) -> bool:
    said = {parse_split(name) for name in names}
    return len(said) > 1 and "train" in said and "" not in said


def _parent_dirs(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts[:-1]
