"""Files on their way in: received, looked at, read, put on the shelf. One object for one home folder."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.importing.import_plan import Found, Plan
from bigmodel.importing.sandbox import LOOK_SECONDS, Cancelled, read
from bigmodel.importing.store import originals, versions
from bigmodel.importing.store.registry import (
    Shelf,
    Version,
    no_licence,
    no_title,
    slug_of,
    stated,
    title_of,
    write_json,
)

ROOTS = "BIGMODEL_DATA_ROOTS"
INCOMING = "incoming"  # in the home folder: what has come, and what is being made of it
KEPT_SECONDS = 2 * 86400.0  # for which a file that was received waits to be taken in
RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class Parcel:
    """A file that has come: where it lies, what it was called, how it came ('upload', 'paste', 'path', 'hub')."""

    id: str
    path: Path
    name: str
    kind: str
    bytes: int = 0
    sha256: str = ""  # '' where it has not been computed yet
    about: Mapping = field(default_factory=dict)  # of a Hub data set: url, revision, licence


@dataclass
class Job:
    """A file that is being read. progress: bytes done of `total`, rows, set aside. name: of the version, at the end."""

    id: str
    parcel: Parcel
    title: str
    total: int
    state: str = RUNNING
    phase: Words | None = None
    progress: dict = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    refusal: Refusal | None = None
    name: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def share(self) -> float:
        """0 as long as nobody knows how much there is."""
        return min(self.progress.get("done", 0) / self.total, 1.0) if self.total else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that are left; None before there is anything to go by."""
        seconds = time.monotonic() - self.begun
        return seconds / self.share * (1 - self.share) if self.share > 0.02 and seconds > 1 else None


