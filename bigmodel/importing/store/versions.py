"""New versions of a data set: written whole or not at all, named by a hash of the source and of the steps applied.

A step is JSON, so that it can be kept, shown and applied again:

    {"drop": [row, ...]}                        rows left out
    {"edit": {row: {column: value}}}            cells with another content
    {"split": {row: "train" | ...}}             rows moved to another part
    {"mend": {row: {column: value, ...}}}       rows that had been set aside, taken in with these values: those of the
                                                data's columns, or of the roles that the file's columns play; of a
                                                picture, which was kept, its class
    {"about": {"title": ..., "licence": ...}}   another title or licence stated for the same rows
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from bigmodel.core import catalog, files
from bigmodel.core.errors import Refusal
from bigmodel.core.files import link_or_copy
from bigmodel.core.words import _
from bigmodel.importing import to_rows as reading
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.import_plan import OPTIONAL_ROLES, ROLE_KINDS, ImportPlan, output_columns
from bigmodel.importing.store import rejected_rows
from bigmodel.importing.store.parquet_writer import (
    BATCH_PICTURES,
    SPLIT_NAMES,
    ZSTD_LEVEL,
    count_splits,
    sha256,
)
from bigmodel.importing.store.registry import (
    FORMAT_VERSION,
    HASH_DIGITS,
    DatasetRegistry,
    Version,
    licence_error,
    slugify,
    title_error,
    version_metadata,
    write_json,
)

STEP_KINDS = ("drop", "edit", "split", "mend", "about")


def version_hash(source: Mapping, plan: Mapping, steps: Sequence[Mapping]) -> str:
    """The same steps on the same source, the same hash; where it came from and what it is called do not matter."""
    parts = [FORMAT_VERSION, source["sha256"], dict(plan), list(steps)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_unmodified(manifest: Mapping, hash: str) -> bool:
    """Whether a version has the rows of the file of this hash, as they were read."""
    same = version_hash(manifest["source"], manifest["plan"], []) == hash
    return same and all("about" in step for step in manifest["steps"])


def add(shelf: DatasetRegistry, slug: str, staging: Path, source: Mapping, plan: Mapping, steps: Sequence[Mapping],
        written: Mapping, about: Mapping, parent: str = "") -> Version:  # fmt: skip
    """Put what lies in `staging` on the shelf. What is there already under this hash is kept: it is the same.
    about: what is stated of it, such as its licence. parent: the version that it was made from."""
    hash = version_hash(source, plan, steps)
    folder = shelf.folder / slug / "versions" / hash[:HASH_DIGITS]
    if not (folder / "manifest.json").exists():
        manifest = {
            "format": FORMAT_VERSION,
            "hash": hash,
            "number": 1 + max((version.manifest["number"] for version in shelf.versions(slug)), default=0),
            "created": time.time(),
            "source": dict(source),
            "about": dict(about),
            "plan": dict(plan),
            "steps": list(steps),
            "parent": parent,
            "columns": _columns(plan, written["names"]),
            "rows": written["rows"],
            "aside": written["aside"],
            **({"left_out": written["left_out"]} if written.get("left_out") else {}),
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(staging.iterdir())
            },
        }
        write_json(staging / "manifest.json", manifest)
        for path in staging.iterdir() if os.name != "nt" else ():  # Windows could not delete them any more
            path.chmod(0o444)
        files.make_folder(folder.parent)
        os.rename(staging, folder)
    found = DatasetRegistry(shelf.home).versions(slug)
    version = next(one for one in found if one.folder == folder)
    if version.manifest["hash"] != hash:
        raise RuntimeError(f"two versions share the name {version.name}")
    shelf.write_about(slug, newest=version.hash)
    return version


def _columns(plan: Mapping, names: Sequence[str]) -> dict:
    """Of the rows, each with the columns of the file that it comes from."""
    roles = plan["roles"]
    return {
        name: {
            "kind": kind,
            "from": roles[name] if len(roles) == 1 or name != "messages" else ", ".join(roles.values()),
        }
        | ({"names": list(names)} if kind == "class" else {})
        for name, kind in output_columns(roles).items()
    }


def set_newest(shelf: DatasetRegistry, name: str) -> str:
    """Let an older version be the newest again: how a step is taken back."""
    version = shelf.version(name)
    shelf.write_about(version.slug, newest=version.hash)
    return version.name


# -- steps -----------------------------------------------------------------------------------------------
def derive(home: Path, name: str, steps: Sequence[Mapping], staging: Path, done: list[int] | None = None) -> str:
    """A new version of a data set with these steps applied; its name. The old one stays as it is. Of a data set that
    ships, an own copy is made first. `staging`: an empty folder in the home folder; `done[0]` follows how many rows are
    through. Reads all rows: for the reading process (bigmodel/importing/store/version_jobs.py)."""
    shelf = DatasetRegistry(home)
    steps = [check_step(step) for step in steps]
    shipped = name not in shelf and name in catalog.datasets()
    version = _copy_shipped(shelf, name, staging / "copy") if shipped else shelf.version(name)
    rows = _make_folder(staging / "rows")
    about = dict(version_metadata(version, shelf.about(version.slug)))
    for step in steps:
        about |= step.get("about", {})
    only_stated = all("about" in step for step in steps)
    written = _link_rows(version, rows) if only_stated else _apply(version, steps, rows, done or [0])
    manifest = version.manifest
    steps = [*manifest["steps"], *steps]
    return add(
        shelf, version.slug, rows, manifest["source"], manifest["plan"], steps, written, about, version.name
    ).name


def _link_rows(version: Version, folder: Path) -> dict:
    """The same rows under a second name: neither version will ever be written into."""
    manifest = version.manifest
    for name in manifest["files"]:
        link_or_copy(version.folder / name, folder / name)
    names = next((column["names"] for column in manifest["columns"].values() if column["kind"] == "class"), [])
    return {"rows": manifest["rows"], "aside": manifest["aside"], "names": names}


def _make_folder(folder: Path) -> Path:
    files.make_folder(folder, exist_ok=False)
    return folder


def check_step(step: object) -> dict:
    """The step with rows as JSON keeps them; Refusal where it is none."""
    right = isinstance(step, Mapping) and len(step) == 1 and next(iter(step)) in STEP_KINDS
    try:
        ((kind, what),) = step.items() if right else (("", None),)
        if kind == "drop":
            return {"drop": sorted({int(row) for row in what})}
        if kind == "about" and what and set(what) <= {"title", "licence"}:
            return {"about": _check_metadata(dict(what))}
        if kind == "split" and set(what.values()) <= set(SPLIT_NAMES):
            return {"split": {str(int(row)): split for row, split in sorted(what.items(), key=lambda one: int(one[0]))}}
        if kind in ("edit", "mend") and all(isinstance(cells, Mapping) and cells for cells in what.values()):
            return {
                kind: {str(int(row)): dict(cells) for row, cells in sorted(what.items(), key=lambda one: int(one[0]))}
            }
    except (TypeError, ValueError, AttributeError):
        pass
    what = _("This is no step that a version can be made with: {step}.", step=str(step)[:100])
    raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(STEP_KINDS)), field="steps")


def _check_metadata(what: Mapping) -> dict:
    """A title and a licence in the words of a person, checked."""
    wrong = {"title": title_error, "licence": licence_error}
    for name, value in what.items():
        words = wrong[name](value)
        if words is not None:
            raise Refusal(_("{name} cannot be {value}.", name=name, value=str(value)[:60]), do=words, field=name)
    return {name: value.strip() for name, value in sorted(what.items())}


def _apply(version: Version, steps: Sequence[Mapping], staging: Path, done: list[int]) -> dict:
    """The rows of a version after these steps, in a folder."""
    import pyarrow
    import pyarrow.parquet as parquet

    columns = version.manifest["columns"]
    label = next((name for name, column in columns.items() if column["kind"] == "class"), "")
    dropped, edits, splits, mends = _merge_steps(steps, version, columns)
    names: list[str] = list(columns[label]["names"]) if label else []
    file = parquet.ParquetFile(version.folder / "rows.parquet")
    _refuse_unknown_rows({*dropped, *edits, *splits}, file)
    order, place = _classes(file, label, names, dropped, edits, mends)
    form = file.schema_arrow
    target = staging / "rows.parquet"
    with parquet.ParquetWriter(target, form, compression="zstd", compression_level=ZSTD_LEVEL,
                               use_dictionary=[label, "split"] if label else ["split"]) as writer:  # fmt: skip
        for batch in file.iter_batches(BATCH_PICTURES if "image" in columns else 10_000, use_threads=False):
            writer.write_batch(_edit_batch(batch, form, label, names, place, dropped, edits, splits))
            done[0] += len(batch)
        taken = _rows_to_add(version, mends)
        while rows := list(islice(taken, BATCH_PICTURES)):
            stored = [row | _class_number(row, label, place) for row in rows]
            writer.write_batch(pyarrow.RecordBatch.from_pylist(stored, form))
    file.close()
    counted = count_splits(target)
    if not all(counted.values()):
        empty = ", ".join(split for split, count in counted.items() if not count)
        what = _("After this step no rows would be left for: {parts}.", parts=empty)
        raise Refusal(what, do=_("Keep at least one row in each part."), field="steps")
    return {"rows": counted, "aside": rejected_rows.copy_remaining(version, set(mends), staging), "names": order}


def _merge_steps(steps: Sequence[Mapping], version: Version, columns: Mapping) -> tuple:
    """All steps as one: what is dropped, edited, moved, taken in. Values are checked as when the file was read."""
    dropped: set[int] = set()
    edits: dict[int, dict] = {}
    splits: dict[int, str] = {}
    mends: dict[int, dict] = {}
    for step in steps:
        ((kind, what),) = step.items()
        if kind == "drop":
            dropped |= set(what)
        elif kind == "about":
            continue
        elif kind == "split":
            splits |= {int(row): split for row, split in what.items()}
        else:
            for row, cells in what.items():
                if kind == "edit":
                    edits.setdefault(int(row), {}).update(_parse_cells(cells, columns))
                else:
                    mends[int(row)] = _repaired_row(row, cells, version) | {"split": "train"}
    _refuse_not_rejected(set(mends), version)
    return dropped, edits, splits, mends


def _repaired_row(row: str, cells: Mapping, version: Version) -> dict:
    """The row that cells make which a person has given for one that was set aside, checked as when the file was read."""
    columns, roles = version.manifest["columns"], version.manifest["plan"]["roles"]
    if "image" in columns:
        roles = columns = [name for name in columns if name != "image"]  # it is kept, and cannot be given
    names = roles if set(cells) <= set(roles) else columns
    needed = set(names) - {further for role in roles for further in OPTIONAL_ROLES.get(role, ())}
    _refuse_other_columns(set(cells) - set(names) | needed - set(cells), names)
    if names is not roles:
        return _parse_cells(cells, columns)
    try:
        return reading.repaired_row(cells, roles)
    except reading.InvalidValue as unfit:
        what = _("The row {row} cannot be taken in.", row=row)
        raise Refusal(what, unfit.reason, _("Give another value, or leave the row set aside."), "steps") from None


def _refuse_other_columns(wrong: set[str], names: Iterable[str]) -> None:
    if wrong:
        what = _("These are not the columns of the data: {names}.", names=", ".join(sorted(wrong))[:200])
        raise Refusal(what, do=_("Give: {options}.", options=", ".join(names)), field="steps")


def _parse_cells(cells: Mapping, columns: Mapping) -> dict:
    """Cells by column, in their proper types; Refusal for a column that is not there or a value that will not do."""
    _refuse_other_columns(set(cells) - set(columns), columns)
    values = {}
    for column, value in cells.items():
        if ROLE_KINDS[column] == "image":
            raise Refusal(_("A picture cannot be edited here."), do=_("Drop the row instead."), field="steps")
        try:
            values[column] = reading.EDIT_PARSERS[column](value, column)
        except reading.InvalidValue as unfit:
            raise Refusal(unfit.reason, do=_("Give another value, or drop the row."), field="steps") from None
    return values


def _refuse_unknown_rows(rows: set[int], file) -> None:
    """Rows are named by numbers that the version has."""
    left = set(rows)
    for batch in file.iter_batches(100_000, columns=["row"], use_threads=False):
        if not left:
            return
        left.difference_update(batch["row"].to_pylist())
    if left:
        numbers = ", ".join(str(row) for row in sorted(left)[:10])
        raise Refusal(_("There is no row {rows}.", rows=numbers), do=_("Name rows of this version."), field="steps")


def _refuse_not_rejected(rows: set[int], version: Version) -> None:
    left, there = set(rows), set()
    for one in rejected_rows.entries(version) if rows else ():
        there |= {row for row in left if one["row"] <= row < one["row"] + one["count"]}
        left -= rejected_rows.rows_in_entry(one, left, version)
    if left:
        numbers = ", ".join(str(row) for row in sorted(left)[:10])
        if left <= there:
            what = _("The row {row} cannot be taken in.", row=numbers)
            raise Refusal(what, rejected_rows.IMAGE_NOT_KEPT, _("Leave it set aside."), "steps")
        what = _("The row {rows} has not been set aside.", rows=numbers)
        raise Refusal(what, do=_("Name rows that have been set aside."), field="steps")


def _classes(file, label: str, names: list[str], dropped: set, edits: Mapping, mends: Mapping) -> tuple[list, dict]:
    """The classes that are left, in order, and the number of each: one that has no row any more goes."""
    if not label:
        return [], {}
    used: set[str] = {cells[label] for cells in mends.values()}
    for batch in file.iter_batches(100_000, columns=["row", label], use_threads=False):
        for row, number in zip(batch["row"].to_pylist(), batch[label].to_pylist(), strict=True):
            if row not in dropped:
                used.add(edits[row][label] if row in edits and label in edits[row] else names[number])
    order = sorted(used, key=natural_key)
    return order, {name: index for index, name in enumerate(order)}


def _edit_batch(batch, form, label: str, names: Sequence[str], place: Mapping, dropped: set, edits: Mapping,
             splits: Mapping):  # fmt: skip
    """A batch after the steps."""
    import pyarrow
    import pyarrow.compute as compute

    numbers = batch["row"].to_pylist()
    columns = {name: batch[name] for name in form.names}
    if label:
        columns[label] = pyarrow.array(
            [
                place.get(edits.get(row, {}).get(label, names[number]))
                for row, number in zip(numbers, batch[label].to_pylist(), strict=True)
            ],
            pyarrow.int64(),
        )
    for name in form.names:
        if name in (label, "row") or ROLE_KINDS.get(name) == "image":
            continue
        new = {row: splits[row] for row in numbers if row in splits} if name == "split" else {
            row: edits[row][name] for row in numbers if row in edits and name in edits[row]
        }  # fmt: skip
        if new:
            values = columns[name].to_pylist()
            values = [new.get(row, value) for row, value in zip(numbers, values, strict=True)]
            columns[name] = pyarrow.array(values, form.field(name).type)
    result = pyarrow.RecordBatch.from_pydict(columns, form)
    if dropped.intersection(numbers):
        kept = compute.invert(compute.is_in(batch["row"], value_set=pyarrow.array(sorted(dropped), pyarrow.int64())))
        result = result.filter(kept)
    return result


def _rows_to_add(version: Version, mends: Mapping[int, Mapping]) -> Iterator[dict]:
    """The rows that were mended, as they are written; pictures one by one, as they may be more than the memory holds."""
    if "image" not in version.manifest["columns"]:
        yield from ({"row": row, **cells} for row, cells in mends.items())
        return
    for row, picture in rejected_rows.pictures(version, mends):
        yield {"row": row, "image": {"bytes": picture, "path": None}, **mends[row]}


def _class_number(row: Mapping, label: str, place: Mapping) -> dict:
    return {label: place[row[label]]} if label else {}


# -- of what ships ----------------------------------------------------------------------------------------
def _copy_shipped(shelf: DatasetRegistry, name: str, staging: Path) -> Version:
    """An own copy of a data set that ships, made once, so that steps have rows with numbers to name."""
    import pyarrow
    import pyarrow.parquet as parquet

    shipped = catalog.datasets()[name]
    source = {"kind": "shipped", "name": f"{name}.parquet", "sha256": shipped.fingerprint(),
              "bytes": shipped.path().stat().st_size, "url": shipped.facts.source}  # fmt: skip
    roles = {role: role for role in ROLE_KINDS if role in shipped.columns}
    plan = ImportPlan("parquet", roles, split="split").to_json()
    hash = version_hash(source, plan, [])
    for slug in shelf.slugs():
        for version in shelf.versions(slug):
            if version.manifest["hash"] == hash:
                return version
    slug = shelf.new_slug(f"own {slugify(name)}")
    table = parquet.read_table(shipped.path(), columns=[*roles, "split"])
    table = table.add_column(0, "row", pyarrow.array(range(1, len(table) + 1), pyarrow.int64()))
    rows = _make_folder(staging) / "rows.parquet"
    parquet.write_table(table.replace_schema_metadata(None), rows, compression="zstd", row_group_size=10_000)
    (staging / "aside.jsonl").touch()
    label = next((role for role in roles if ROLE_KINDS[role] == "class"), "")
    names = [str(name) for name in shipped.columns[label].names] if label else []
    files.make_folder((shelf.folder / slug), exist_ok=False)
    title = _("{title}, own copy", title=shipped.title)
    shelf.write_about(slug, created=time.time())
    about = {"title": title.to_json(), "licence": shipped.facts.licence, "citation": shipped.facts.citation,
             "languages": list(shipped.facts.languages)}  # fmt: skip
    return add(shelf, slug, staging, source, plan, [], {"rows": count_splits(rows), "aside": 0, "names": names}, about)
