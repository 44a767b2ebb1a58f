"""When the disk is full: recognised by what the system and the libraries say, and said in plain words."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path

from bigmodel.core.words import Words, _

MARGIN = 32 * 2**20  # bytes that stay free on the disk for events, logs and whoever else writes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAYINGS = tuple(f"os error {number}" for number in FULL)  # how safetensors and tokenizers, written in Rust, say it


def was_full(error: BaseException) -> bool:
    """Whether an error says that there was no room: on the disk, in the quota, or for a file of this size."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(saying in str(error) for saying in SAYINGS) or os.strerror(errno.ENOSPC) in str(error)


def missing(folder: Path, needed: int = 0) -> int:
    """Bytes that must become free before so many can be written."""
    return needed + MARGIN - shutil.disk_usage(folder).free


def in_words(missing: int) -> Words:
    """What to tell a person; `missing`: bytes, not above 0 where it is not the disk but a quota that is full."""
    if missing <= 0:
        return _("The disk, or what you may use of it, is full. Free some space, then resume.")
    return _(
        "The disk is full: {megabytes} MB are missing for the next checkpoint. Free some space, then resume.",
        megabytes=math.ceil(missing / 1e6),
    )
