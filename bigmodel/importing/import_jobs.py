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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bigmodel.core import checked_json, files, limits
from bigmodel.core.checked_json import fields, is_count, is_object, is_text
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import Cancelled, Job
from bigmodel.core.safe_open import link_or_copy, refuse_hard_links
from bigmodel.core.words import Words, _
from bigmodel.data.sandbox import PREVIEW_SECONDS, run_in_sandbox
from bigmodel.importing.import_plan import FilePreview, ImportPlan, check_reading
from bigmodel.importing.store import originals, versions
from bigmodel.importing.store.registry import (
    DatasetRegistry,
    Version,
    default_title,
    licence_error,
    slugify,
    title_error,
    version_metadata,
    write_json,
)

ROOTS = "BIGMODEL_DATA_ROOTS"
INCOMING, STAGING_PREFIX = "incoming", "data-"  # in the home folder: what has come, and what is being made of it
IS_UPLOAD = fields(
    {"id": is_text, "path": is_text, "name": is_text, "kind": is_text},
    {"bytes": is_count, "sha256": is_text, "about": is_object},
)
RESERVED_BYTES = 16 * 2**20  # of an upload, between two looks at whether there is room for it
UPLOAD_TTL_SECONDS = 2 * 86400.0  # for which a file that was received waits to be taken in


@dataclass(frozen=True)
class UploadedFile:
    """A file that has come: where it lies, what it was called, how it came ('upload', 'paste', 'path', 'hub')."""

    id: str
    path: Path
    name: str
    kind: str
    bytes: int = 0
    sha256: str = ""  # '' where it has not been computed yet
    about: Mapping = field(default_factory=dict)  # of a Hub data set: url, revision, licence


class DatasetJob(Job[str]):
    """Makes a version of a data set in the home folder; the result is its name. total: rows or bytes, 0 as long as nobody
    knows how many.  progress: 'done' of them."""

    bug_words: tuple[Words, Words]  # what is said of a bug, and what to do

    def __init__(self, total: int):
        super().__init__()
        self.total = total

    @property
    def name(self) -> str:
        return self.result or ""

    @property
    def fraction_done(self) -> float:
        return min(self.progress.get("done", 0) / self.total, 1.0) if self.total else 0.0

    def begin(self, home: Path, work: Callable[[Path], str], ready: Callable[[str], None], wait: bool) -> None:
        """Start `work`, which gets a staging folder in the home folder; `ready` is told the name. wait: return when it
        has ended, however it did."""

        def staged() -> str:
            files.make_folder(home / INCOMING)
            with TemporaryDirectory(dir=home / INCOMING, prefix=STAGING_PREFIX, ignore_cleanup_errors=True) as staging:
                name = work(Path(staging))
                ready(name)
                return name

        self.start(staged, "bigmodel-import")
        if wait:
            self.finished.wait()

    def explain(self, error: BaseException) -> BaseException:
        if isinstance(error, OSError):
            what = _("The data could not be written: {reason}.", reason=error.strerror or str(error))
            return Refusal(what, do=_("See that there is room on the disk, and try again."))
        if isinstance(super().explain(error), Refusal):
            return error
        what, do = self.bug_words
        return Refusal(what, do=do)


class ImportJob(DatasetJob):
    """A file that is being read. progress: bytes done of `total`, rows, rejected rows."""

    bug_words = (
        _("Something went wrong in bigmodel itself while reading this file."),
        _("The log has the details: {file}.", file="imports.log"),
    )

    def __init__(self, upload: UploadedFile, title: str):
        super().__init__(upload.bytes)
        self.upload, self.title = upload, title
        self.phase: Words | None = None

    def enter(self, phase: Words) -> None:
        self.phase, self.progress, self.started_at = phase, {}, time.monotonic()

    def tell(self, progress: dict) -> None:
        self.progress, self.total = progress, progress.get("total", self.total)

    @property
    def eta(self) -> float | None:
        """Seconds that are left; None before there is anything to go by."""
        seconds = time.monotonic() - self.started_at
        return (
            seconds / self.fraction_done * (1 - self.fraction_done)
            if self.fraction_done > 0.02 and seconds > 1
            else None
        )


