"""Records of translators' files: PO, XLIFF and TMX. One that is not translated yet is set aside, not lost."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat.errors import XML_ERROR_NO_MEMORY, codes

from bigmodel.core import limits
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord, cell_text, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.text_lines import lines, unreadable_rest

PO_LINE = re.compile(r'#.*|(msg\w+(\[\d+\])?\s*)?"(?:[^"\\]|\\.)*"|')
XML_ENCODING = re.compile(r"""(<\?xml[^>]*?encoding\s*=\s*["'])([\w.:-]+)(["'])""")
NO_SEGMENT = _("Its <tuv> have no <seg>, in which TMX keeps a text.")
UNTRANSLATED = _("It has no translation yet.")
INLINE_TAGS = ("bpt", "ept", "ph", "it", "ut")  # of TMX and XLIFF: what they hold is markup of the original
FUZZY = _("Its translation is marked as uncertain (fuzzy).")


# -- PO ----------------------------------------------------------------------------------------------
def po(file: BinaryIO, encoding: str) -> Iterator[Record]:
    """(line, {"source", "target", "context"}). Entries are read one by one, so that a broken one ends nothing."""
    begun, parts, size = 0, [], 0
    for found in lines(file, encoding):
        if type(found) is BadRecord:
            yield found
            continue
        number, line = found
        if line.strip():
            begun = begun or number
            size += len(line)
            if size <= limits.LINE_BYTES:
                parts.append(line)
            continue
        yield from _entries(begun, parts, encoding)
        begun, parts, size = 0, [], 0
    yield from _entries(begun, parts, encoding)


def _entries(begun: int, parts: list[bytes], encoding: str) -> Iterator[Record]:
    """The messages of a block between blank lines; most often one."""
    from babel.messages.pofile import read_po

    block = b"".join(parts)
    if not block.strip() or all(line.lstrip().startswith(b"#") for line in parts):
        return  # remarks, or what has been taken out of use
    try:
        text = block.decode(encoding)
        if "msgid" not in text:
            raise ValueError("no msgid")
        if not all(PO_LINE.fullmatch(line.strip()) for line in text.splitlines()):  # Babel would take a part of it
            raise ValueError("a quote is not closed")
        messages = list(read_po(io.StringIO(text), abort_invalid=True, ignore_obsolete=True))
    except UnicodeError:
        yield BadRecord(begun, printable(block, encoding), _("It is no text in this encoding."))
        return
    except Exception as error:  # Babel raises what the broken line happens to make: IndexError, ValueError, its own
        yield BadRecord(
            begun, printable(block, encoding), _("It is no entry of a PO file: {reason}.", reason=str(error)[:200])
        )
        return
    for message in messages:
        if not message.id:  # the header
            continue
        number = begun + (message.lineno or 1) - 1 if len(messages) > 1 else begun
        source = message.id[0] if isinstance(message.id, tuple) else message.id
        target = message.string[0] if isinstance(message.string, list | tuple) else message.string
        if not target:
            yield BadRecord(number, printable(source), UNTRANSLATED, cells={"source": cell_text(source)})
        elif message.fuzzy:
            cells = {"source": cell_text(source), "target": cell_text(target)}
            yield BadRecord(number, printable(f"{source}\n{target}"), FUZZY, cells=cells)
        else:
            yield number, {"source": source, "target": target, "context": message.context or ""}


# -- XML ---------------------------------------------------------------------------------------------
def tmx(file: BinaryIO, encoding: str = "utf-8") -> Iterator[Record]:
    """(number of the unit, {language: text})."""
    for number, unit in _units(_as_utf8(file, encoding), "tu"):
        if unit is None:
            yield number
            continue
        variants = [variant for variant in unit if _local_name(variant.tag) == "tuv"]
        segments = [next((part for part in variant if _local_name(part.tag) == "seg"), None) for variant in variants]
        if variants and all(segment is None for segment in segments):
            yield BadRecord(number, printable(" | ".join(map(_segment_text, variants))), NO_SEGMENT)
            continue
        tags = [
            next((value for name, value in variant.attrib.items() if _local_name(name) == "lang"), "?")
            for variant in variants
        ]
        texts: dict[str, str] = {}
        for language, segment in zip(language_names(tags), segments, strict=True):
            if segment is not None:
                texts.setdefault(language, _segment_text(segment))
        yield number, texts


def language_names(tags: Sequence[str]) -> list[str]:
    """Tags of one unit as columns: en for en, en-US and EN_us, so that they are one language; the whole tag where the
    unit tells several kinds of one language apart, as pt-BR and pt-PT."""
    languages = [_language(tag) for tag in tags]
    return [
        language if languages.count(language) == 1 else _canonical_tag(tag)
        for tag, language in zip(tags, languages, strict=True)
    ]


@cache
def _canonical_tag(tag: str) -> str:
    """As BCP 47 writes it: zh-CN for ZH_cn. What is none as it is, in small letters."""
    from babel.core import get_global, get_locale_identifier, parse_locale

    try:
        language, territory, script, *_rest = parse_locale(tag.strip().replace("_", "-"), sep="-")
    except ValueError:
        return tag.strip().lower() or "?"
    if len(language) == 1:  # x-..., i-...: of somebody's own
        return tag.strip().lower()
    language = get_global("language_aliases").get(language, language)  # eng is en, cmn is zh
    return get_locale_identifier((language, territory, script), sep="-")


@cache
def _language(tag: str) -> str:
    """The language of a tag, with its script where that is not the usual one: zh for zh-CN, zh-Hant for zh-TW."""
    from babel.core import get_global, parse_locale

    try:
        language, territory, script, *_rest = parse_locale(_canonical_tag(tag), sep="-")
    except ValueError:
        return _canonical_tag(tag)
    if len(language) == 1:
        return _canonical_tag(tag)
    likely = get_global("likely_subtags")
    usual = parse_locale(likely.get(language, language))[2]
    meant = script or parse_locale(likely.get(f"{language}_{territory}", likely.get(language, language)))[2]
    return language if meant == usual else f"{language}-{meant}"


def _as_utf8(file: BinaryIO, encoding: str) -> BinaryIO:
    """XML in an encoding that its parser does not know, as GB18030: in UTF-8, and declared so."""
    if codecs.lookup(encoding).name.startswith(("utf-8", "utf-16", "utf-32")):
        return file  # which it knows by itself
    return _Utf8Xml(file, encoding)


class _Utf8Xml:
    def __init__(self, file: BinaryIO, encoding: str):
        self.text, self.begun = codecs.getreader(encoding)(file, "replace"), False

    def read(self, count: int) -> bytes:
        text = self.text.read(count)
        if not self.begun:
            text, self.begun = XML_ENCODING.sub(r"\1utf-8\3", text, count=1), True
        return text.encode("utf-8", "replace")


def xliff(file: BinaryIO, encoding: str = "utf-8") -> Iterator[Record]:
    """(number of the unit, {"source", "target"}): trans-units of XLIFF 1.2, segments of 2.0."""
    for number, unit in _units(_as_utf8(file, encoding), "trans-unit", "segment"):
        if unit is None:
            yield number
            continue
        parts = {
            _local_name(one.tag): _segment_text(one) for one in unit if _local_name(one.tag) in ("source", "target")
        }
        if not parts.get("target"):
            source = parts.get("source", "")
            yield BadRecord(number, printable(source), UNTRANSLATED, cells={"source": cell_text(source)})
        else:
            yield number, parts


def _units(file: BinaryIO, *tags: str) -> Iterator[tuple[int, Element] | tuple[BadRecord, None]]:
    """Every element of these names, one at a time; what has been read is let go of. Where the file is no XML any more
    it ends. Entities are refused: a dozen lines of them can fill the memory."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    number, open_elements = 0, []
    bounded = _BoundedReader(file)
    try:
        for event, element in iterparse(bounded, events=("start", "end"), forbid_dtd=False):
            if event == "start":
                open_elements.append(element)
                continue
            open_elements.pop()
            if _local_name(element.tag) in tags:
                number += 1
                bounded.reset()
                yield number, element
                element.clear()
            if open_elements and not any(_local_name(open_element.tag) in tags for open_element in open_elements):
                open_elements[-1].remove(element)  # or the whole file would be in memory at its end
    except DefusedXmlException:
        yield BadRecord(number + 1, "", _("It declares entities, which can be made to fill the memory.")), None
    except ParseError as error:
        if error.code == codes[XML_ERROR_NO_MEMORY]:
            raise MemoryError from error
        yield _unreadable_rest(number, error), None
    except (ValueError, LookupError, RecursionError, OSError, EOFError) as error:
        yield _unreadable_rest(number, error), None


def _unreadable_rest(number: int, error: Exception) -> BadRecord:
    return BadRecord(number + 1, "", unreadable_rest(error))


class _BoundedReader:
    """A file in which one unit cannot be endless."""

    def __init__(self, file: BinaryIO):
        self.file, self.size = file, 0

    def reset(self) -> None:
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        data = self.file.read(min(count, 2**16) if count > 0 else 2**16)
        self.size += len(data)
        if self.size > 4 * limits.LINE_BYTES:
            raise ValueError("one unit has no end")
        return data


def _local_name(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _segment_text(element: Element) -> str:
    """What stands in a segment, without the codes for bold and the like; what they put round a text stays. Without
    calling itself: a file can be as deep as it likes."""
    said, left = [], [element]
    while left:
        one = left.pop()
        if isinstance(one, str):
            said.append(one)
            continue
        said.append(one.text or "")
        for inner in reversed(one):
            left += [inner.tail or "", inner] if _local_name(inner.tag) not in INLINE_TAGS else [inner.tail or ""]
    return " ".join("".join(said).split())
