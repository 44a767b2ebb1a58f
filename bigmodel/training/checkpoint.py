"""Checkpoints that are whole or not there: staged, hashed, flushed to the disk, renamed.

A protocol of its own beside `core.files.staged`: names of staging and trash folders say which checkpoint they are of, so
that `recover` can finish a `save` that replaces one, or undo it, after a death between its two renames.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from bigmodel.core import checked_json
from bigmodel.core.checked_json import fields, is_count, is_text, object_of
from bigmodel.core.files import fsync, make_folder

MANIFEST = "manifest.json"
IS_MANIFEST = object_of(fields({"bytes": is_count, "sha256": is_text}))


def save(folder: Path, write: Callable[[Path], None]) -> Path:
    """What `write(staging folder)` writes, under the name `folder`, all or nothing.

    The manifest with size and SHA-256 of each file is written last; then all is flushed and renamed.
    """
    staging = folder.with_name(f".{folder.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    make_folder(staging, exist_ok=False)
    write(staging)
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    manifest = {str(path.relative_to(staging)): {"bytes": path.stat().st_size, "sha256": _hash(path)} for path in files}
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
    for path in [*files, staging / MANIFEST]:
        fsync(path)
    fsync(staging)
    away = _trash_path(folder)
    if folder.exists():
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
    staging.rename(folder)
    fsync(folder.parent)
    shutil.rmtree(away, ignore_errors=True)
    return folder


def verify(folder: Path) -> bool:
    """Whether every file of the manifest is there with its size and hash."""
    try:
        manifest = checked_json.read_object(folder / MANIFEST, IS_MANIFEST)
        return all(_is_as_written(folder, name, entry) for name, entry in manifest.items())
    except (OSError, ValueError):
        return False


def verify_file(file: Path) -> bool:
    """Whether one file of a saved folder is as its manifest says; the others are not read."""
    try:
        manifest = checked_json.read_object(file.parent / MANIFEST, IS_MANIFEST)
        return file.name in manifest and _is_as_written(file.parent, file.name, manifest[file.name])
    except (OSError, ValueError):
        return False


def _is_as_written(folder: Path, name: str, entry: Mapping) -> bool:
    """Size and hash of a file inside the folder: a manifest that was tampered with must not have others read."""
    file = folder / name
    inside = ".." not in file.parts and file.is_relative_to(folder) and file.is_file()
    return inside and file.stat().st_size == entry["bytes"] and _hash(file) == entry["sha256"]


def remove(folder: Path) -> None:
    """Renamed away first, so that nothing half deleted ever bears the name."""
    if not folder.exists():
        return
    away = _trash_path(folder)
    shutil.rmtree(away, ignore_errors=True)
    folder.rename(away)
    fsync(folder.parent)  # or else a power failure may bring the name back, with half of its files
    shutil.rmtree(away, ignore_errors=True)


def recover(parent: Path) -> None:
    """Bring to an end, or undo, what a death in `save` or `remove` has left half done in a folder of `parent`.

    Only for whoever may write there: what is being saved at this moment would be taken for a remainder.
    """
    for staging in parent.glob(".*.staging"):
        folder = staging.with_name(staging.name.removeprefix(".").removesuffix(".staging"))
        if not folder.exists():  # death came between the two renames
            whole = next((one for one in (staging, _trash_path(folder)) if verify(one)), None)
            if whole is not None:
                whole.rename(folder)
                fsync(parent)
    for rest in [*parent.glob(".*.staging"), *parent.glob(".*.removed")]:
        shutil.rmtree(rest, ignore_errors=True)


def _trash_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.removed")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
