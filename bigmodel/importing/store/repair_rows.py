"""Rows that were set aside, as a table that people mend in a program of their own and give back."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.importing import to_rows as reading
from bigmodel.importing.detect_format import detect_format
from bigmodel.importing.formats import chat_formats, csv_json
from bigmodel.importing.formats.bad_record import MAX_RAW_CHARACTERS, BadRecord
from bigmodel.importing.formats.text_lines import open_stream
from bigmodel.importing.import_plan import OPTIONAL_ROLES
from bigmodel.importing.store import rejected_rows
from bigmodel.importing.store.registry import Version
from bigmodel.importing.to_rows import CONVERSATION_ROLES

ROW, TAKE, REASON, CONTENT = "row", "take", "reason", "content"  # columns; those of the roles stand before the last
FORMULA_PREFIXES = "=+-@\t'"  # a cell that begins so is given an apostrophe: programs would take it for a formula
MAX_REASONS = 20  # reasons that are told
HEADER = 1000  # bytes
TEXT_FORMATS = ("csv", "text", "jsonl", "json", "po")  # what such a table may be taken for by what stands in its cells


def editable_roles(version: Version) -> list[str]:
    """The roles whose cells can be mended, in the order of the file's plan; of pictures the class, where any were kept."""
    roles = list(version.manifest["plan"]["roles"])
    if "image" not in roles:
        return roles
    return [role for role in roles if role != "image"] if rejected_rows.has_images(version) else []


def editable_cells(one: Mapping, roles: Iterable[str], say: Callable[[Words | str], str]) -> dict[str, str]:
    """What could be read of an entry, by role, as a person reads and writes it."""
    cells = {role: one["cells"].get(role, "") for role in roles}
    said = {role: chat_formats.to_transcript(cell, say) for role, cell in cells.items() if role in CONVERSATION_ROLES}
    return cells | said


def required_roles(roles: list[str]) -> list[str]:
    """Those without which there is no row."""
    return [role for role in roles if not any(role in OPTIONAL_ROLES.get(one, ()) for one in roles)]


def reject_reason(one: Mapping) -> Words:
    """Why an entry was set aside, and whether all of it is still there."""
    reason = Words.from_json(one["reason"])
    if len(one["raw"]) < MAX_RAW_CHARACTERS:
        return reason
    return _(
        "{reason} Only its first {count} characters are kept here.", reason=reason, count=f"{MAX_RAW_CHARACTERS:,}"
    )


def fits_in_table(version: Version) -> bool:
    """Whether one table holds all rows that were set aside."""
    return (version.folder / rejected_rows.RejectedRowsWriter.ENTRIES).stat().st_size < limits.TABLE_BYTES


def to_csv(version: Version, say: Callable[[Words], str]) -> bytes:
    """The rows that were set aside, as many as fit, with a mark that lets Excel read it as UTF-8."""
    roles, out = editable_roles(version), io.StringIO()
    writer = csv.writer(out)
    writer.writerow([ROW, TAKE, REASON, *roles, CONTENT])
    for entry in rejected_rows.entries(version):
        cells = [say(reject_reason(entry)), *editable_cells(entry, roles, say).values(), entry["raw"]]
        writer.writerow([entry["row"], "", *map(_escape_formula, cells)])
        if out.tell() > limits.TABLE_BYTES:  # of characters, which is near enough
            break
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _escape_formula(cell: str) -> str:
    formula = cell[:1] in "=+-@\t" or (cell[:1] == "'" and cell[1:2] in FORMULA_PREFIXES)
    return f"'{cell}" if cell and formula else cell


def _unescape_formula(cell: str) -> str:
    plain = cell.replace("\r\n", "\n")
    return plain[1:] if plain[:1] == "'" and plain[1:2] and plain[1:2] in FORMULA_PREFIXES else plain


