"""The process in which strangers' files are read: `python -m bigmodel.importing.sandbox_worker`, a request as JSON on stdin.

Requests  {"do": "look", "path", "name", "corrected"} | {"do": "import", "path", "plan", "folder"}
          | {"do": "hash", "path"} | {"do": "count", "path", "plan"} | {"do": "hub", ...} (bigmodel/importing/hub_datasets.py)
          | {"do": "mended", "path", "name", "home", "dataset"} (bigmodel/importing/store/repair_rows.py)
          | {"do": "derive", "home", "name", "steps", "folder"} | {"do": "index", "path", "kinds", "folder"}
          | {"do": "search", "path", "columns", "search", "most"}
Replies, a JSON line each, on stdout: {"progress": {...}} ... {"result": ...} | {"error": refusal}
It bounds its memory and its computing itself; its time is bounded by whoever started it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bigmodel.core import child_process, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import enter_source, list_files, open_source
from bigmodel.core.words import _
from bigmodel.data.sandbox import cpu_seconds, memory_refusal

PROGRESS_SECONDS = 0.3


def main() -> int:
    return child_process.serve(_handle_request, _explain)


def _handle_request(request: dict, replies: child_process.Replies) -> dict:
    child_process.limit_memory(limits.CHILD_BYTES, lambda: replies(error=memory_refusal().to_json()))
    child_process.limit_work(cpu_seconds(_source_bytes(request)), limits.UNPACKED_BYTES)
    if "path" in request:
        own_folders = [Path(folder) for folder in request.get("own_folders", ())]
        path = enter_source(Path(request["path"]), request.get("nofollow", False), own_folders)
        request = request | {"path": str(path)}
    return HANDLERS[request["do"]](request, replies.progress)


def _explain(error: Exception) -> Refusal:
    """Of what is no fault of ours; that ends the process, with its traceback in the log."""
    if child_process.is_out_of_memory(error):
        return memory_refusal()
    if not isinstance(error, OSError) or error.errno is None:
        raise error
    what = _("The system says: {reason}.", reason=error.strerror or str(error))
    return Refusal(_("The file cannot be read or written."), what)


def _source_bytes(request: dict) -> int:
    """Of a file or folder that people have brought; unbounded where the request names none."""
    if "path" not in request:
        return sys.maxsize
    path = Path(request["path"])
    return sum(file.stat().st_size for file in ([path] if path.is_file() else list_files(path)))


# -- what is done ------------------------------------------------------------------------------------------
def preview(request: dict, tell: Callable) -> dict:
    from bigmodel.importing.preview import preview_file

    return preview_file(Path(request["path"]), request["name"], request.get("corrected")).to_json()


def import_rows(request: dict, tell: Callable) -> dict:
    """The rows and what is set aside, in the folder that was named; what was written, with the source's hash."""
    from bigmodel.importing.formats import whole_text
    from bigmodel.importing.formats.readers import records
    from bigmodel.importing.import_plan import ImportPlan, output_columns
    from bigmodel.importing.store import parquet_writer
    from bigmodel.importing.to_rows import rows

    plan, path, folder = ImportPlan.check(request["plan"]), Path(request["path"]), Path(request["folder"])
    done, counts = [0], parquet_writer.ImportCounts(source_bytes=_source_bytes(request))
    stop = _report_progress(lambda: tell(done=done[0], rows=counts.rows, aside=counts.rejected))
    kinds = output_columns(plan.roles)
    made, shares = rows(records(path, plan, done), plan, counts.left_out), (plan.validation, plan.test)
    if plan.continuous:
        counted = whole_text.count_characters(rows(records(path, plan, [0]), plan))
        made = whole_text.split_by_place(made, counted, shares)
    written = parquet_writer.write(made, folder, kinds, shares, counts)
    stop()
    return written | {"left_out": dict(counts.left_out), "languages": detect_languages(folder / "rows.parquet", kinds)}


def count(request: dict, tell: Callable) -> dict:
    """How many rows a file has, whatever they are worth."""
    from bigmodel.importing.formats.bad_record import BadRecord
    from bigmodel.importing.formats.readers import records
    from bigmodel.importing.import_plan import ImportPlan

    found = records(Path(request["path"]), ImportPlan.check(request["plan"]), [0])
    return {"count": sum(one.count if type(one) is BadRecord else 1 for one in found)}


def hash_source(request: dict, tell: Callable) -> dict:
    """SHA-256 and size of a file or of all files of a folder."""
    from bigmodel.importing.store.parquet_writer import sha256

    path, done = Path(request["path"]), [0]
    stop = _report_progress(lambda: tell(done=done[0]))
    if path.is_dir():
        import hashlib

        digest = hashlib.sha256()
        for one in list_files(path):
            name = one.relative_to(path).as_posix()
            digest.update(f"{name}\0{sha256(one, done, open_source)}\n".encode("utf-8", "surrogateescape"))
        found = digest.hexdigest()
    else:
        found = sha256(path, done, open_source)
    stop()
    return {"sha256": found, "bytes": done[0]}


def detect_languages(path: Path, kinds: dict) -> list[str]:
    """By the script of the first texts: Chinese where it is Chinese; Latin letters say too little."""
    import pyarrow.parquet as parquet

    found: dict[str, None] = {}
    names = [name for name, kind in kinds.items() if kind == "text"]
    if not names:
        return []
    batch = next(parquet.ParquetFile(path).iter_batches(300, columns=names, use_threads=False))
    for name in names:
        joined = "".join(text[:300] for text in batch[name].to_pylist())
        letters = sum(sign.isalpha() for sign in joined) or 1
        kana = sum("\u3040" <= sign <= "\u30ff" for sign in joined)
        han = sum("\u4e00" <= sign <= "\u9fff" for sign in joined)
        if han > 0.3 * letters and kana < 0.05 * letters:
            found["zh"] = None
    return list(found)


def _report_progress(tell: Callable[[], None]) -> Callable[[], None]:
    """Call `tell` now and then from beside, until the function that comes back is called."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(PROGRESS_SECONDS):
            tell()

    threading.Thread(target=run, daemon=True).start()

    def stop() -> None:
        over.set()
        tell()

    return stop


def hub_request(request: dict, tell: Callable) -> dict:
    from bigmodel.importing import hub_datasets

    return hub_datasets.HANDLERS[request["what"]](request, tell)


def derive(request: dict, tell: Callable) -> dict:
    from bigmodel.importing.store import versions

    done = [0]
    stop = _report_progress(lambda: tell(done=done[0]))
    name = versions.derive(Path(request["home"]), request["name"], request["steps"], Path(request["folder"]), done)
    stop()
    return {"name": name}


def read_repairs(request: dict, tell: Callable) -> dict:
    from bigmodel.importing.store import repair_rows
    from bigmodel.importing.store.registry import DatasetRegistry

    version = DatasetRegistry(Path(request["home"])).version(request["dataset"])
    return repair_rows.parse_repairs(Path(request["path"]), request["name"], version)


def build_index(request: dict, tell: Callable) -> dict:
    from bigmodel.data import row_index

    row_index.build(Path(request["path"]), request["kinds"], Path(request["folder"]))
    return {}


def search(request: dict, tell: Callable) -> dict:
    from bigmodel.data.browse import search_file

    return search_file(Path(request["path"]), request["columns"], request["search"], request["most"], tell)


HANDLERS = {"look": preview, "import": import_rows, "hash": hash_source, "count": count, "hub": hub_request, "derive": derive, "mended": read_repairs,
      "index": build_index, "search": search}  # fmt: skip

if __name__ == "__main__":
    child_process.exit_process(main())
