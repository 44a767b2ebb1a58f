"""What belongs to a person: e-mail addresses, telephone numbers, numbers of identity cards, bank cards, accounts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from bigmodel.core.words import Words, _
from bigmodel.data_checks.finding import WARNING, Check, Finding, Remedy, edit
from bigmodel.data_checks.row_batches import Rows

# Names that stand for no one: RFC 2606 and 6761, and what manuals use.
PLACEHOLDER_EMAIL = re.compile(
    r"(?:^|[@.])(?:example\.(?:com|org|net|edu)|example|invalid|test|localhost|domain\.(?:com|tld)|(?:your|my)?(?:email|mail|domain|company|site|server)\.(?:com|org|net))$",
    re.IGNORECASE,
)
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
CHECK_DIGITS = "10X98765432"
PROVINCES = frozenset(map(str, (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55),
                                *range(61, 66), 71, 81, 82, 83)))  # fmt: skip
IBAN_LENGTHS = {
    "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27,
    "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MT": 31,
    "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24, "TR": 26,
}  # fmt: skip


def _email(text: str) -> bool:
    return not PLACEHOLDER_EMAIL.search(text)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _varied_digits(text: str) -> bool:
    """Not a row of one digit, and not 123456789."""
    digits = _digits(text)
    steps = {int(after) - int(before) for before, after in pairwise(digits)}
    return len(set(digits)) > 2 and steps != {1} and "1234567" not in digits


def chinese_id(text: str) -> bool:
    """18 signs: province, district, birthday, number, check sign (GB 11643-1999)."""
    text = text.upper()
    if text[:2] not in PROVINCES or not _is_day(text[6:10], text[10:12], text[12:14]):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], WEIGHTS, strict=True))
    return CHECK_DIGITS[total % 11] == text[17]


def _is_day(year: str, month: str, day: str) -> bool:
    try:
        return date(1900, 1, 1) <= date(int(year), int(month), int(day)) <= date.today()
    except ValueError:
        return False


def bank_card(text: str) -> bool:
    """13 to 19 digits whose check digit is right (Luhn 1960), of an issuer that there is."""
    digits = _digits(text)
    issued = 13 <= len(digits) <= 19 and re.match(r"4|5[1-5]|2[2-7]|3[47]|62|6011|65|35", digits)
    if not issued or not _varied_digits(text):
        return False
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def iban(text: str) -> bool:
    """An account number with its check digits (ISO 13616)."""
    text = text.replace(" ", "").upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def social_security(text: str) -> bool:
    """A US number of an area, group and serial that are given out; not those of the printed examples."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000" and text not in (
        "123-45-6789", "078-05-1120", "219-09-9999")  # fmt: skip


@dataclass(frozen=True)
class PersonalDataKind:
    """Something personal: how it is written, what makes sure of it, what is put in its place."""

    name: str
    pattern: re.Pattern
    is_valid: Callable[[str], bool]
    mask: str
    sentence: Callable[[int], Words]


def _phone(text: str) -> bool:
    return _varied_digits(text) and not re.fullmatch(r"\D*(?:19|20)\d\d[-. ]?(?:0\d|1[0-2])[-. ]?\d\d\D*", text)


