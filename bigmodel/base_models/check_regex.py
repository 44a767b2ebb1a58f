"""Whether a regular expression of a tokenizer is matched in few steps, proved on its parts.

Oniguruma, by which tokenizers match, goes back and tries again; where that takes too many steps it panics. Let in is what
never tries many ways for one text: repeats whose parts exclude each other, and no two runs of like characters after each
other that something behind them can make fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

MAX_LENGTH = 4_000  # characters
MAX_DEPTH = 20
KNOWN = frozenset({r"\s+$"})  # of DeepSeek: goes over a run of spaces once for each of them
UNBOUNDED = 16  # repeats from which on a bound is none
MAX_CHOICES = 1_000  # ways through the parts of an alternative that are no runs
# characters of all kinds, by which classes are compared
_RANGES = ((0, 0x250), (0x300, 0x310), (0x391, 0x3D0), (0x410, 0x450), (0x5D0, 0x5E0), (0x620, 0x630), (0x660, 0x66A),
           (0x905, 0x940), (0xE01, 0xE40), (0x1100, 0x1110), (0x1E00, 0x1E20), (0x2000, 0x2070), (0x20A0, 0x20B0),
           (0x2100, 0x2130), (0x2160, 0x2170), (0x2190, 0x21A0), (0x2460, 0x2470), (0x3000, 0x3130), (0x4E00, 0x4E20),
           (0xAC00, 0xAC10), (0xE000, 0xE004), (0xFB01, 0xFB04), (0xFE00, 0xFE10), (0xFF00, 0xFFF0),
           (0x1F600, 0x1F610))  # fmt: skip
_SAMPLE = "".join(chr(number) for low, high in _RANGES for number in range(low, high))
Characters = frozenset[str]


class Hazard(Exception):
    """The expression may take too many steps, or cannot be read."""


@dataclass(frozen=True)
class _Item:
    """A part of an alternative. characters: those that it can begin or go on with; alternatives: of a group, else ();
    look: it looks and takes nothing, by what is in `alternatives`, or by nothing that could be repeated."""

    characters: Characters = frozenset()
    alternatives: tuple[tuple[_Item, ...], ...] = ()
    least: int = 1
    most: int = 1
    possessive: bool = False
    look: str = ""

    @property
    def nullable(self) -> bool:
        return not self.least or bool(self.alternatives and not self.look and any(map(_nullable, self.alternatives)))

    @property
    def is_run(self) -> bool:
        """Whether it can take any number of characters, and give them back."""
        return self.most > UNBOUNDED and self.most > self.least and not self.possessive


def find_problem(pattern: str) -> str:
    """Why an expression will not do, '' when it will."""
    try:
        if pattern in KNOWN:
            return ""
        if len(pattern) > MAX_LENGTH:
            raise Hazard
        alternatives = _Parser(pattern).parse()
        for alternative in alternatives:
            _check_sequence(alternative, alternatives)
    except (Hazard, RecursionError):
        return "it could take for ever"
    return ""


def can_be_empty(pattern: str) -> bool:
    """Whether it matches no characters at all. Only of one that will do."""
    return any(map(_nullable, _Parser(pattern).parse()))


# -- steps ---------------------------------------------------------------------------------------------------
def _nullable(sequence: Sequence[_Item]) -> bool:
    return all(item.nullable or item.look for item in sequence)


def _first(sequence: Sequence[_Item]) -> Characters:
    """The characters that a match of a sequence can begin with."""
    found: set[str] = set()
    for item in sequence:
        if item.look:
            continue
        found |= frozenset().union(*map(_first, item.alternatives)) if item.alternatives else item.characters
        if not item.nullable:
            break
    return frozenset(found)


def _check_sequence(sequence: Sequence[_Item], top: Sequence[Sequence[_Item]]) -> None:
    runs: list[_Item] = []
    choices = 1
    for number, item in enumerate(sequence):
        rest = sequence[number + 1 :]
        if item.look:
            for alternative in item.alternatives:
                _check_sequence(alternative, top)
            if item.look.startswith("behind") and any(_has_run(alternative) for alternative in item.alternatives):
                raise Hazard
            continue
        if item.alternatives:
            choices *= _check_group(item, top)
        if item.is_run:
            same = [run for run in runs if run.characters & item.characters]
            if len(same) > 1 or (same and not _cannot_fail(rest, item, looks=False)):
                raise Hazard
            if not _cannot_fail(rest, item) and not _is_covered(item, top):
                raise Hazard
            runs.append(item)
        elif not item.possessive:
            choices *= min(item.most, UNBOUNDED) - min(item.least, UNBOUNDED) + 1
        if choices > MAX_CHOICES:
            raise Hazard
    inner = [item for item in sequence if item.alternatives and not item.look and any(map(_has_run, item.alternatives))]
    if inner and (len(inner) > 1 or runs):  # runs in a group and beside it: not compared, so not let in
        raise Hazard
    if inner and not _nullable(sequence[sequence.index(inner[0]) + 1 :]):
        raise Hazard


def _check_group(item: _Item, top: Sequence[Sequence[_Item]]) -> int:
    """In how many ways a group can match the same text."""
    firsts = [_first(alternative) for alternative in item.alternatives]
    distinct = sum(map(len, firsts)) == len(frozenset().union(*firsts))
    if item.most > 1:
        if not distinct and len(firsts) > 1:
            raise Hazard
        begin = frozenset().union(*firsts)
        for alternative in item.alternatives:
            if _nullable(alternative):
                raise Hazard
            _check_repeated(alternative, begin)
    for alternative in item.alternatives:
        _check_sequence(alternative, (*top, *item.alternatives) if item.most == 1 else top)
    return 1 if distinct else len(firsts)


def _check_repeated(sequence: Sequence[_Item], begin: Characters) -> None:
    """What is repeated must know at each character how it goes on: what may end excludes what may follow."""
    for number, item in enumerate(sequence):
        if item.look:
            raise Hazard
        if item.alternatives and any(
            part.least != part.most or part.alternatives for way in item.alternatives for part in way
        ):
            raise Hazard
        rest = sequence[number + 1 :]
        follow = _first(rest) | (begin if _nullable(rest) else frozenset())
        if item.least != item.most and not item.possessive and item.characters & follow:
            raise Hazard


def _has_run(sequence: Sequence[_Item]) -> bool:
    return any(item.is_run or any(map(_has_run, item.alternatives)) for item in sequence)


def _cannot_fail(rest: Sequence[_Item], run: _Item, looks: bool = True) -> bool:
    """Whether what comes behind a run matches wherever the run ends. `looks`: a look at the one character behind it may
    fail: then the run is gone over once for each of its characters, and never in more ways."""
    if (
        rest
        and rest[0].look in ("ahead", "ahead not")
        and len(rest[0].alternatives) == 1
        and len(rest[0].alternatives[0]) == 1
    ):
        wanted = rest[0].alternatives[0][0]
        if not looks or wanted.alternatives or wanted.look or wanted.most > 1:
            return False
        rest = rest[1:]
    return all(item.nullable and not item.look for item in rest)


def _is_covered(run: _Item, top: Sequence[Sequence[_Item]]) -> bool:
    """Whether another alternative takes all of the run where this one fails, so that it is not tried from the next
    character again."""
    for alternative in top:
        for number, item in enumerate(alternative):
            takes_all = item.most > UNBOUNDED and item.least <= 1 and run.characters <= item.characters
            if takes_all and _cannot_fail(alternative[number + 1 :], item):
                return True
            if not item.nullable:
                break
    return False


# -- read ----------------------------------------------------------------------------------------------------
class _Parser:
    """Of the syntax that tokenizers use of Oniguruma's; anything else is a Hazard."""

    def __init__(self, pattern: str):
        self.pattern, self.position, self.depth, self.ignore_case = pattern, 0, 0, False
        self.sample = _SAMPLE + pattern

    def parse(self) -> tuple[tuple[_Item, ...], ...]:
        alternatives = self._alternatives()
        if self.position != len(self.pattern):
            raise Hazard
        return alternatives

    def _peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.position)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self.position += len(text)
            return True
        return False

    def _next(self) -> str:
        if self.position >= len(self.pattern):
            raise Hazard
        self.position += 1
        return self.pattern[self.position - 1]

    def _alternatives(self) -> tuple[tuple[_Item, ...], ...]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Hazard
        ways: list[list[_Item]] = [[]]
        while self.position < len(self.pattern) and not self._peek(")"):
            if self._take("|"):
                ways.append([])
            else:
                ways[-1].append(self._repeated(self._atom()))
        self.depth -= 1
        return tuple(tuple(way) for way in ways)

    def _repeated(self, item: _Item) -> _Item:
        least, most, bounded = self._quantifier()
        if most < 0:
            return item
        if item.look or (self.position < len(self.pattern) and self.pattern[self.position] in "*{"):
            raise Hazard
        possessive = False
        if not self._take("?"):  # lazy: the same ways in another order
            possessive = not bounded and self._take("+")
        if self.position < len(self.pattern) and self.pattern[self.position] in "*+?{":
            raise Hazard
        return replace(item, least=least, most=most, possessive=possessive and not item.alternatives)

    def _quantifier(self) -> tuple[int, int, bool]:
        """(least, most, whether it was written in braces); most -1 where there is none."""
        for sign, least, most in (("*", 0, 10**6), ("+", 1, 10**6), ("?", 0, 1)):
            if self._take(sign):
                return least, most, False
        if not self._peek("{"):
            return 1, -1, False
        end = self.pattern.find("}", self.position)
        low, comma, high = self.pattern[self.position + 1 : end].partition(",")
        if end < 0 or not (low + high).isdecimal() or len(low + high) > 10:
            raise Hazard
        self.position = end + 1
        least = int(low or 0)
        return least, int(high or 10**6) if comma else least, True

    def _atom(self) -> _Item:
        start = self.position
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            self._class()
        elif character == "\\":
            if (look := self._escape()) is not None:
                return look
        elif character in "^$":
            return _Item(look="anchor")
        elif character in "*+?{":
            raise Hazard
        return _Item(self._characters(self.pattern[start : self.position]))

    def _group(self) -> _Item:
        kinds = {"?:": "", "?>": "", "?=": "ahead", "?!": "ahead not", "?<=": "behind", "?<!": "behind not", "?i:": "",
                 "?-i:": ""}  # fmt: skip
        look, outer = "", self.ignore_case
        if self._peek("?"):
            kind = next((kind for kind in kinds if self._take(kind)), None)
            if kind is None:
                raise Hazard
            look = kinds[kind]
            self.ignore_case = {"?i:": True, "?-i:": False}.get(kind, outer)
        alternatives = self._alternatives()
        if not self._take(")"):
            raise Hazard
        self.ignore_case = outer
        return _Item(_all_characters(alternatives), alternatives, look=look)

    def _class(self) -> None:
        depth, first = 1, self.position
        self._take("^")
        while depth:
            character = self._next()
            if character == "\\":
                self._escape()
            elif character == "[":
                depth += 1
            elif character == "]" and self.position - 1 > first:
                depth -= 1

    def _escape(self) -> _Item | None:
        """Pass over an escape; an anchor is given back, as it takes nothing."""
        character = self._next()
        if character in "pP":
            end = self.pattern.find("}", self.position)
            if not self._peek("{") or end < 0:
                raise Hazard
            self.position = end + 1
        elif character in "bBAzZG":
            return _Item(look="anchor")
        elif character == "x":
            if self._take("{"):
                self.position = self.pattern.find("}", self.position) + 1 or len(self.pattern) + 1
            else:
                self.position += 2
        elif character == "u":
            self.position += 4
        elif (character.isdecimal() and character != "0") or (character.isalpha() and character not in "dDsSwWrntfvae"):
            raise Hazard  # a reference back, a call, or what is not known here
        return None

    def _characters(self, text: str) -> Characters:
        """Of the sample those that a class takes; all of them where it takes none, as nothing is known of it then."""
        found = _matching(text, self.sample, self.ignore_case)
        return found or frozenset(self.sample)


def _all_characters(alternatives: Sequence[Sequence[_Item]]) -> Characters:
    return frozenset().union(*(item.characters for way in alternatives for item in way if not item.look))


@cache
def _matching(text: str, sample: str, ignore_case: bool) -> Characters:
    import regex

    text = "(?s:.)" if text == "." else text
    try:
        flags = regex.VERSION1 | (regex.IGNORECASE if ignore_case else 0)
        return frozenset(regex.compile(text, flags).findall(sample))
    except (regex.error, ValueError, OverflowError) as error:
        raise Hazard from error
