"""Files and folders that are there whole or not at all, whoever reads them meanwhile."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING_PREFIX = ".staging-"


def write_atomic(file: Path, text: str, lasting: bool = False) -> None:
    """Under another name first, then renamed. lasting: it outlives a power failure, too. The folder must be there."""
    staging = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        staging.write_text(text, "utf-8")
        if lasting:
            fsync(staging)
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)


def set_private_umask() -> None:
    """What this process and its children create is for the user only. For processes of ours, not for a notebook's."""
    os.umask(0o077)


_homes: set[Path] = set()  # of this process: what has been there is never made anew


def make_home(folder: Path) -> None:
    """The home folder, which only its user enters, whoever made it and how: so nothing in it need be changed. Where it is
    another user's, or the file system knows no modes, it stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    remember_home(folder)
    if os.name != "nt" and folder.stat().st_mode & 0o077:
        with suppress(PermissionError, NotImplementedError):
            folder.chmod(0o700)


def remember_home(folder: Path) -> None:
    _homes.add(folder.absolute())


def make_folder(folder: Path, exist_ok: bool = True) -> None:
    """With its parents; FileNotFoundError where a home folder of this process would have to be made: somebody has renamed
    or removed it, and an empty one in its place would be taken for it."""
    gone = next(
        (home for home in _homes.intersection([folder.absolute(), *folder.absolute().parents]) if not home.is_dir()),
        None,
    )
    if gone is not None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(gone))
    folder.mkdir(parents=True, exist_ok=exist_ok)


@contextmanager
def staged(target: Path, parent: Path | None = None, lasting: bool = False, shared: bool = False) -> Iterator[Path]:
    """An empty folder that is renamed to `target` when the block ends, and is gone when the block raises.

    parent: where the staging folder lies, on the same file system; beside `target` if None.  lasting: all of it outlives
    a power failure.  shared: other processes make the same `target`, and whichever is first is kept.
    """
    staging = (parent or target.parent) / f"{STAGING_PREFIX}{target.name}-{secrets.token_hex(4)}"
    make_folder(staging, exist_ok=False)
    try:
        yield staging
        if lasting:
            for path in staging.rglob("*"):
                fsync(path)
            fsync(staging)  # or else a power failure may leave the name and nothing under it
        make_folder(target.parent)
        try:
            staging.rename(target)
        except OSError:
            if not (shared and target.exists()):
                raise
        if lasting:
            fsync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def discard(folder: Path, trash: Path) -> None:
    """Rename a folder into `trash` first, so that half of one is never seen under its name, then delete it. What cannot
    be deleted stays there."""
    make_folder(trash)
    gone = trash / f"{folder.name}-{secrets.token_hex(4)}"
    folder.rename(gone)
    fsync(folder.parent)  # or else a power failure may bring half of it back
    shutil.rmtree(gone, ignore_errors=True)


def fsync(path: Path) -> None:
    """Wait until a file's bytes, or the entries of a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders; its rename is journalled
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """The same bytes under a second name, which cost no space; a copy where the file system has no links. For files that
    are never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
