"""The file that a data set was made of, kept beside its versions: moved there, linked or copied, and told from a changed
one by its hash."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bigmodel.core import checked_json, files, limits
from bigmodel.core.checked_json import fields, is_text, is_words, optional
from bigmodel.core.jobs import Cancelled
from bigmodel.core.safe_open import link_nofollow, list_files, open_nofollow
from bigmodel.core.words import Words, _

FOLDER, ABOUT = "original", "source.json"
MOVED, LINKED, COPIED, LEFT_IN_PLACE = "moved", "linked", "copied", "left"
IS_ABOUT = fields(
    {"sha256": is_text},
    {"file": is_text, "how": is_text, "path": is_text, "why": optional(is_words), "content": optional(is_text)},
)
CHUNK_BYTES = 2**22  # bytes
MIN_FREE_BYTES = 2**30  # bytes of the disk that a copy leaves free


@dataclass(frozen=True)
class Original:
    """storage: MOVED ... LEFT_IN_PLACE.  path: where it lies, here or where it came from; None where it lay nowhere.
    sha256: of its content, as it was read."""

    storage: str
    path: Path | None
    sha256: str
    not_kept_reason: Words | None = None


def find(folder: Path) -> Original | None:
    """That of a data set's folder; None where there never was one: of what ships."""
    try:
        about = checked_json.read_object(folder / FOLDER / ABOUT, IS_ABOUT)
    except (OSError, ValueError):
        return None
    kept = folder / FOLDER / about["file"] if about.get("file") else None
    how = about.get("how") or (MOVED if kept else LEFT_IN_PLACE)  # what was brought by versions of old does not say it
    why = Words.from_json(about["why"]) if about.get("why") else None
    place = kept or (Path(about["path"]) if about.get("path") else None)
    return Original(how, place, about.get("content") or about["sha256"], why)


def signature(path: Path) -> tuple | None:
    """Changes when a file or a file of a folder is written to, or another is put in its place; None where it is gone."""
    try:
        files = [path] if path.is_file() else list_files(path)
        found = [(file.as_posix(), file.stat()) for file in files]
    except OSError:
        return None
    return tuple((name, status.st_size, status.st_mtime_ns, status.st_ino) for name, status in found)


def keep(path: Path, folder: Path, name: str, tell: Callable[[int], None], stop: threading.Event) -> dict:
    """A file or folder of this machine into `folder`, under `name`: by a second name for the same bytes where the file
    system has that, else as a copy, else not at all. {"how", "path"} and "file" or "why"."""
    target, about = folder / name, {"path": str(path)}
    if _hard_link(path, target):
        return about | {"how": LINKED, "file": name}
    why = _no_copy_reason(path, folder)
    if why is None:
        try:
            _copied(path, target, tell, stop)
            return about | {"how": COPIED, "file": name}
        except OSError as error:
            why = _("It could not be copied: {reason}.", reason=error.strerror or str(error))
            _remove(target)
    return about | {"how": LEFT_IN_PLACE, "why": why.to_json()}


def _pairs(path: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Each file and its place in what is kept."""
    if path.is_file():
        yield path, target
        return
    for file in list_files(path):
        real = file.resolve()
        if real.is_relative_to(path):
            yield real, target / file.relative_to(path)


def _hard_link(path: Path, target: Path) -> bool:
    """Nothing is left of what could be linked in part."""
    try:
        for one, place in _pairs(path, target):
            files.make_folder(place.parent)
            link_nofollow(one, place)
    except OSError:
        _remove(target)
        return False
    return True


def _no_copy_reason(path: Path, folder: Path) -> Words | None:
    """Why a copy would be too much."""
    size = sum(one.stat().st_size for one, _place in _pairs(path, folder))
    if size > limits.ORIGINAL_BYTES:
        return _("It cannot be linked there, and more than {maximum} GB are not copied.",
                 maximum=limits.ORIGINAL_BYTES // 2**30)  # fmt: skip
    if size > shutil.disk_usage(folder).free - MIN_FREE_BYTES:
        return _("It cannot be linked there, and there is no room for a copy.")
    return None


def _copied(path: Path, target: Path, tell: Callable[[int], None], stop: threading.Event) -> None:
    done = 0
    for one, place in _pairs(path, target):
        files.make_folder(place.parent)
        with open_nofollow(one) as source, place.open("wb") as copy:
            while piece := source.read(CHUNK_BYTES):
                if stop.is_set():
                    raise Cancelled
                copy.write(piece)
                done += len(piece)
                tell(done)
        if os.name != "nt":  # Windows could not delete it any more
            place.chmod(0o444)


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