class Imports:
    """All that is on its way. Thread-safe as far as several people bring files at one time."""

    def __init__(self, home: Path, ready: Callable[[str], None] = lambda name: None):
        """`ready` is told the name of what has been read."""
        self.home, self.shelf, self.ready = home, Shelf(home), ready
        self.folder = home / INCOMING / "parcels"
        self.log = home / "imports.log"
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        self._looked: dict[tuple[str, str], Found] = {}

    def close(self) -> None:
        for job in list(self.jobs.values()):
            job.stop.set()

    # -- received ------------------------------------------------------------------------------------
    def receive(self, name: str, pieces: Iterable[bytes], kind: str = "upload") -> Parcel:
        """A file from a browser. It lies under a name of ours; its own is only shown."""
        with self.incoming(name, kind) as parcel:
            for piece in pieces:
                parcel.write(piece)
            return parcel.done()

    def incoming(self, name: str, kind: str = "upload") -> Incoming:
        self._tidy()
        return Incoming(self.folder / secrets.token_hex(8), shown_name(name), kind)

    def paste(self, text: str) -> Parcel:
        if not text.strip():
            raise Refusal(_("There is no text."), do=_("Paste some rows."))
        data = text.encode("utf-8", "replace")
        return self.receive("pasted.txt", [data], "paste")

    def place(self, path: str, trusted: bool = False) -> Parcel:
        """A file or folder on this machine, inside the folders that are allowed; it stays where it is.
        `trusted`: asked for by somebody who can read it anyway, at the terminal."""
        try:
            found = Path(path).expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            do = _("Name a file or a folder of data.") if trusted else self._inside()
            raise Refusal(_("There is nothing at {path}.", path=path[:300]), do=do) from None
        if not trusted and not any(found.is_relative_to(root) for root in self.roots()):
            why = _("Only some folders of this machine may be read from here.")
            raise Refusal(_("{path} may not be read.", path=path[:300]), why, self._inside())
        if not (found.is_dir() or found.is_file()) or not os.access(found, os.R_OK):
            raise Refusal(_("{path} cannot be read.", path=path[:300]), do=_("Name a file or a folder of data."))
        return self._known(Incoming(self.folder / secrets.token_hex(8), shown_name(found.name), "path"), found)

    def _known(self, parcel: Incoming, path: Path) -> Parcel:
        parcel.folder.mkdir(parents=True)
        size = 0 if path.is_dir() else path.stat().st_size
        return parcel.keep(Parcel(parcel.folder.name, path, parcel.name, parcel.kind, size))

    def roots(self) -> list[Path]:
        """The folders that may be read: those of $BIGMODEL_DATA_ROOTS, and `inbox` in the home folder."""
        named = [Path(part).expanduser() for part in os.environ.get(ROOTS, "").split(os.pathsep) if part]
        return [root.resolve() for root in (*named, self.home / "inbox")]

    def _inside(self) -> Words:
        folders = ", ".join(str(root) for root in self.roots())
        return _("Name a file or folder inside {folders}; {variable} allows others.", folders=folders, variable=ROOTS)

    def hub_about(self, name: str, revision: str = "") -> dict:
        """Asked of the Hub now."""
        request = {"do": "hub", "what": "about", "id": name, "revision": revision}
        return read(request, seconds=3 * LOOK_SECONDS, log=self.log)

    def hub_splits(self, about: Mapping, config: str) -> dict[str, int]:
        """The parts of a configuration that was not looked into yet, with their rows."""
        request = {"do": "hub", "what": "splits", "id": about["id"], "revision": about["revision"], "config": config}
        return about["configs"][config] or read(request, seconds=3 * LOOK_SECONDS, log=self.log)["splits"]

    def hub(self, about: Mapping) -> Parcel:
        """A part of a data set on the Hub, to be fetched when it is taken in. about: id, config, split, revision ..."""
        parcel = Incoming(self.folder / secrets.token_hex(8), shown_name(str(about["id"])), "hub")
        parcel.folder.mkdir(parents=True)
        return parcel.keep(Parcel(parcel.folder.name, parcel.folder / "file", parcel.name, "hub", about=dict(about)))

    def parcel(self, id: str) -> Parcel:
        try:
            data = json.loads((self.folder / Path(id).name / "parcel.json").read_bytes())
            return Parcel(**data | {"path": Path(data["path"])})
        except (OSError, ValueError, TypeError, KeyError):
            what = _("This file is not here any more.")
            raise Refusal(
                what, _("Files that were not taken in are deleted after two days."), _("Bring it again.")
            ) from None

    def forget(self, id: str) -> None:
        """A file that is not wanted after all."""
        shutil.rmtree(self.folder / Path(id).name, ignore_errors=True)

    def _tidy(self) -> None:
        """Let go of what nobody came back for, and of what a server that was killed left behind."""
        now = time.time()
        for place in (*self.folder.glob("*"), *self.folder.parent.glob("data-*")):
            try:
                if now - place.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(place, ignore_errors=True)
            except FileNotFoundError:
                continue

    # -- looked at -----------------------------------------------------------------------------------
    def look(self, id: str, corrected: Mapping | None = None) -> Found:
        """What the file is, with the evidence. `corrected`: what a person has decided already."""
        key = id, json.dumps(dict(corrected or {}), sort_keys=True)
        if key not in self._looked:
            parcel = self.parcel(id)
            if parcel.kind == "hub":
                request = {"do": "hub", "what": "preview", "about": dict(parcel.about), "corrected": dict(corrected or {}),
                           "folder": str(parcel.path.parent)}  # fmt: skip
                seconds = 3 * LOOK_SECONDS
            else:
                request = {
                    "do": "look",
                    "path": str(parcel.path),
                    "name": parcel.name,
                    "corrected": dict(corrected or {}),
                }
                seconds = LOOK_SECONDS
            found = Found.from_json(read(request, seconds=seconds, log=self.log))
            with self.lock:
                if len(self._looked) > 50:
                    self._looked.clear()
                self._looked[key] = found
        return self._looked[key]

    def mended(self, dataset: str, id: str) -> dict:
        """What a table says of rows that had been set aside of a version."""
        parcel = self.parcel(id)
        request = {"do": "mended", "path": str(parcel.path), "name": parcel.name, "home": str(self.home),
                   "dataset": dataset}  # fmt: skip
        return read(request, log=self.log)

    def check_original(self, slug: str) -> bool:
        """Whether the file that a data set was made of is what it was; reads all of it."""
        found = originals.find(self.shelf.folder / slug)
        if found is None or found.place is None or not found.place.exists():
            what = _("The original is not there any more: {path}.", path=str(found.place if found else None))
            raise Refusal(what, do=_("The rows that were taken in are not touched by that. Keep a copy of your own."))
        return read({"do": "hash", "path": str(found.place)}, log=self.log)["sha256"] == found.sha256

    # -- taken in ------------------------------------------------------------------------------------
    def begin(self, id: str, plan: Plan | Mapping, title: str = "", licence: str = "", wait: bool = False) -> Job:
        """Start to read a file into a data set. The same parcel twice at one time is one job."""
        plan = Plan.check(plan.to_json() if isinstance(plan, Plan) else plan)
        parcel = self.parcel(id)
        title = title.strip() or title_of(parcel.name)
        wrong = no_title(title)
        if wrong is not None:
            raise Refusal(_("This title will not do."), do=wrong, field="title")
        wrong = no_licence(licence)
        if wrong is not None:
            raise Refusal(_("This licence will not do."), do=wrong, field="licence")
        with self.lock:
            running = next((job for job in self.jobs.values() if job.parcel.id == id and job.state == RUNNING), None)
            if running is not None:
                return running
            if sum(job.state == RUNNING for job in self.jobs.values()) >= limits.IMPORTS:
                what = _("{count} files are being read already.", count=limits.IMPORTS)
                raise Refusal(what, do=_("Wait until one is done."))
            job = Job(secrets.token_hex(6), parcel, title, parcel.bytes)
            self.jobs[job.id] = job
        thread = threading.Thread(target=self._work, args=(job, plan, licence), name="bigmodel-import", daemon=True)
        thread.start()
        if wait:
            thread.join()
        return job

    def job(self, id: str) -> Job | None:
        return self.jobs.get(id)

    def _work(self, job: Job, plan: Plan, licence: str) -> None:
        staging = self.home / INCOMING / f"data-{secrets.token_hex(6)}"
        try:
            try:
                staging.mkdir(parents=True)
                job.name = self._import(job, plan, licence, staging)
                self.ready(job.name)
            finally:  # before anybody is told how it ended
                shutil.rmtree(staging, ignore_errors=True)
            job.state = DONE
        except Cancelled:
            job.state = CANCELLED
        except Refusal as refusal:
            job.refusal, job.state = refusal, FAILED
        except OSError as error:
            what = _("The data could not be written: {reason}.", reason=error.strerror or str(error))
            job.refusal, job.state = Refusal(what, do=_("See that there is room on the disk, and try again.")), FAILED
        finally:
            if job.state == RUNNING:  # a fault of ours: the thread ends with its traceback in the log
                what = _("Something went wrong in bigmodel itself while reading this file.")
                job.refusal, job.state = (
                    Refusal(what, do=_("The log has the details: {file}.", file="imports.log")),
                    FAILED,
                )

    def _import(self, job: Job, plan: Plan, licence: str, staging: Path) -> str:
        parcel = job.parcel
        before = originals.signature(parcel.path) if parcel.kind == "path" else None

        def tell(progress: dict) -> None:
            job.progress = progress
            job.total = progress.get("total", job.total)

        if parcel.kind == "hub":
            job.phase = _("Fetching")
            request = {"do": "hub", "what": "fetch", "about": dict(parcel.about), "folder": str(parcel.path.parent)}
            fetched = read(request, tell, job.stop, log=self.log)
            source = {**fetched, "revision": parcel.about["revision"]}
            plan = Plan.check(plan.to_json() | {"format": "parquet"})
            job.progress, job.total, job.begun = {}, fetched["bytes"], time.monotonic()
        elif parcel.sha256:
            source = {"sha256": parcel.sha256, "bytes": parcel.bytes}
        else:
            job.phase = _("Computing the file's hash")
            source = read({"do": "hash", "path": str(parcel.path)}, tell, job.stop, log=self.log)
            job.progress, job.total, job.begun = {}, source["bytes"], time.monotonic()
        source |= {"kind": parcel.kind, "name": parcel.name, "url": parcel.about.get("url", "")}
        same = self._same(source, plan)
        if same is not None:
            return self._stated(same, job, licence, staging)
        job.phase = _("Reading")
        rows = staging / "rows"
        rows.mkdir()
        request = {"do": "import", "path": str(parcel.path), "plan": plan.to_json(), "folder": str(rows)}
        written = read(request, tell, job.stop, log=self.log)
        kept = self._keep(job, staging, source, before, tell) if parcel.kind == "path" else {}
        if job.stop.is_set():
            raise Cancelled
        return self._shelve(job, plan, licence, staging, source, written, kept)

    def _keep(
        self, job: Job, staging: Path, source: Mapping, before: tuple | None, tell: Callable[[dict], None]
    ) -> dict:
        """The original of what lies somewhere on this machine, as `original` in `staging`: the very bytes that were read."""
        parcel, folder = job.parcel, staging / originals.FOLDER
        folder.mkdir()
        name = f"file{_ending(parcel.name)}" if parcel.path.is_file() else "files"
        job.phase, job.progress, job.begun = _("Keeping the original"), {}, time.monotonic()
        kept = originals.keep(parcel.path, folder, name, lambda done: tell({"done": done}), job.stop)
        copied = kept["how"] == originals.COPIED
        request = {"do": "hash", "path": str(folder / name)}
        right = not copied or read(request, tell, job.stop, log=self.log)["sha256"] == source["sha256"]
        if not right or originals.signature(parcel.path) != before:
            what = _("{name} was changed while it was being read.", name=parcel.name)
            raise Refusal(what, do=_("Bring it again when nothing writes to it any more."))
        return kept

    def _same(self, source: Mapping, plan: Plan) -> Version | None:
        """The version that is there already when the same file is brought to be read the same way: the one in use where
        it only states another title or licence, else the newest of these."""
        hash = versions.hash_of(source, plan.to_json(), [])
        for slug in self.shelf.slugs():
            found = [version for version in self.shelf.versions(slug) if versions.as_read(version.manifest, hash)]
            if found:
                newest = self.shelf.about(slug).get("newest")
                return next((version for version in found if version.hash == newest), found[0])
        return None

    def _stated(self, same: Version, job: Job, licence: str, staging: Path) -> str:
        """What a person says anew of a file that is here takes effect; what was not touched says nothing."""
        parcel, now = job.parcel, stated(same, self.shelf.about(same.slug))
        said = {
            "title": (job.title, title_of(parcel.name)),
            "licence": (licence.strip(), parcel.about.get("licence", "")),
        }
        anew = {name: value for name, (value, default) in said.items() if value not in ("", default, now.get(name))}
        if not anew:
            return versions.use(self.shelf, same.name)
        request = {"do": "derive", "home": str(self.home), "name": same.name, "steps": [{"about": anew}],
                   "folder": str(staging)}  # fmt: skip
        return read(request, cancelled=job.stop, log=self.log)["name"]

    def _shelve(self, job: Job, plan: Plan, licence: str, staging: Path, source: Mapping, written: Mapping,
                kept: dict) -> str:  # fmt: skip
        parcel = job.parcel
        with self.lock:
            slug = self.shelf.new_slug(job.title if slug_of(job.title) != "data" else parcel.name)
            place = self.shelf.folder / slug
            place.mkdir(parents=True)
        original = place / originals.FOLDER
        if kept:
            os.rename(staging / originals.FOLDER, original)
        else:
            original.mkdir()
            file = original / f"file{'.parquet' if parcel.kind == 'hub' else _ending(parcel.name)}"
            os.rename(parcel.path, file)
            if os.name != "nt":  # Windows could not delete it any more
                file.chmod(0o444)
            kept = {"how": originals.MOVED, "file": file.name, **parcel.about}
        write_json(original / originals.ABOUT, {**source, **kept})
        about = {"title": job.title, "licence": licence.strip() or parcel.about.get("licence", ""),
                 "citation": parcel.about.get("citation", ""), "languages": written.get("languages", [])}  # fmt: skip
        self.shelf.write_about(slug, created=time.time())
        version = versions.add(self.shelf, slug, staging / "rows", source, plan.to_json(), [], written, about)
        self.forget(parcel.id)
        return version.name