class ImportJobs:
    """All that is on its way. Thread-safe as far as several people bring files at one time."""

    def __init__(
        self,
        home: Path,
        ready: Callable[[str], None] = lambda name: None,
        refuse_read_only: Callable[[], None] = lambda: None,
    ):
        """`ready` is told the name of what has been read. `refuse_read_only` is called before anything is written."""
        self.home, self.registry, self.on_ready = home, DatasetRegistry(home), ready
        self._refuse_read_only = refuse_read_only
        self.folder = home / INCOMING / "parcels"
        self.log = home / "imports.log"
        self.jobs: dict[str, ImportJob] = {}
        self.lock = threading.Lock()
        self._arriving: dict[str, int] = {}  # upload that is being received -> its bytes, as announced or so far
        self._previews: dict[tuple[str, str], FilePreview] = {}

    def close(self) -> None:
        for job in list(self.jobs.values()):
            job.cancel()

    # -- received ------------------------------------------------------------------------------------
    def receive(self, name: str, pieces: Iterable[bytes], kind: str = "upload") -> UploadedFile:
        """A file from a browser. It lies under a name of ours; its own is only shown."""
        with self.open_upload(name, kind) as parcel:
            for piece in pieces:
                parcel.write(piece)
            return parcel.finish()

    def open_upload(self, name: str, kind: str = "upload", announced: int = 0) -> UploadWriter:
        """To write a file into that a browser sends: `with` it, `write` pieces, `finish` gives the file.
        announced: its bytes, as far as the browser says so; refused at once where there is no room for them."""
        self._refuse_read_only()
        self._delete_expired()
        refuse_too_large(announced)
        writer = UploadWriter(self.folder / secrets.token_hex(8), display_name(name), kind, self._reserve)
        if announced and announced > shutil.disk_usage(self.home).free:
            what = _("The disk has no room for this file of {megabytes} MB.", megabytes=announced // 2**20)
            raise Refusal(what, do=_("Free some space, then send it again."))
        self._reserve(writer.folder.name, announced)
        writer.reserved = announced
        return writer

    def _reserve(self, id: str, size: int) -> None:
        """Count an upload that has come to `size` bytes, 0 when it has ended, among all that wait."""
        with self.lock:
            self._arriving.pop(id, None)
            if not size:
                return
            waiting = sum(size for other, size in self._waiting_sizes() if other not in self._arriving and other != id)
            if waiting + sum(self._arriving.values()) + size > limits.WAITING_UPLOAD_BYTES:
                what = _("There is no room for this file: files that were sent and not taken in have {megabytes} MB.",
                         megabytes=waiting // 2**20)  # fmt: skip
                why = _("All together they may have {maximum} MB.", maximum=limits.WAITING_UPLOAD_BYTES // 2**20)
                do = _("Take them in, or wait: they are deleted after two days. Or name a file by its path.")
                raise Refusal(what, why, do)
            self._arriving[id] = size

    def _waiting_sizes(self) -> Iterator[tuple[str, int]]:
        for file in self.folder.glob("*/file"):
            with suppress(OSError):  # taken in at this moment
                yield file.parent.name, file.stat().st_size

    def paste(self, text: str | bytes) -> UploadedFile:
        if not text.strip():
            raise Refusal(_("There is no text."), do=_("Paste some rows."))
        data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        return self.receive("pasted.txt", [data], "paste")

    def add_path(self, path: str, trusted: bool = False) -> UploadedFile:
        """A file or folder on this machine, inside the folders that are allowed; it stays where it is.
        `trusted`: asked for by somebody who can read it anyway, at the terminal."""
        self._refuse_read_only()
        found = self._allowed_path(path, trusted)
        parcel = UploadWriter(self.folder / secrets.token_hex(8), display_name(found.name), "path")
        files.make_folder(parcel.folder, exist_ok=False)
        size = 0 if found.is_dir() else found.stat().st_size
        about = {"named": trusted and found.is_file()}
        return parcel.save(UploadedFile(parcel.folder.name, found, parcel.name, parcel.kind, size, about=about))

    def _allowed_path(self, path: str, trusted: bool) -> Path:
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
        if found.is_dir() or not trusted:
            refuse_hard_links(found, self._own_folders())
        return found

    def add_paths(self, paths: Sequence[str], trusted: bool = False) -> UploadedFile:
        """Several files of this machine as one folder, as if they lay together in it."""
        self._refuse_read_only()
        files = [self._allowed_path(path, trusted) for path in paths]
        if folder := next((file for file in files if file.is_dir()), None):
            what = _("{path} is a folder.", path=str(folder)[:300])
            raise Refusal(what, do=_("Give several files, or one folder."))
        return self._combine({file.name: file for file in files}, len(files))

    def combine_uploads(self, ids: Sequence[str]) -> UploadedFile:
        """Several files that have been received as one folder."""
        uploads = [self.uploaded_file(id) for id in ids]
        combined = self._combine({upload.name: _real_path(upload) for upload in uploads}, len(uploads))
        for id in ids:
            self.delete_upload(id)
        return combined

    def _combine(self, files: Mapping[str, Path], count: int) -> UploadedFile:
        """files: by name."""
        if len(files) < count:
            what = _("Several of these files have the same name: {names}.", names=", ".join(files)[:200])
            raise Refusal(what, do=_("Give them other names, or put them into one folder and give that."))
        shared = os.path.commonprefix(list(files)).strip(" ._-")  # noqa: RUF071  of names, not of paths
        writer = UploadWriter(self.folder / secrets.token_hex(8), display_name(shared or min(files)), "path")
        folder = writer.folder / "files"
        folder.mkdir(parents=True)
        for name, path in files.items():
            link_or_copy(path, folder / name)  # it is read there: nobody else can put another in its place
        return writer.save(UploadedFile(writer.folder.name, folder, writer.name, writer.kind))

    def _own_folders(self) -> list[Path]:
        """Where hard links to originals are."""
        return [self.folder, *self.registry.folder.glob(f"*/{originals.FOLDER}")]

    def _source(self, parcel: UploadedFile) -> dict:
        """What the sandbox is told of where a file lies, and of what it must not be led to: a file that a person has named
        at the terminal may have several names."""
        if parcel.kind != "path" or parcel.path.is_relative_to(self.folder):
            return {"path": str(parcel.path)}
        own_folders = [] if parcel.about.get("named") else [str(folder) for folder in self._own_folders()]
        return {"path": str(parcel.path), "nofollow": True, "own_folders": own_folders}

    def roots(self) -> list[Path]:
        """The folders that may be read: those of $BIGMODEL_DATA_ROOTS, and `inbox` in the home folder."""
        named = [Path(part).expanduser() for part in os.environ.get(ROOTS, "").split(os.pathsep) if part]
        return [root.resolve() for root in (*named, self.home / "inbox")]

    def _inside(self) -> Words:
        folders = ", ".join(str(root) for root in self.roots())
        return _("Name a file or folder inside {folders}; {variable} allows others.", folders=folders, variable=ROOTS)

    def hub_info(self, name: str, revision: str = "") -> dict:
        """What the Hub says of a data set now: id, revision, licence, card, configs {name: {split: rows}}, of which only
        the first is filled."""
        request = {"do": "hub", "what": "about", "id": name, "revision": revision}
        return run_in_sandbox(request, seconds=3 * PREVIEW_SECONDS, log=self.log)

    def hub_splits(self, about: Mapping, config: str) -> dict[str, int]:
        """The splits of a configuration, with their rows; 0 where nobody has counted them."""
        request = {"do": "hub", "what": "splits", "id": about["id"], "revision": about["revision"], "config": config}
        return about["configs"][config] or run_in_sandbox(request, seconds=3 * PREVIEW_SECONDS, log=self.log)["splits"]

    def add_hub_dataset(self, about: Mapping, config: str, splits: Sequence[str], most: int) -> UploadedFile:
        """At most `most` rows of each of some splits of a data set on the Hub, to be fetched when they are imported.
        about: what `hub_info` gave."""
        self._refuse_read_only()
        configs = {config: self.hub_splits(about, config)}
        about = {**about, "configs": configs, "config": config, "splits": list(splits), "most": most}
        parcel = UploadWriter(self.folder / secrets.token_hex(8), display_name(str(about["id"])), "hub")
        files.make_folder(parcel.folder, exist_ok=False)
        return parcel.save(UploadedFile(parcel.folder.name, parcel.folder / "file", parcel.name, "hub", about=about))

    def uploaded_file(self, id: str) -> UploadedFile:
        try:
            data = checked_json.read_object(self.folder / Path(id).name / "parcel.json", IS_UPLOAD)
            return UploadedFile(**data | {"path": Path(data["path"])})
        except (OSError, ValueError, TypeError, KeyError):
            what = _("This file is not here any more.")
            raise Refusal(
                what, _("Files that were not taken in are deleted after two days."), _("Bring it again.")
            ) from None

    def delete_upload(self, id: str) -> None:
        """A file that is not wanted after all."""
        shutil.rmtree(self.folder / Path(id).name, ignore_errors=True)

    def _delete_expired(self) -> None:
        """Let go of what nobody came back for, and of what a server that was killed left behind."""
        now = time.time()
        for path in (*self.folder.glob("*"), *self.folder.parent.glob(f"{STAGING_PREFIX}*")):
            try:
                if now - path.stat().st_mtime > UPLOAD_TTL_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            except FileNotFoundError:
                continue

    # -- looked at -----------------------------------------------------------------------------------
    def preview(self, id: str, corrected: Mapping | None = None) -> FilePreview:
        """What the file is, with the evidence. `corrected`: what a person has decided already."""
        check_reading({name: value for name, value in (corrected or {}).items() if name != "roles"})
        key = id, json.dumps(dict(corrected or {}), sort_keys=True)
        if key not in self._previews:
            parcel = self.uploaded_file(id)
            if parcel.kind == "hub":
                request = {"do": "hub", "what": "preview", "about": dict(parcel.about), "corrected": dict(corrected or {}),
                           "folder": str(parcel.path.parent)}  # fmt: skip
                seconds = 3 * PREVIEW_SECONDS
            else:
                request = {
                    "do": "look",
                    **self._source(parcel),
                    "name": parcel.name,
                    "corrected": dict(corrected or {}),
                }
                seconds = PREVIEW_SECONDS
            found = FilePreview.from_json(run_in_sandbox(request, seconds=seconds, log=self.log))
            with self.lock:
                if len(self._previews) > 50:
                    self._previews.clear()
                self._previews[key] = found
        return self._previews[key]

    def parse_repairs(self, dataset: str, id: str) -> dict:
        """What a table says of rows that were rejected from a version: {"mends", "left", "reasons"}
        (bigmodel/importing/store/repair_rows.py)."""
        parcel = self.uploaded_file(id)
        request = {"do": "mended", **self._source(parcel), "name": parcel.name, "home": str(self.home),
                   "dataset": self.registry.version(dataset).name}  # fmt: skip
        return run_in_sandbox(request, log=self.log)

    def check_original(self, dataset: str) -> bool:
        """Whether the file that a data set was made of is what it was; reads all of it."""
        found = originals.find(self.registry.folder / self.registry.version(dataset).slug)
        if found is None or found.path is None or not found.path.exists():
            what = _("The original is not there any more: {path}.", path=str(found.path if found else None))
            raise Refusal(what, do=_("The rows that were taken in are not touched by that. Keep a copy of your own."))
        return run_in_sandbox({"do": "hash", "path": str(found.path)}, log=self.log)["sha256"] == found.sha256

    # -- taken in ------------------------------------------------------------------------------------
    def begin(
        self, id: str, plan: ImportPlan | Mapping, title: str = "", licence: str = "", wait: bool = False
    ) -> ImportJob:
        """Start to read a file into a data set. The same parcel twice at one time is one job."""
        self._refuse_read_only()
        plan = ImportPlan.check(plan.to_json() if isinstance(plan, ImportPlan) else plan)
        parcel = self.uploaded_file(id)
        title = title.strip() or default_title(parcel.name)
        wrong = title_error(title)
        if wrong is not None:
            raise Refusal(_("This title will not do."), do=wrong, field="title")
        wrong = licence_error(licence)
        if wrong is not None:
            raise Refusal(_("This licence will not do."), do=wrong, field="licence")
        with self.lock:
            running = next((job for job in self.jobs.values() if job.upload.id == id and job.running), None)
            if running is not None:
                return running
            if sum(job.running for job in self.jobs.values()) >= limits.CONCURRENT_IMPORTS:
                what = _("{count} files are being read already.", count=limits.CONCURRENT_IMPORTS)
                raise Refusal(what, do=_("Wait until one is done."))
            job = ImportJob(parcel, title)
            self.jobs[job.id] = job
        job.begin(self.home, lambda staging: self._import(job, plan, licence, staging), self.on_ready, wait)
        return job

    def job_of(self, upload: str) -> ImportJob | None:
        """The newest import of an uploaded file."""
        return next((job for job in reversed(self.jobs.values()) if job.upload.id == upload), None)

    def running(self) -> list[ImportJob]:
        return [job for job in list(self.jobs.values()) if job.running]

    def cancel(self, upload: str) -> None:
        job = self.job_of(upload)
        if job is not None:
            job.cancel()

    def _import(self, job: ImportJob, plan: ImportPlan, licence: str, staging: Path) -> str:
        parcel = job.upload
        before = originals.signature(parcel.path) if parcel.kind == "path" else None
        if parcel.kind == "hub":
            job.enter(_("Fetching"))
            request = {"do": "hub", "what": "fetch", "about": dict(parcel.about), "folder": str(parcel.path.parent)}
            fetched = run_in_sandbox(request, job.tell, job.stop, log=self.log)
            source = {**fetched, "revision": parcel.about["revision"]}
            plan = ImportPlan.check(plan.to_json() | {"format": "parquet"})
            job.total = fetched["bytes"]
        elif parcel.sha256:
            source = {"sha256": parcel.sha256, "bytes": parcel.bytes}
        else:
            job.enter(_("Computing the file's hash"))
            source = run_in_sandbox({"do": "hash", **self._source(parcel)}, job.tell, job.stop, log=self.log)
            job.total = source["bytes"]
        source |= {"kind": parcel.kind, "name": parcel.name, "url": parcel.about.get("url", "")}
        same = self._find_existing(source, plan)
        if same is not None:
            return self._update_metadata(same, job, licence, staging)
        job.enter(_("Reading"))
        rows = staging / "rows"
        rows.mkdir()
        request = {"do": "import", **self._source(parcel), "plan": plan.to_json(), "folder": str(rows)}
        written = run_in_sandbox(request, job.tell, job.stop, log=self.log)
        kept = self._keep_original(job, staging, source, before) if parcel.kind == "path" else {}
        if job.stop.is_set():
            raise Cancelled
        return self._register(job, plan, licence, staging, source, written, kept)

    def _keep_original(self, job: ImportJob, staging: Path, source: Mapping, before: tuple | None) -> dict:
        """The original of what lies somewhere on this machine, as `original` in `staging`: the very bytes that were read."""
        parcel, folder = job.upload, staging / originals.FOLDER
        folder.mkdir()
        name = f"file{_extension(parcel.name)}" if parcel.path.is_file() else "files"
        job.enter(_("Keeping the original"))
        kept = originals.keep(parcel.path, folder, name, lambda done: job.tell({"done": done}), job.stop)
        copied = kept["how"] == originals.COPIED
        request = {"do": "hash", "path": str(folder / name)}
        right = not copied or run_in_sandbox(request, job.tell, job.stop, log=self.log)["sha256"] == source["sha256"]
        if not right or originals.signature(parcel.path) != before:
            what = _("{name} was changed while it was being read.", name=parcel.name)
            raise Refusal(what, do=_("Bring it again when nothing writes to it any more."))
        return kept

    def _find_existing(self, source: Mapping, plan: ImportPlan) -> Version | None:
        """The version that is there already when the same file is brought to be read the same way: the one in use where
        it only states another title or licence, else the newest of these."""
        hash = versions.version_hash(source, plan.to_json(), [])
        for slug in self.registry.slugs():
            found = [
                version for version in self.registry.versions(slug) if versions.is_unmodified(version.manifest, hash)
            ]
            if found:
                newest = self.registry.about(slug).get("newest")
                return next((version for version in found if version.hash == newest), found[0])
        return None

    def _update_metadata(self, same: Version, job: ImportJob, licence: str, staging: Path) -> str:
        """What a person says anew of a file that is here takes effect; what was not touched says nothing."""
        parcel, now = job.upload, version_metadata(same, self.registry.about(same.slug))
        said = {
            "title": (job.title, default_title(parcel.name)),
            "licence": (licence.strip(), parcel.about.get("licence", "")),
        }
        anew = {name: value for name, (value, default) in said.items() if value not in ("", default, now.get(name))}
        if not anew:
            return versions.set_newest(self.registry, same.name)
        request = {"do": "derive", "home": str(self.home), "name": same.name, "steps": [{"about": anew}],
                   "folder": str(staging)}  # fmt: skip
        return run_in_sandbox(request, cancelled=job.stop, log=self.log)["name"]

    def _register(self, job: ImportJob, plan: ImportPlan, licence: str, staging: Path, source: Mapping, written: Mapping,
                kept: dict) -> str:  # fmt: skip
        parcel = job.upload
        with self.lock:
            slug = self.registry.new_slug(job.title if slugify(job.title) != "data" else parcel.name)
            place = self.registry.folder / slug
            files.make_folder(place, exist_ok=False)
        original = place / originals.FOLDER
        if kept:
            os.rename(staging / originals.FOLDER, original)
        else:
            original.mkdir()
            file = original / f"file{'.parquet' if parcel.kind == 'hub' else _extension(parcel.name)}"
            os.rename(parcel.path, file)
            if os.name != "nt":  # Windows could not delete it any more
                file.chmod(0o444)
            kept = {"how": originals.MOVED, "file": file.name, **parcel.about}
        write_json(original / originals.ABOUT, {**source, **kept})
        about = {"title": job.title, "licence": licence.strip() or parcel.about.get("licence", ""),
                 "citation": parcel.about.get("citation", ""), "languages": written.get("languages", [])}  # fmt: skip
        self.registry.write_about(slug, created=time.time())
        version = versions.add(self.registry, slug, staging / "rows", source, plan.to_json(), [], written, about)
        self.delete_upload(parcel.id)
        return version.name


class UploadWriter:
    """A file that is being received, hashed on its way to the disk. Left without `done`, it is gone."""

    def __init__(self, folder: Path, name: str, kind: str, reserve: Callable[[str, int], None] = lambda id, size: None):
        """reserve: is told of each RESERVED_BYTES more than was announced, and of the end; raises Refusal for too many."""
        self.folder, self.name, self.kind, self.reserve = folder, name, kind, reserve
        self.reserved = 0  # bytes that were announced, or reserved so far
        self.size, self.digest, self.uploaded_file, self.file = 0, hashlib.sha256(), None, None

    def __enter__(self) -> UploadWriter:
        files.make_folder(self.folder, exist_ok=False)
        self.file = (self.folder / "file").open("wb")
        return self

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        refuse_too_large(self.size)
        if self.size > self.reserved:
            self.reserved = self.size + RESERVED_BYTES
            self.reserve(self.folder.name, self.reserved)
        self.digest.update(piece)
        self.file.write(piece)

    def finish(self) -> UploadedFile:
        self.file.close()
        if not self.size:
            raise Refusal(_("The file is empty."), do=_("Give a file with data in it."))
        parcel = UploadedFile(
            self.folder.name, self.folder / "file", self.name, self.kind, self.size, self.digest.hexdigest()
        )
        return self.save(parcel)

    def save(self, parcel: UploadedFile) -> UploadedFile:
        write_json(self.folder / "parcel.json", {**vars(parcel), "path": str(parcel.path), "about": dict(parcel.about)})
        self.uploaded_file = parcel
        return parcel

    def __exit__(self, *_error: object) -> None:
        self.file.close()
        self.reserve(self.folder.name, 0)
        if self.uploaded_file is None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _real_path(upload: UploadedFile) -> Path:
    """Without links, of which the way to a home folder may have some; what lies elsewhere was resolved when it was checked."""
    return upload.path if upload.kind == "path" else upload.path.resolve()


def refuse_too_large(size: int) -> None:
    if size > limits.IMPORT_BYTES:
        what = _("The file has more than {maximum} MB.", maximum=limits.IMPORT_BYTES // 2**20)
        raise Refusal(what, do=_("Put it into a folder of the server, and name its path."))


def display_name(name: str) -> str:
    """A file's name for people: its last part, without signs that hide what it says or turn the reading round."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip()
    stem, dot, ending = shown.rpartition(".")
    if len(shown) > limits.TITLE_CHARACTERS:
        keep = limits.TITLE_CHARACTERS - len(ending) - 1
        shown = f"{stem[:keep]}.{ending}" if dot and len(ending) < 12 else shown[: limits.TITLE_CHARACTERS]
    return shown or "data"


def _extension(name: str) -> str:
    """That of the file's name where it is a usual one."""
    ending = name.rpartition(".")[2].lower()
    return f".{ending}" if ending.isascii() and ending.isalnum() and len(ending) <= 10 and "." in name else ""
