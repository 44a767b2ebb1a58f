"""The data sets that people have brought to a home folder, each in versions that never change.

    datasets/SLUG/about.json                 when it came, which version is the newest
    datasets/SLUG/original/                  the file as it came
    datasets/SLUG/versions/HASH/             manifest.json, with title and licence, rows.parquet, aside.jsonl and, where
                                             pictures were set aside that can be mended, aside.parquet

`SLUG@HASH` names a version for good, `SLUG` means the newest.
"""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bigmodel.core import catalog, checked_json, fingerprints, limits
from bigmodel.core.checked_json import (
    fields,
    is_count,
    is_number,
    is_object,
    is_scalar,
    is_text,
    is_time,
    is_words,
    list_of,
    object_of,
)
from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.errors import Refusal
from bigmodel.core.files import discard, remember_home, write_atomic
from bigmodel.core.words import Words, _
from bigmodel.importing.import_plan import ROLE_KINDS, ROLES, ImportPlan
from bigmodel.importing.store.parquet_writer import sha256

FORMAT_VERSION = 1
HASH_DIGITS = 8  # hexadecimal digits that name a version
MAX_SLUG_CHARACTERS, MAX_SLUG_BYTES = 40, 120  # bytes: most systems allow a name 255, versions and copies add to it
RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}
NO_LICENCE = _("not stated")
METADATA_KEYS = ("title", "licence", "citation", "languages")

# what a reader of the files in the home folder may rely on; `checked_json` sets aside what is otherwise
METADATA_SHAPES = {"title": is_words, "licence": is_text, "citation": is_text, "languages": list_of(is_text)}
IS_ABOUT = fields({}, {"created": is_number, "newest": is_text, **METADATA_SHAPES})
IS_RECIPE = object_of(lambda value: is_scalar(value) or object_of(is_scalar)(value))
IS_MANIFEST = fields(
    {
        "format": is_count,
        "hash": is_text,
        "number": is_count,
        "created": is_time,
        "source": fields({"name": is_text, "sha256": is_text}, {"url": is_text}),
        "plan": fields({"roles": is_object}, {"format": is_text}),
        "steps": list_of(is_object),
        "columns": object_of(fields({}, {"kind": is_text, "from": is_text, "names": list_of(is_text)})),
        "rows": object_of(is_count),
        "aside": is_count,
        "files": object_of(fields({"sha256": is_text})),
    },
    {"about": fields({}, METADATA_SHAPES), "recipe": IS_RECIPE},
)


@dataclass(frozen=True)
class Version:
    """One state of a data set. manifest: source, about, plan, steps, columns, rows, files with their hashes."""

    folder: Path
    manifest: Mapping

    @property
    def hash(self) -> str:
        return self.manifest["hash"][:HASH_DIGITS]

    @property
    def slug(self) -> str:
        return self.folder.parents[1].name

    @property
    def name(self) -> str:
        return f"{self.slug}@{self.hash}"


def version_metadata(version: Version, about: Mapping) -> dict:
    """What a version says of itself: title, licence, citation, languages. Those of old leave that to `about`."""
    return version.manifest.get("about") or {name: about[name] for name in METADATA_KEYS if name in about}


class ImportedDataset(Dataset):
    """A version as the catalogue knows it."""

    def __init__(self, version: Version, about: Mapping):
        manifest, about = version.manifest, version_metadata(version, about)
        self.metadata = about
        source = manifest["source"]
        self.version = version
        self.name = version.name
        self.title = Words.from_json(about["title"]) if isinstance(about["title"], Mapping) else about["title"]
        rows = sum(manifest["rows"].values())
        self.about = _(
            "{rows} rows from {source}, taken in on {date}. Version {number}.",
            rows=f"{rows:,}",
            source=source["name"],
            date=time.strftime("%Y-%m-%d", time.localtime(manifest["created"])),
            number=manifest["number"],
        )
        self.facts = DatasetInfo(
            licence=about.get("licence") or NO_LICENCE,
            source=source.get("url") or source["name"],
            citation=about.get("citation", ""),
            languages=tuple(about.get("languages", ())),
        )
        self.columns = {
            role: Column(ROLE_KINDS[role], ROLES[role], names=tuple(column.get("names", ())))
            for role, column in manifest["columns"].items()
        }
        self.default_settings = manifest.get("recipe", {})
        self.continuous = ImportPlan(**manifest["plan"]).continuous

    def path(self) -> Path:
        return self.version.folder / "rows.parquet"

    def fingerprint(self) -> str:
        return self.version.manifest["files"]["rows.parquet"]["sha256"]

    def rows(self):
        """All rows, by split. What has been changed on the disk since is refused: a run names what it learns from."""
        if sha256(self.path()) != self.fingerprint():
            what = _("The rows of {name} are not those that were taken in: the file has changed.", name=self.name)
            raise Refusal(what, do=_("Bring the data again."), field="dataset")
        rows = super().rows()
        return _mark_continued(rows) if self.continuous else rows


