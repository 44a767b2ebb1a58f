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
from bigmodel.importing.detect_format import kind_of
from bigmodel.importing.formats import chat_formats, csv_json
from bigmodel.importing.formats.bad_record import RAW, Broken
from bigmodel.importing.formats.text_lines import opened
from bigmodel.importing.import_plan import FURTHER
from bigmodel.importing.store import rejected_rows
from bigmodel.importing.store.registry import Version
from bigmodel.importing.to_rows import CONVERSATIONS

ROW, TAKE, REASON, CONTENT = "row", "take", "reason", "content"  # columns; those of the roles stand before the last
GUARDED = "=+-@\t'"  # a cell that begins so is given an apostrophe: programs would take it for a formula
SAID = 20  # reasons that are told
HEADER = 1000  # bytes
TEXTS = ("csv", "text", "jsonl", "json", "po")  # what such a table may be taken for by what stands in its cells


def roles_of(version: Version) -> list[str]:
    """The roles whose cells can be mended, in the order of the file's plan; of pictures the class, where any were kept."""
    roles = list(version.manifest["plan"]["roles"])
    if "image" not in roles:
        return roles
    return [role for role in roles if role != "image"] if rejected_rows.keeps_pictures(version) else []


def cells_of(one: Mapping, roles: Iterable[str], say: Callable[[Words | str], str]) -> dict[str, str]:
    """What could be read of an entry, by role, as a person reads and writes it."""
    cells = {role: one["cells"].get(role, "") for role in roles}
    said = {role: chat_formats.to_write(cell, say) for role, cell in cells.items() if role in CONVERSATIONS}
    return cells | said


def needed(roles: list[str]) -> list[str]:
    """Those without which there is no row."""
    return [role for role in roles if not any(role in FURTHER.get(one, ()) for one in roles)]


def reason_of(one: Mapping) -> Words:
    """Why an entry was set aside, and whether all of it is still there."""
    reason = Words.from_json(one["reason"])
    if len(one["raw"]) < RAW:
        return reason
    return _("{reason} Only its first {count} characters are kept here.", reason=reason, count=f"{RAW:,}")


def fit(version: Version) -> bool:
    """Whether one table holds all rows that were set aside."""
    return (version.folder / rejected_rows.Aside.ENTRIES).stat().st_size < limits.TABLE_BYTES


def csv_of(version: Version, say: Callable[[Words], str]) -> bytes:
    """The rows that were set aside, as many as fit, with a mark that lets Excel read it as UTF-8."""
    roles, out = roles_of(version), io.StringIO()
    writer = csv.writer(out)
    writer.writerow([ROW, TAKE, REASON, *roles, CONTENT])
    for one in rejected_rows.entries(version):
        cells = [say(reason_of(one)), *cells_of(one, roles, say).values(), one["raw"]]
        writer.writerow([one["row"], "", *map(_guarded, cells)])
        if out.tell() > limits.TABLE_BYTES:  # of characters, which is near enough
            break
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _guarded(cell: str) -> str:
    formula = cell[:1] in "=+-@\t" or (cell[:1] == "'" and cell[1:2] in GUARDED)
    return f"'{cell}" if cell and formula else cell


def _unguarded(cell: str) -> str:
    plain = cell.replace("\r\n", "\n")
    return plain[1:] if plain[:1] == "'" and plain[1:2] and plain[1:2] in GUARDED else plain


def given_back(path: Path, name: str, version: Version) -> dict:
    """What a mended table says: {"mends": {row: cells}, "left": rows that will not do, "reasons": [{"row", "reason"}]}.
    A row is taken in when a cell differs from what was handed out, or when something stands in its column `take`."""
    roles, offered = roles_of(version), _Offered(version)
    mends: dict[str, dict] = {}
    reasons: list[dict] = []
    left = 0
    for number, cells, take in _given(path, name, roles):
        if not take and not offered.changed(number, cells):
            continue
        why = offered.wrong(number) or _unfit(cells, roles)
        if why is None:
            mends[str(number)] = {role: cell for role, cell in cells.items() if cell}
            continue
        left += 1
        if len(reasons) < SAID:
            reasons.append({"row": number, "reason": why.to_json()})
    return {"mends": mends, "left": left, "reasons": reasons}


class _Offered:
    """What was handed out of each row. In an archive, pictures and lines of a file of labels may bear the same number."""

    def __init__(self, version: Version):
        self.cells: dict[int, list[Mapping]] = {}
        self.mendable: set[int] = set()
        self.spans: list[range] = []
        for one in rejected_rows.entries(version):
            self.cells.setdefault(one["row"], []).append(one["cells"])
            if not rejected_rows.mendable(one, version):
                continue
            self.mendable.add(one["row"])
            if one["count"] > 1:
                self.spans.append(range(one["row"], one["row"] + one["count"]))

    def changed(self, row: int, cells: Mapping[str, str]) -> bool:
        return not any(_same(before, cells) for before in self.cells.get(row, [{}]))

    def wrong(self, row: int) -> Words | None:
        if row in self.mendable or any(row in span for span in self.spans):
            return None
        return rejected_rows.NO_PICTURE if row in self.cells else _("The row {rows} has not been set aside.", rows=row)


def _same(before: Mapping[str, str], cells: Mapping[str, str]) -> bool:
    """Whether cells say what they said before; a conversation may be written in another way, or in another language."""
    for role, cell in cells.items():
        old = before.get(role, "").replace("\r\n", "\n")
        if cell != old and not (role in CONVERSATIONS and chat_formats.same(cell, old)):
            return False
    return True


def _unfit(cells: Mapping[str, str], roles: list[str]) -> Words | None:
    try:
        reading.mended(cells, roles)
    except reading.Unfit as unfit:
        return unfit.reason
    return None


def _given(path: Path, name: str, roles: list[str]) -> Iterator[tuple[int, dict[str, str], bool]]:
    """(row, cells by role, whether it was ticked) of each row of a table, in whatever encoding a program has written it."""
    kind, wanted = kind_of(path, name), {ROW, *needed(roles)}
    what = _("This is no table of rows that were set aside.")
    do = _("Download them, fill in what is missing, and give that CSV back, with its columns: {names}.",
           names=", ".join([ROW, TAKE, REASON, *roles, CONTENT]))  # fmt: skip
    if kind.format not in TEXTS:
        raise Refusal(what, do=do)
    with opened(path, kind.member, [0]) as file:
        header = file.peek(HEADER)[:HEADER].partition(b"\n")[
            0
        ]  # our own: what stands in the cells may look like anything
        delimiter = max(",;\t|", key=lambda one: header.count(one.encode()))
        for one in csv_json.table(file, kind.encoding, delimiter, header=True):
            if type(one) is Broken:
                why = _("Its line {number} cannot be read: {reason}", number=one.row, reason=one.reason)
                raise Refusal(
                    _("Nothing of this table was taken in."), why, _("Mend that line, and give it back again.")
                )
            _number, record = one
            if not wanted <= set(record):
                missing = ", ".join(sorted(wanted - set(record)))
                raise Refusal(what, _("It has no column {names}.", names=missing), do)
            row = record[ROW].strip().replace(",", "")
            if row.isdecimal():
                cells = {role: _unguarded(record.get(role, "")) for role in roles}
                yield int(row), cells, bool(record.get(TAKE, "").strip())