def parse_repairs(path: Path, name: str, version: Version) -> dict:
    """What a mended table says: {"mends": {row: cells}, "left": rows that will not do, "reasons": [{"row", "reason"}]}.
    A row is taken in when a cell differs from what was handed out, or when something stands in its column `take`."""
    roles, offered = editable_roles(version), _RejectedCells(version)
    mends: dict[str, dict] = {}
    reasons: list[dict] = []
    left = 0
    for number, cells, take in _table_rows(path, name, roles):
        if not take and not offered.is_changed(number, cells):
            continue
        why = offered.refusal_reason(number) or _invalid_reason(cells, roles)
        if why is None:
            mends[str(number)] = {role: cell for role, cell in cells.items() if cell}
            continue
        left += 1
        if len(reasons) < MAX_REASONS:
            reasons.append({"row": number, "reason": why.to_json()})
    return {"mends": mends, "left": left, "reasons": reasons}


class _RejectedCells:
    """What was handed out of each row. In an archive, pictures and lines of a file of labels may bear the same number."""

    def __init__(self, version: Version):
        self.cells: dict[int, list[Mapping]] = {}
        self.repairable: set[int] = set()
        self.spans: list[range] = []
        for entry in rejected_rows.entries(version):
            self.cells.setdefault(entry["row"], []).append(entry["cells"])
            if not rejected_rows.is_repairable(entry, version):
                continue
            self.repairable.add(entry["row"])
            if entry["count"] > 1:
                self.spans.append(range(entry["row"], entry["row"] + entry["count"]))

    def is_changed(self, row: int, cells: Mapping[str, str]) -> bool:
        return not any(_same_cells(before, cells) for before in self.cells.get(row, [{}]))

    def refusal_reason(self, row: int) -> Words | None:
        if row in self.repairable or any(row in span for span in self.spans):
            return None
        return (
            rejected_rows.IMAGE_NOT_KEPT if row in self.cells else _("The row {rows} has not been set aside.", rows=row)
        )


def _same_cells(before: Mapping[str, str], cells: Mapping[str, str]) -> bool:
    """Whether cells say what they said before; a conversation may be written in another way, or in another language."""
    for role, cell in cells.items():
        old = before.get(role, "").replace("\r\n", "\n")
        if cell != old and not (role in CONVERSATION_ROLES and chat_formats.same_conversation(cell, old)):
            return False
    return True


def _invalid_reason(cells: Mapping[str, str], roles: list[str]) -> Words | None:
    try:
        reading.repaired_row(cells, roles)
    except reading.InvalidValue as unfit:
        return unfit.reason
    return None


def _table_rows(path: Path, name: str, roles: list[str]) -> Iterator[tuple[int, dict[str, str], bool]]:
    """(row, cells by role, whether it was ticked) of each row of a table, in whatever encoding a program has written it."""
    kind, wanted = detect_format(path, name), {ROW, *required_roles(roles)}
    what = _("This is no table of rows that were set aside.")
    do = _("Download them, fill in what is missing, and give that CSV back, with its columns: {names}.",
           names=", ".join([ROW, TAKE, REASON, *roles, CONTENT]))  # fmt: skip
    if kind.format not in TEXT_FORMATS:
        raise Refusal(what, do=do)
    with open_stream(path, kind.member, [0]) as file:
        header = file.peek(HEADER)[:HEADER].partition(b"\n")[
            0
        ]  # our own: what stands in the cells may look like anything
        delimiter = max(",;\t|", key=lambda one: header.count(one.encode()))
        for csv_record in csv_json.csv_records(file, kind.encoding, delimiter, header=True):
            if type(csv_record) is BadRecord:
                why = _("Its line {number} cannot be read: {reason}", number=csv_record.row, reason=csv_record.reason)
                raise Refusal(
                    _("Nothing of this table was taken in."), why, _("Mend that line, and give it back again.")
                )
            _number, record = csv_record
            if not wanted <= set(record):
                missing = ", ".join(sorted(wanted - set(record)))
                raise Refusal(what, _("It has no column {names}.", names=missing), do)
            row = record[ROW].strip().replace(",", "")
            if row.isdecimal():
                cells = {role: _unescape_formula(record.get(role, "")) for role in roles}
                yield int(row), cells, bool(record.get(TAKE, "").strip())