def _mark_continued(rows):
    """The splits of whole texts with a column `continues`: whether the text of a row goes on in the next row of its split,
    or, of the last row, in another split."""
    import numpy as np

    numbers = {split: np.asarray(part["row"]) for split, part in rows.items()}
    first = {int(part.min()) for part in numbers.values() if len(part)}
    for split, part in numbers.items():
        following = np.append(part[1:], 0)
        continues = following == part + 1
        continues[-1:] = len(part) > 0 and int(part[-1]) + 1 in first
        rows[split] = rows[split].add_column("continues", continues.tolist())
    return rows


class DatasetRegistry(Mapping):
    """Name -> data set. Iterating gives the newest version of each; older ones are found by their full names."""

    def __init__(self, home: Path):
        self.home = home
        self.folder = home / "datasets"

    def slugs(self) -> list[str]:
        """The data set that was brought last comes first."""
        found = [(about.get("created", 0), slug) for slug in self._folders() if (about := self.about(slug))]
        return [slug for _created, slug in sorted(found, reverse=True)]

    def about(self, slug: str) -> dict:
        """Empty where there is no such data set, or it is being brought, or this is damaged."""
        path = self.folder / slug / "about.json"
        try:
            return checked_json.read_object(path, IS_ABOUT)
        except (OSError, ValueError):
            return {}

    def versions(self, slug: str) -> list[Version]:
        """Newest first, as they were made."""
        folder = self.folder / slug / "versions"
        try:
            found = [_version(entry / "manifest.json") for entry in folder.iterdir() if not entry.name.startswith(".")]
        except OSError:
            return []
        return sorted((one for one in found if one), key=lambda one: one.manifest["number"], reverse=True)

    def newest(self, slug: str) -> str:
        """The hash of the version that a data set's name means; '' for none."""
        return self.about(slug).get("newest", "")

    def version(self, name: str) -> Version:
        """The one that a name means; Refusal where there is none."""
        if name in self:
            return self[name].version
        what = _("There is no {kind} named {name}.", kind=_("data set"), name=str(name)[:60])
        raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(self) or "-"), field="dataset")

    def __iter__(self) -> Iterator[str]:
        for slug in self.slugs():
            name = f"{slug}@{self.about(slug).get('newest')}"
            if name in self:
                yield name

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> ImportedDataset:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return ImportedDataset(found, self.about(found.slug))

    def _find(self, name: str) -> Version | None:
        slug, _at, hash = name.partition("@")
        if not re.fullmatch(r"[\w-]{1,60}", slug) or slug != slug.lower() or not re.fullmatch(r"[0-9a-f]{8}|", hash):
            return None  # also what would lead out of the folder
        about = self.about(slug)
        hash = hash or str(about.get("newest", ""))
        found = _version(self.folder / slug / "versions" / hash / "manifest.json") if about and hash else None
        return found if found and "title" in version_metadata(found, about) else None

    def damaged(self) -> list[str]:
        """The data sets that are left out, as what is written down of them cannot be read."""
        return sorted(slug for slug in self._folders() if slug not in self)

    def damage(self) -> Words | None:
        """What is said of them; None where all can be read."""
        slugs = self.damaged()
        if not slugs:
            return None
        names = ", ".join(slugs[:5])
        return _("{count} data sets cannot be read and are left out: {names}.", count=len(slugs), names=names)

    def _folders(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self.folder) if entry.is_dir() and entry.name[0] != "."]
        except FileNotFoundError:
            return []

    # -- changed ---------------------------------------------------------------------------------------
    def new_slug(self, title: str) -> str:
        """A folder's name that every system allows, made from a title; nobody else has it."""
        base = slugify(title)
        slug, number = base, 1
        taken = {*self._folders(), *catalog.datasets()}
        while slug in taken:
            number += 1
            slug = f"{base}-{number}"
        return slug

    def write_about(self, slug: str, **changes: object) -> None:
        write_json(self.folder / slug / "about.json", self.about(slug) | changes)

    def delete(self, slug: str) -> None:
        """With all versions. Renamed away first, so that half of one is never seen."""
        if slug not in self._folders():
            self.version(slug)
        discard(self.folder / slug, self.home / "trash")


