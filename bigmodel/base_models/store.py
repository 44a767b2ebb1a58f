"""The base models of a home folder, and those that ship: what can be fine-tuned."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bigmodel.base_models import validate_folder
from bigmodel.core import catalog, checked_json
from bigmodel.core.checked_json import fields, is_count, is_text, is_time, is_words, list_of, optional
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.files import make_folder
from bigmodel.core.model import METADATA_FILE, STARTERS
from bigmodel.core.safe_open import open_nofollow, refuse_hard_links
from bigmodel.core.words import Words, _

MANIFEST = "base.json"
SHARED_FACTS = ("model_type", "parameters", "bytes", "longest", "chat")  # of a report, a base and its manifest
IS_MANIFEST = fields(
    {"model_type": is_text, "parameters": is_count, "bytes": is_count, "title": is_words, "source": is_text,
     "fingerprint": is_text, "created": is_time, "heads": list_of(is_text), "languages": list_of(is_text)},
    {"licence": optional(is_text), "revision": optional(is_text)},
)  # fmt: skip
MAX_NAME_LENGTH = 60
RESERVED_DISK_BYTES = 1024 * 2**20  # bytes that stay free on the disk beside a copy
STAGING, CONVERTING, REMOVED = ".staging", ".converting", ".removed"  # beside the bases, while one is made or goes
STALE_SECONDS = 24 * 3600  # seconds after which what another machine has left behind is taken for forgotten


class DiskFull(Refusal):
    """The disk is full, which may pass."""


@dataclass(frozen=True)
class Base:
    """A model to begin with. `fingerprint` changes when any of its files does."""

    name: str
    title: Words | str
    model_type: str
    heads: frozenset[str]
    parameters: int
    bytes: int
    longest: int  # tokens it reads at most, 0 for no bound
    chat: bool
    licence: str
    source: str  # where it comes from, in words of its own: 'Hub: org/name', 'folder: name' ...
    revision: str
    languages: tuple[str, ...]
    fingerprint: str
    folder: Path
    included: bool = False
    created: float = 0.0
    ignored: tuple[str, ...] = ()  # what lay beside the weights and was never opened


def bases_folder(home: Path) -> Path:
    return home / "bases"


def list_bases(home: Path) -> Mapping[str, Base]:
    """Those that ship, then those of the home folder, newest first."""
    folders = [folder for folder in bases_folder(home).glob("*") if not folder.name.startswith(".")]
    own = [base for base in map(_read_manifest, folders) if base is not None]
    return dict(starter_bases()) | {base.name: base for base in sorted(own, key=lambda base: -base.created)}


def register_bases(home: Path) -> None:
    """Let the catalogue of this process know the base models of a home folder."""
    catalog.register("base", lambda: list_bases(home))


def get_base(home: Path, name: str) -> Base:
    found = list_bases(home)
    if name not in found:
        what = _("There is no base model named {name}.", name=name[:60])
        raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(found)), field="base")
    return found[name]


def outside_folder(home: Path, name: str) -> Path | None:
    """Where a base that did not ship with bigmodel lies, or lay; None for one that did."""
    return None if name in ("", *starter_bases()) else bases_folder(home) / name


@cache
def starter_bases() -> Mapping[str, Base]:
    """The starter models: small, and there without a network."""
    found = {}
    for folder in sorted(STARTERS.glob("*")):
        if not (folder / METADATA_FILE).exists():
            continue
        about = json.loads((folder / METADATA_FILE).read_text("utf-8"))
        seen = validate_folder.validate(folder, [STARTERS], own=True)
        found[folder.name] = Base(
            name=folder.name,
            title=Words.from_json(about["title"]),
            heads=seen.heads,
            **_shared_facts(seen),
            licence="MIT",
            source="bigmodel",
            revision="",
            languages=(),
            fingerprint=hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest(),
            folder=folder,
            included=True,
        )
    return found


def _shared_facts(report: validate_folder.FolderReport) -> dict:
    return {name: getattr(report, name) for name in SHARED_FACTS}


def _read_manifest(folder: Path) -> Base | None:
    """What a folder's manifest says, None where it says nothing: it is being made, or was damaged."""
    try:
        kept = checked_json.read_object(folder / MANIFEST, IS_MANIFEST)
        names = (*SHARED_FACTS, "title", "licence", "source", "revision", "fingerprint", "created")
        facts = {name: kept[name] for name in names}
        heads, languages = frozenset(kept["heads"]), tuple(kept["languages"])
        ignored = tuple(kept.get("ignored", ()))
        return Base(name=folder.name, heads=heads, languages=languages, folder=folder, ignored=ignored, **facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_intact(base: Base) -> bool:
    """Whether its files are those that were let in, byte by byte."""
    if base.included:
        return True
    try:
        kept = checked_json.read_object(base.folder / MANIFEST)
        return all(file_sha256(base.folder / name) == entry["sha256"] for name, entry in kept["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove(home: Path, name: str) -> None:
    base = get_base(home, name)
    if base.included:
        raise Refusal(_("{name} belongs to bigmodel and stays.", name=name), field="base")
    away = bases_folder(home) / f"{REMOVED}-{name}"
    shutil.rmtree(away, ignore_errors=True)
    base.folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


# -- taken in ------------------------------------------------------------------------------------------
def slug(text: str) -> str:
    """A name that any file system takes: 'HuggingFaceTB/SmolLM2-135M' -> 'smollm2-135m'."""
    plain = unicodedata.normalize("NFKD", text.rsplit("/", 1)[-1]).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME_LENGTH] or "base"


def free_name(home: Path, wanted: str) -> str:
    taken, name, number = list_bases(home), wanted, 2
    while name in taken or name in ("con", "nul", "aux", "prn"):
        name, number = f"{wanted}-{number}", number + 1
    return name


def import_folder(
    home: Path, folder: Path, roots: Iterable[Path], *, title: str, source: str, name: str = "", revision: str = "",
    licence: str = "", languages: Iterable[str] = (), own: bool = False, move: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Base:  # fmt: skip
    """Look a folder over and keep a copy of what belongs to the model, whole or not at all. The same files again are
    the base that is there already. `move`: its files are ours already and need not be copied; they stay where they
    are, too, until the caller takes them away. `tell(bytes done, bytes in all)` while it copies."""
    seen = validate_folder.validate(folder, roots, own)
    if not own and not move:  # ours have several names
        refuse_hard_links(folder.resolve(), [home / "runs", bases_folder(home)], seen.paths.values())
    refuse_full_disk(home, 0 if move else seen.bytes)
    parent = bases_folder(home)
    make_folder(parent)
    name = free_name(home, name or slug(title))
    staging = parent / f"{process_prefix(STAGING)}-{name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        done, files = 0, {}
        for file in seen.files:
            if file == METADATA_FILE:  # what it says of itself; written anew below
                continue
            digest = (_hard_link if move else _copy_file)(seen.paths[file], staging / file)
            size = (staging / file).stat().st_size
            files[file] = {"bytes": size, "sha256": digest}
            done += size
            tell(done, seen.bytes)
        ignored = seen.ignored
        total = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        if not own and (known := _base_with_fingerprint(home, total)):  # a run of ours is a base of its own
            return known
        seen = validate_folder.validate(staging, [parent], own)  # what was copied, not what has stood there before
        card = read_model_card(staging)
        manifest = {
            "title": title,
            "heads": sorted(seen.heads),
            **_shared_facts(seen),
            "licence": licence or card.get("license", "") or "?",
            "source": source,
            "revision": revision,
            "languages": list(languages) or _split_list(card.get("language")),
            "fingerprint": total,
            "created": time.time(),
            "ignored": list(ignored),
            "files": files,
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        page = (_run_metadata(folder, title) if own else {}) or build_metadata(manifest)
        if page:
            (staging / METADATA_FILE).write_text(json.dumps(page, ensure_ascii=False, indent=1), "utf-8")
        staging.rename(parent / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _read_manifest(parent / name)


def _base_with_fingerprint(home: Path, fingerprint: str) -> Base | None:
    """The base of a home that has these very files, undamaged."""
    same = (base for base in list_bases(home).values() if base.fingerprint == fingerprint)
    return next(filter(is_intact, same), None)


def _run_metadata(folder: Path, title: str) -> dict:
    """What a run of this machine says of its model: task, data, how well it does. {} where it says nothing."""
    try:
        about = json.loads((folder / METADATA_FILE).read_text("utf-8"))
        return about | {"title": title} if about["spec"]["task"] in catalog.tasks() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def build_metadata(manifest: Mapping) -> dict:
    """What lets 'Try it' ask a base as it is, {} for one that must be trained first. Who has a chat template is talked
    with."""
    answerable = [
        task for task in catalog.tasks().values() if task.head in manifest["heads"] and not HEADS[task.head].classifies
    ]
    if not answerable:
        return {}
    task, architecture = min(answerable, key=lambda task: task.chat != manifest["chat"]), catalog.fine_tuning()
    spec = {
        "version": 1,
        "task": task.name,
        "architecture": architecture.name,
        "dataset": "",
        "name": "",
        "settings": {},
    }
    return {
        "spec": spec,
        "title": manifest["title"],
        "metrics": {},
        "parameters": manifest["parameters"],
        "created": manifest["created"],
        "examples": [],
    }


def read_model_card(folder: Path) -> dict[str, str]:
    """The lines between the first two '---' of a model card: licence, languages. A little of YAML is enough."""
    try:
        text = (folder / "README.md").read_text("utf-8", errors="replace")[:20_000]
    except OSError:
        return {}
    if not text.startswith("---"):
        return {}
    found, last = {}, ""
    for line in text[3:].partition("\n---")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon and key and not key.startswith((" ", "-", "#")):
            last, found[key.strip()] = key.strip(), value.strip().strip("\"'[]")
        elif last and line.strip().startswith("- "):
            found[last] = ", ".join(filter(None, (found[last], line.strip()[2:].strip("\"' "))))
    return {key: value[:200] for key, value in found.items()}


def _split_list(text: str | None) -> list[str]:
    return [part.strip(" \"'") for part in (text or "").split(",") if part.strip()][:40]


def file_sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _copy_file(source: Path, target: Path) -> str:
    """A copy, and the hash of what was copied: the file that was looked at, not what a link in its place leads to."""
    total = hashlib.sha256()
    with open_nofollow(source) as data, target.open("wb") as copy:
        while part := data.read(2**22):
            total.update(part)
            copy.write(part)
        copy.flush()
        os.fsync(copy.fileno())
    return total.hexdigest()


def _hard_link(source: Path, target: Path) -> str:
    """The same file under a second name, so that nothing is lost with the first or the second; a copy where the disk
    knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        return _copy_file(source, target)
    return file_sha256(target)


def refuse_full_disk(home: Path, needed: int) -> None:
    make_folder(home)
    missing = needed + RESERVED_DISK_BYTES - shutil.disk_usage(home).free
    if missing > 0:
        what = _("The disk has no room for this model: {megabytes} MB are missing.", megabytes=missing // 2**20 + 1)
        raise DiskFull(what, do=_("Free some space, or choose a smaller model."), field="source")


# -- left behind ---------------------------------------------------------------------------------------
def process_prefix(kind: str) -> str:
    """What the name of a folder begins with that goes with this process."""
    return f"{kind}-{_hostname()}-{os.getpid()}"


def remove_stale_folders(home: Path) -> None:
    """Take away what processes have left that were killed, or lost their machine, while they made a base."""
    for folder in bases_folder(home).glob(".*-*"):
        if folder.name.startswith(f"{REMOVED}-") or _is_stale(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_stale(folder: Path) -> bool:
    import psutil

    kind, _dash, rest = folder.name.partition("-")
    machine, _dash, rest = rest.partition("-")
    number = rest.partition("-")[0]
    if kind not in (STAGING, CONVERTING):
        return False
    if machine == _hostname() and number.isdigit():
        return not psutil.pid_exists(int(number))
    return last_modified(folder) < time.time() - STALE_SECONDS


def last_modified(folder: Path) -> float:
    """When anything in it was last written to."""
    try:
        return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except OSError:  # it is going at this moment
        return time.time()


def _hostname() -> str:
    return slug(socket.gethostname()).replace("-", "")
