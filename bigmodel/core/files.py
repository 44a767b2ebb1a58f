"""Files that are there whole or not at all, whoever reads them meanwhile."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomic(file: Path, text: str, lasting: bool = False) -> None:
    """Under another name first, then renamed. lasting: it outlives a power failure, too. The folder must be there."""
    staging = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with staging.open("w", encoding="utf-8") as out:
            out.write(text)
            if lasting:
                out.flush()
                os.fsync(out.fileno())
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)