def register_home(home: Path) -> None:
    """Let this process know the data sets of a home folder, and keep there what it finds out about files."""
    fingerprints.set_cache_home(home)
    remember_home(home)
    shelf = DatasetRegistry(home)
    catalog.register("dataset", lambda: shelf)


ENDINGS = r"(?:\.(?:csv|tsv|tab|jsonl?|ndjson|txt|text|md|markdown|parquet|zip|tar|tgz|po|xliff|xlf|tmx|gz))+"


def slugify(title: str) -> str:
    """'My Reviews (2024).csv' -> 'my-reviews-2024', '红楼梦.txt' -> '红楼梦': letters of every script, Latin ones without
    accents. Names that a system keeps for its devices are not taken."""
    apart = unicodedata.normalize("NFKD", title.rsplit("/", 1)[-1])
    plain = unicodedata.normalize("NFC", "".join(sign for sign in apart if not "\u0300" <= sign <= "\u036f")).lower()
    words = re.sub(ENDINGS + "$", "", plain)
    slug = re.sub(r"[\W_]+", "-", words).strip("-")[:MAX_SLUG_CHARACTERS].strip("-")
    while len(slug.encode()) > MAX_SLUG_BYTES:
        slug = slug[:-1].rstrip("-")
    return f"data-{slug}" if slug in RESERVED_NAMES else slug or "data"


def default_title(name: str) -> str:
    """What a person is shown for a file's name: without its ending, and without signs that turn the reading round."""
    stem = re.sub(ENDINGS + "$", "", name, flags=re.IGNORECASE)
    shown = "".join(sign for sign in stem if unicodedata.category(sign)[0] != "C")
    return " ".join(shown.split())[: limits.TITLE_CHARACTERS] or "data"


def write_json(path: Path, data: object) -> None:
    """Whole or not at all, and to last."""
    text = json.dumps(data, ensure_ascii=False, indent=1)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path whose bytes are no UTF-8
        text = json.dumps(data, indent=1)
    write_atomic(path, text, lasting=True)


def _version(path: Path) -> Version | None:
    """None where the manifest is missing or no manifest."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _read_manifest(path, status.st_mtime_ns)


@lru_cache(maxsize=1000)
def _read_manifest(path: Path, moment: int) -> Version | None:
    try:
        manifest = checked_json.read_object(path, IS_MANIFEST)
        right = (
            manifest["format"] == FORMAT_VERSION
            and manifest["hash"][:HASH_DIGITS] == path.parent.name
            and manifest["rows"]
        )
        return Version(path.parent, manifest) if right and set(manifest["columns"]) <= set(ROLES) else None
    except (OSError, ValueError):
        return None


def title_error(title: object) -> Words | None:
    """What is wrong with a title; None for nothing."""
    if not isinstance(title, str) or not title.strip() or len(title) > limits.TITLE_CHARACTERS:
        return _("Give text of at most {maximum} characters.", maximum=limits.TITLE_CHARACTERS)
    return None if title.isprintable() else _("Give text.")


def licence_error(licence: object) -> Words | None:
    """What is wrong with the words for a licence, which may be none; None for nothing."""
    if not isinstance(licence, str) or len(licence) > limits.LICENCE_CHARACTERS:
        return _("Give text of at most {maximum} characters.", maximum=limits.LICENCE_CHARACTERS)
    return None if licence.isprintable() else _("Give text.")
