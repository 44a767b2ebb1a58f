"""Files that other people can write to: the one that was checked is the one that is read, whatever they put in its place.

A path is walked from descriptor to descriptor (openat) and no link is followed, so that one that was swapped for a link
after the check leads nowhere. Windows has neither; there the path is opened.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

HAS_OPENAT = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
NO_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)  # the last: of FreeBSD
# O_PATH: one may pass through what one cannot list
DIRECTORY = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0)

_own_folders: list[Path] = []  # what the source of this process may have hard links to; empty: they are not checked


def enter_source(path: Path, nofollow: bool = False, own_folders: Sequence[Path] = ()) -> Path:
    """Make the folder that holds a source the current one of this process, which reads nothing else; the source as a path
    from there. Whatever is renamed or linked above it from now on changes nothing.
    nofollow: no link on the way to it, either.  own_folders: hard links are refused but for those that lead there."""
    _own_folders[:] = own_folders
    if not HAS_OPENAT or not path.name:
        return path
    if nofollow:
        with _folder(path.parent) as folder:
            os.fchdir(folder)
    else:
        os.chdir(path.parent)
    return Path(path.name)


def open_source(path: Path) -> BinaryIO:
    """A file of the source that this process has entered; a link only where it leads to another file of the source."""
    file = open_nofollow(_follow_inside(path))
    status = os.fstat(file.fileno())
    if _own_folders and status.st_nlink > 1:
        source = path if path.is_absolute() else Path(path.parts[0])
        if status.st_nlink > _entered_names(source)[status.st_dev, status.st_ino]:
            file.close()
            raise _hard_link(path)
    return file


@cache
def _entered_names(source: Path) -> Counter:
    return _count_names(source, _own_folders)


def open_nofollow(path: Path) -> BinaryIO:
    """Refusal where a link stands anywhere in its path, or no plain file at its end."""
    if not HAS_OPENAT:
        return path.open("rb")
    with _folder(path.parent) as folder, _no_links(path):
        handle = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _swapped(path)
    return os.fdopen(handle, "rb")


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The descriptor of a folder, from the root or the current folder on."""
    if ".." in path.parts:
        raise _swapped(path)
    with _no_links(path):
        handle = os.open(path.anchor or ".", DIRECTORY | os.O_CLOEXEC)
        for part in path.parts[1:] if path.anchor else path.parts:
            try:
                inner = os.open(part, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _no_links(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LINK_ERRORS:
            raise
        raise _swapped(path) from None


def _swapped(path: Path) -> Refusal:
    what = _("{name}, or a folder that it lies in, is a link now.", name=path.name[:200])
    return Refusal(what, _("A link may lead anywhere."), _("Bring it again when nothing writes to it any more."))


def _follow_inside(path: Path) -> Path:
    """Where a link of a source leads, where that is in the source; anything else as it is."""
    if path.is_absolute() or not path.is_symlink():
        return path
    here = Path.cwd()
    real = Path(os.path.realpath(path))
    return real.relative_to(here) if real.is_relative_to(here / path.parts[0]) else path


# -- folders ---------------------------------------------------------------------------------------------
def list_files(folder: Path) -> list[Path]:
    """Every file of a folder and its folders, in the order of their names; a link only where it leads to a file of the
    folder. Refusal for more than anybody would give."""
    found: list[str] = []
    for inner, name in _names(folder):
        found.append(os.path.join(inner, name))
        if len(found) > limits.FOLDER_FILES:
            what = _("The folder {name} holds more than {count} files.", name=folder.name, count=limits.FOLDER_FILES)
            raise Refusal(what, do=_("Give a smaller folder."))
    return sorted((Path(name) for name in found), key=lambda path: path.as_posix())


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    """(folder, file)"""
    real = os.path.realpath(folder)
    if not HAS_OPENAT:
        for inner, _folders, names in os.walk(folder):
            yield from ((inner, name) for name in names if _is_inside(os.path.join(inner, name), real))
        return
    with _folder(folder) as top:
        readable = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=top)
    try:
        for inner, _folders, names, handle in os.fwalk(".", dir_fd=readable):
            place = os.path.normpath(os.path.join(folder, inner))
            for name in names:
                try:
                    mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and _is_inside(os.path.join(place, name), real)):
                    yield place, name
    finally:
        os.close(readable)


def _is_inside(path: str, folder: str) -> bool:
    real = os.path.realpath(path)
    return os.path.isfile(real) and Path(real).is_relative_to(folder)


# -- hard links ------------------------------------------------------------------------------------------
def refuse_hard_links(source: Path, own_folders: Sequence[Path], files: Iterable[Path] = ()) -> None:
    """Refusal where a file of a source has a name somewhere else than in the source and in folders of ours: whoever may
    write to the folder may have put somebody else's file there. files: those of it that are asked about, else all."""
    files = files or ([source] if source.is_file() else list_files(source))
    several = [(file, status) for file in files if (status := file.stat()).st_nlink > 1]
    known = _count_names(source, own_folders) if several else Counter()
    for file, status in several:
        if status.st_nlink > known[status.st_dev, status.st_ino]:
            raise _hard_link(file)


def _count_names(source: Path, own_folders: Sequence[Path]) -> Counter:
    """(device, inode) -> how many names it has there."""
    names = {os.path.realpath(file) for file in ([source] if source.is_file() else list_files(source))}
    names |= {os.path.realpath(file) for folder in own_folders for file in folder.rglob("*") if not file.is_symlink()}
    found: Counter[tuple[int, int]] = Counter()
    for name in names:
        with suppress(FileNotFoundError):
            status = os.lstat(name)
            found[status.st_dev, status.st_ino] += 1
    return found


def _hard_link(path: Path) -> Refusal:
    what = _("{name} has a name in another folder, too (a hard link).", name=path.name[:200])
    return Refusal(what, _("So it may be somebody else's file."), _("Put a copy into the folder instead of a link."))


# -- kept ------------------------------------------------------------------------------------------------
def link_nofollow(source: Path, target: Path) -> None:
    """A second name for a file, not for what a link leads to. OSError where the file system has none."""
    if not HAS_OPENAT:
        os.link(source, target)
        return
    with _folder(source.parent) as folder:
        os.link(source.name, target, src_dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(target.lstat().st_mode):
        target.unlink()
        raise _swapped(source)


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under a second name, else a copy."""
    try:
        link_nofollow(source, target)
    except OSError:
        with open_nofollow(source) as data, target.open("wb") as copy:
            shutil.copyfileobj(data, copy)
