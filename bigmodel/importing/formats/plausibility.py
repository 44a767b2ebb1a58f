"""How much bytes in an encoding look like a language: common characters, whole words in one script, letters of one alphabet."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache

MAX_CHARACTERS = 20_000  # that an encoding is judged by
MAX_BROKEN = 0.1  # share of lines that an encoding may fail to decode
COMMON_SIMPLIFIED = frozenset(
    "的一是不了在有人我他这中大来上个国们为到说和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从年"
)
COMMON_TRADITIONAL = frozenset(
    "的一是不了在有人我這個們來大中上國為說時要就會也對生能子那得於著下自之年過發後作里用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心"
)
# letters that the languages of an encoding have beside a to z
LATIN_LETTERS: Mapping[str, str] = {
    "french": "éèàêçùâîôûëïüœæ«»’…", "german": "äöüß„“»«–", "spanish": "áéíóúñü¿¡ºª«»", "portuguese": "ãõçáéíóúâêôàº",
    "italian": "àèéìòù«»’", "nordic": "åäöæøé”»«", "polish": "ąćęłńóśźż„”", "czech": "áčďéěíňóřšťúůýžľĺŕôä„“",
    "hungarian": "áéíóöőúüű„”", "romanian": "ăâîșțşţ„”", "turkish": "ğışçöüâîİ", "croatian": "čćšžđ„”", "baltic": "āčēģīķļņšūžąęėįųõäöü",
    "vietnamese": "ăâđêôơưáàảãạéèẻẽẹíìỉĩịóòỏõọúùủũụýỳỷỹỵ", "english": "",
}  # fmt: skip
CYRILLIC_LETTERS = frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґўјљњћђџ")
INSIDE_WORD = re.compile(r"(?<=[a-z])[\u3040-\ud7a3](?=[a-z])")
QUOTES = frozenset("«»„“”‘’–—…№ \u00a0、。，！？：；（）《》「」『』【】・ー～\u3000")  # of many languages
SYMBOLS = frozenset("°§€£¥¢·×•©®™±²³µ¼½¾¿¡")
SYMBOL_WEIGHT = 0.7  # of a sign that all languages have, beside the letters of a language


def score(lines: Sequence[bytes], encoding: str) -> float:
    """0 (none would write so) to 1; `lines` are those that are not ASCII."""
    texts = [line.decode(encoding, "replace") for line in lines[:2000]]
    broken = sum("\ufffd" in text for text in texts)
    text = "\n".join(text for text in texts if "\ufffd" not in text)[:MAX_CHARACTERS]
    if broken > MAX_BROKEN * len(texts) or not text:
        return 0.0
    signs = [sign for sign in text if ord(sign) > 127]
    if any(unicodedata.category(sign) in ("Cc", "Co", "Cn") for sign in signs):  # no text has controls or private signs
        return 0.0
    telling = [sign for sign in signs if sign not in QUOTES]
    inside = len(INSIDE_WORD.findall(text)) / len(telling or signs)  # it痴 is it’s in another encoding
    return SCORES[encoding](text, telling or signs) * (1 - broken / len(texts)) * (1 - 0.6 * min(inside, 1))


# -- Chinese, Japanese, Korean -----------------------------------------------------------------------------
def _han(codec: str, last_common: int, common: frozenset[str]) -> Callable[[str, list[str]], float]:
    """Standards number the common characters first: of what people write hardly any come later."""

    def score(text: str, signs: list[str]) -> float:
        weights = {sign: _weight(sign) for sign in set(signs)}
        share = sum(weights[sign] for sign in signs) / len(signs)
        return 0.8 * share + min(0.2, sum(sign in common for sign in signs) / len(signs))

    def _weight(sign: str) -> float:
        if not _is_han(sign):
            return 0.8 if "\uff00" <= sign <= "\uff60" else 0.2 if "\u3040" <= sign <= "\u30ff" else 0.0
        return 1.0 if _lead(sign, codec) <= last_common else 0.2

    return score


def _japanese(text: str, signs: list[str]) -> float:
    kana = sum("\u3040" <= sign <= "\u30ff" for sign in signs) / len(signs)
    kanji = [sign for sign in signs if _is_han(sign)]
    common = sum(_lead(sign, "euc_jp") <= 0xCF for sign in kanji)  # the first level of JIS X 0208
    full_width = sum("\uff00" <= sign <= "\uff60" for sign in signs)
    share = kana + (0.85 * common + 0.2 * (len(kanji) - common) + 0.8 * full_width) / len(signs)
    return min(1.0, share * 0.9 + min(0.1, kana))


def _korean(text: str, signs: list[str]) -> float:
    hangul = sum("\uac00" <= sign <= "\ud7a3" for sign in signs) / len(signs)
    return 0.7 * hangul**2 + min(0.3, 0.9 * _share_of_common(signs, "Korean", 26))


def _is_han(sign: str) -> bool:
    return "\u4e00" <= sign <= "\u9fff"


@cache
def _lead(sign: str, codec: str) -> int:
    try:
        return sign.encode(codec)[0]
    except UnicodeEncodeError:
        return 256


# -- alphabets ---------------------------------------------------------------------------------------------
def _alphabet(
    language: str, is_letter: Callable[[str], bool], weight: float = 1.0
) -> Callable[[str, list[str]], float]:
    """Words wholly in its letters, the commonest ones common, capitals only where words begin or all over."""

    def score(text: str, signs: list[str]) -> float:
        letters = [sign for sign in signs if is_letter(sign.lower())]
        words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
        if not words or not letters:
            return 0.0
        whole = sum(_wholeness(word) for word in words) / len(words)
        common = _share_of_common([sign.lower() for sign in letters], language, 10)
        small = sum(sign.islower() or sign.lower() == sign.upper() for sign in letters) / len(letters)
        return weight * (len(letters) / len(signs)) * whole * (0.4 + 0.1 * small + min(0.5, 0.7 * common))

    return score


def _wholeness(word: str) -> float:
    """Whether it is in one script and its capitals stand where they may; short words say less."""
    if any(ord(sign) < 128 for sign in word) or not _is_cased(word):
        return 0.0
    return 1.0 if len(word) > 2 else 0.85 if len(word) == 2 else 0.5


def _is_cased(word: str) -> bool:
    return word[1:].islower() or word.isupper() or word.lower() == word.upper() or len(word) == 1


def _share_of_common(signs: Sequence[str], language: str, count: int) -> float:
    from charset_normalizer.constant import FREQUENCIES

    common = frozenset(FREQUENCIES[language][:count])
    return sum(sign in common for sign in signs) / max(len(signs), 1)


def _latin(languages: Sequence[str], weight: float) -> Callable[[str, list[str]], float]:
    """Single letters of one language among those from a to z."""

    def score(text: str, signs: list[str]) -> float:
        small = [sign.lower() for sign in signs]
        share = max(sum(_letter_weight(sign, LATIN_LETTERS[name]) for sign in small) / len(small) for name in languages)
        runs = [run for run in re.findall(r"[^\W\d_]+", text) if not run.isascii()]
        if not runs:
            return weight * share
        alone = sum(all(ord(sign) > 127 for sign in run) for run in runs) / len(runs)  # à, ó: few of the words
        cased = sum(map(_is_cased, runs)) / len(runs)
        return weight * share**2 * (1 - 0.5 * alone) * (0.5 + 0.5 * cased)

    return score


def _letter_weight(sign: str, letters: str) -> float:
    return 1.0 if sign in letters else SYMBOL_WEIGHT if sign in SYMBOLS or sign in QUOTES else 0.0


def _in_block(first: str, last: str) -> Callable[[str], bool]:
    return lambda sign: first <= sign <= last


WESTERN = ("french", "german", "spanish", "portuguese", "italian", "nordic", "english")
CENTRAL = ("polish", "czech", "hungarian", "romanian", "croatian", "german")
SCORES: Mapping[str, Callable[[str, list[str]], float]] = {
    "gb18030": _han("gb2312", 0xD7, COMMON_SIMPLIFIED),
    "big5": _han("big5", 0xC6, COMMON_TRADITIONAL),
    "cp932": _japanese,
    "euc_jp": _japanese,
    "cp949": _korean,
    "cp1252": _latin(WESTERN, 1.0),
    "cp1250": _latin(CENTRAL, 0.97),
    "iso8859_2": _latin(CENTRAL, 0.96),
    "cp1254": _latin(("turkish",), 0.95),
    "cp1257": _latin(("baltic",), 0.94),
    "cp437": _latin(WESTERN, 0.93),
    "cp850": _latin(WESTERN, 0.92),
    "cp852": _latin(CENTRAL, 0.91),
    "cp1251": _alphabet("Russian", CYRILLIC_LETTERS.__contains__),
    "koi8_r": _alphabet("Russian", CYRILLIC_LETTERS.__contains__, 0.97),
    "cp866": _alphabet("Russian", CYRILLIC_LETTERS.__contains__, 0.9),
    "iso8859_5": _alphabet("Russian", CYRILLIC_LETTERS.__contains__, 0.9),
    "cp1253": _alphabet("Greek", _in_block("\u0370", "\u03ff"), 0.97),
    "cp1255": _alphabet("Hebrew", _in_block("\u05d0", "\u05ea"), 0.97),
    "cp1256": _alphabet("Arabic", _in_block("\u0620", "\u06ff"), 0.85),
    "cp874": _alphabet("Thai", _in_block("\u0e01", "\u0e4e"), 0.97),
}