class Incoming:
    """A file that is being received, hashed on its way to the disk. Left without `done`, it is gone."""

    def __init__(self, folder: Path, name: str, kind: str):
        self.folder, self.name, self.kind = folder, name, kind
        self.size, self.digest, self.parcel, self.file = 0, hashlib.sha256(), None, None

    def __enter__(self) -> Incoming:
        self.folder.mkdir(parents=True)
        self.file = (self.folder / "file").open("wb")
        return self

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > limits.IMPORT_BYTES:
            what = _("The file has more than {maximum} MB.", maximum=limits.IMPORT_BYTES // 2**20)
            raise Refusal(what, do=_("Put it into a folder of the server, and name its path."))
        self.digest.update(piece)
        self.file.write(piece)

    def done(self) -> Parcel:
        self.file.close()
        if not self.size:
            raise Refusal(_("The file is empty."), do=_("Give a file with data in it."))
        parcel = Parcel(
            self.folder.name, self.folder / "file", self.name, self.kind, self.size, self.digest.hexdigest()
        )
        return self.keep(parcel)

    def keep(self, parcel: Parcel) -> Parcel:
        write_json(self.folder / "parcel.json", {**vars(parcel), "path": str(parcel.path), "about": dict(parcel.about)})
        self.parcel = parcel
        return parcel

    def __exit__(self, *_error: object) -> None:
        self.file.close()
        if self.parcel is None:
            shutil.rmtree(self.folder, ignore_errors=True)


def shown_name(name: str) -> str:
    """A file's name for people: its last part, without signs that hide what it says or turn the reading round."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip()
    stem, dot, ending = shown.rpartition(".")
    if len(shown) > limits.TITLE_CHARACTERS:
        keep = limits.TITLE_CHARACTERS - len(ending) - 1
        shown = f"{stem[:keep]}.{ending}" if dot and len(ending) < 12 else shown[: limits.TITLE_CHARACTERS]
    return shown or "data"


def _ending(name: str) -> str:
    """That of the file's name where it is a usual one."""
    ending = name.rpartition(".")[2].lower()
    return f".{ending}" if ending.isascii() and ending.isalnum() and len(ending) <= 10 and "." in name else ""