KINDS = (
    PersonalDataKind(
        "email",
        re.compile(
            r"(?<![\w.+%-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])",
            re.ASCII,
        ),
        _email,
        "[EMAIL]",
        lambda count: _("{count} rows contain e-mail addresses.", count=count),
    ),
    PersonalDataKind(
        "identity",
        re.compile(r"(?<![0-9A-Za-z])[1-8]\d{16}[0-9Xx](?![0-9A-Za-z])", re.ASCII),
        chinese_id,
        "[ID]",
        lambda count: _("{count} rows contain numbers of Chinese identity cards.", count=count),
    ),
    PersonalDataKind(
        "identity",
        re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", re.ASCII),
        social_security,
        "[ID]",
        lambda count: _("{count} rows contain US social security numbers.", count=count),
    ),
    PersonalDataKind(
        "account",
        re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![0-9A-Za-z])", re.ASCII),
        iban,
        "[ACCOUNT]",
        lambda count: _("{count} rows contain account numbers (IBAN).", count=count),
    ),
    PersonalDataKind(
        "card",
        re.compile(r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.]*\d)", re.ASCII),
        bank_card,
        "[CARD]",
        lambda count: _("{count} rows contain numbers of bank cards.", count=count),
    ),
    PersonalDataKind(
        "phone",
        re.compile(
            r"(?<![\w.+/=#-])(?:"
            r"(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}"  # a Chinese mobile
            r"|(?:\+?86[- ]?)?\(?0[1-9]\d{1,2}\)?[- ]\d{7,8}"  # a Chinese landline
            r"|\+[1-9]\d{0,2}[-. ]?(?:\(0?\d{1,4}\)[-. ]?)?\d{1,4}(?:[-. /]?\d{2,4}){1,4}"  # with a country's code
            r"|(?:\+?1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}"  # North America
            r"|0\d{2,4}[-/ ]\d{3,4}[- ]?\d{3,4}"  # Europe, within a country
            r")(?![\w/=-]|\.\d)",
            re.ASCII,
        ),
        _phone,
        "[PHONE]",
        lambda count: _("{count} rows contain telephone numbers.", count=count),
    ),
)
PREFILTER = re.compile(
    r"@|\d[\d -]{5}|\d{3}[.)/ -]+\d{3}|[A-Z]{2}\d{2}", re.ASCII
)  # what has none of these is not looked at closer


class PersonalData(Check):
    name = "personal"
    order = 13
    title = _("Personal data")
    about = _(
        "E-mail addresses, telephone numbers, and numbers of identity cards, bank cards and accounts whose check digits are right."
    )

    def run(self, rows: Rows) -> Iterator[Finding]:
        found: dict[int, dict[int, str]] = {}  # kind -> row -> what stands there
        masked: dict[int, dict[int, dict[str, str]]] = {}  # kind -> row -> column -> text without it
        for name in rows.texts:
            said, new = rows.message_texts(name), {}
            for number, (place, text) in enumerate(zip(said.row_positions, said.texts, strict=True)):
                if not PREFILTER.search(text):
                    continue
                for kind, hits, left in find_personal_data(text):
                    found.setdefault(kind, {}).setdefault(int(rows.ids[place]), ", ".join(hits[:3]))
                    new.setdefault(kind, {})[number] = left
            for kind, texts in new.items():
                for place, cell in said.replace_texts(texts).items():
                    masked.setdefault(kind, {}).setdefault(int(rows.ids[place]), {})[name] = cell
        for number, kind in enumerate(KINDS):
            if number not in found:
                continue
            why = _("A model can repeat what it has read, to anyone. Most laws want a reason for training on it.")
            rows_found, remedy = (
                found[number],
                Remedy(_("Replace them by {mask}", mask=kind.mask), (edit(masked[number]),)),
            )
            sentence = kind.sentence(len(rows_found))
            yield Finding(self.name, WARNING, sentence, why, tuple(rows_found), rows_found, remedy)


def find_personal_data(text: str) -> Iterator[tuple[int, list[str], str]]:
    """(number of the kind, what was found, the text with its mask instead) of each kind that is in the text."""
    taken: list[tuple[int, int]] = []
    for number, kind in enumerate(KINDS):
        hits = [
            hit
            for hit in kind.pattern.finditer(text)
            if kind.is_valid(hit.group()) and not any(start < hit.end() and hit.start() < end for start, end in taken)
        ]
        if not hits:
            continue
        taken += [hit.span() for hit in hits]
        left, at = [], 0
        for hit in hits:
            left += [text[at : hit.start()], kind.mask]
            at = hit.end()
        yield number, [hit.group() for hit in hits], "".join([*left, text[at:]])


def masks() -> Mapping[str, str]:
    return {kind.name: kind.mask for kind in KINDS}
