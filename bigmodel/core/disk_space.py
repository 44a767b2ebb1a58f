"""Disk space: checked before large writes, ENOSPC recognised in any library's errors, and how that is put to people."""

from __future__ import annotations

import errno
import io
import math
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

MARGIN = 32 * 2**20  # bytes that stay free on the disk for events, logs and whoever else writes
FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BROKEN_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOTCONN)
RUST_MESSAGES = tuple(f"os error {number}" for number in FULL_ERRNOS)  # of safetensors and tokenizers

CHECKPOINT, MODEL, ENCODING = "checkpoint", "model", "encoding"
# what the room is wanted for -> how its lack is said
DISK_FULL_WORDS: Mapping[str, Words] = {
    CHECKPOINT: _(
        "The disk is full: {megabytes} MB are missing for the next checkpoint. Free some space, then resume."
    ),
    MODEL: _("The disk is full: {megabytes} MB are missing for the trained model. Free some space, then resume."),
    ENCODING: _("The disk is full: {megabytes} MB are missing for the encoded data. Free some space, then try again."),
}


class DiskFull(Refusal):
    """The disk has no room for what comes next. missing: bytes."""

    def __init__(self, missing: int, wanted: str):
        self.missing = missing
        super().__init__(disk_full_words(missing, wanted))


def was_full(error: BaseException) -> bool:
    """Whether an error, or its message, is ENOSPC, EDQUOT or EFBIG."""
    if isinstance(error, OSError):
        return error.errno in FULL_ERRNOS
    return any(message in str(error) for message in RUST_MESSAGES) or os.strerror(errno.ENOSPC) in str(error)


def home_refusal(error: Exception, home: Path) -> Refusal | None:
    """In words, what an error of the file system says of the home folder; None where it says nothing of it."""
    if not home.is_dir():
        return home_gone(home)
    if was_full(error) or "disk is full" in str(error):  # the second is SQLite's
        what = _("The disk is full: nothing more can be written to {home}.", home=str(home))
        return Refusal(what, do=_("Free some space, then try again."))
    if isinstance(error, OSError) and error.errno in BROKEN_ERRNOS and _is_inside(error, home):
        what = _("{home} cannot be written: {reason}.", home=str(home), reason=error.strerror or str(error))
        return Refusal(what, do=_("Name another folder with {variable}.", variable="BIGMODEL_HOME"))
    return None


def home_gone(home: Path) -> Refusal:
    what = _("The home folder {home} is not there any more: it was moved, renamed or deleted.", home=str(home))
    return Refusal(what, do=_("Put it back, or start bigmodel again."))


def _is_inside(error: OSError, home: Path) -> bool:
    return isinstance(error.filename, str | Path) and Path(error.filename).is_relative_to(home)


class _LossyFile(io.RawIOBase):
    """A file of which a write that fails is forgotten."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def write(self, data: Any) -> int:
        with suppress(OSError):
            os.write(self.descriptor, data)
        return len(data)


def tolerate_full_log() -> None:
    """What this process prints to stderr, which is a log in the home folder, is lost where the disk is full, and the
    process is not."""
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_LossyFile(2), 1), "utf-8", "backslashreplace", write_through=True)


def missing_bytes(folder: Path, needed: int = 0) -> int:
    """Bytes that must become free before `needed` bytes can be written; not above 0 where there is room."""
    return needed + MARGIN - shutil.disk_usage(folder).free


def check(folder: Path, needed: int, wanted: str) -> None:
    """Raises DiskFull where `needed` bytes do not fit, before a partial write."""
    missing = missing_bytes(folder, needed)
    if missing > 0:
        raise DiskFull(missing, wanted)


def disk_full_words(missing: int, wanted: str = CHECKPOINT) -> Words:
    """What to tell a person; `missing`: bytes, not above 0 where it is not the disk but a quota that is full."""
    if missing <= 0:
        return _("The disk, or what you may use of it, is full. Free some space, then resume.")
    return Words(DISK_FULL_WORDS[wanted].text, (("megabytes", math.ceil(missing / 1e6)),))
