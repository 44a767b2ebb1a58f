"""Disk space: checked before large writes, ENOSPC recognised in any library's errors, and how that is put to people."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

MARGIN = 32 * 2**20  # bytes that stay free on the disk for events, logs and whoever else writes
FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
