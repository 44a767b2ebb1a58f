"""What an encoder-decoder has to be told about languages: its own names for them, and what stands before a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

AUTO = "auto"
MULTILINGUAL_TOKENIZERS = frozenset(
    {"NllbTokenizer", "M2M100Tokenizer", "MBartTokenizer", "MBart50Tokenizer"}
)  # mark texts by language
LANGUAGE_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}|__[a-z]{2,3}__")  # NLLB, mBART, M2M100
# NLLB names a language by three letters and its script; all others can be found by their first letters
NLLB_CODES: Mapping[str, str] = {
    "ar": "arb_Arab", "bg": "bul_Cyrl", "bn": "ben_Beng", "ca": "cat_Latn", "cs": "ces_Latn", "da": "dan_Latn",
    "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn",
    "fa": "pes_Arab", "fi": "fin_Latn", "fr": "fra_Latn", "ga": "gle_Latn", "gl": "glg_Latn", "he": "heb_Hebr",
    "hi": "hin_Deva", "hr": "hrv_Latn", "hu": "hun_Latn", "id": "ind_Latn", "is": "isl_Latn", "it": "ita_Latn",
    "ja": "jpn_Jpan", "ka": "kat_Geor", "kk": "kaz_Cyrl", "km": "khm_Khmr", "ko": "kor_Hang", "lt": "lit_Latn",
    "lv": "lvs_Latn", "mk": "mkd_Cyrl", "mn": "khk_Cyrl", "mr": "mar_Deva", "ms": "zsm_Latn", "my": "mya_Mymr",
    "nb": "nob_Latn", "ne": "npi_Deva", "nl": "nld_Latn", "nn": "nno_Latn", "no": "nob_Latn", "pl": "pol_Latn",
    "pt": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl", "sk": "slk_Latn", "sl": "slv_Latn", "sq": "als_Latn",
    "sr": "srp_Cyrl", "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu", "th": "tha_Thai",
    "tr": "tur_Latn", "ug": "uig_Arab", "uk": "ukr_Cyrl", "ur": "urd_Arab", "uz": "uzn_Latn", "vi": "vie_Latn",
    "yue": "yue_Hant", "zh": "zho_Hans", "zh_cn": "zho_Hans", "zh_hans": "zho_Hans", "zh_hant": "zho_Hant",
    "zh_tw": "zho_Hant",
}  # fmt: skip
DETECTION_SAMPLE = 200  # texts that say which language a column is in
MAX_SHOWN = 12  # languages of a refusal


def tokenizer_class(folder: Path) -> str:
    """As transformers names it, without the ending that older versions gave to the fast ones."""
    return str(_read_json(folder / "tokenizer_config.json").get("tokenizer_class") or "").removesuffix("Fast")


def language_codes(folder: Path) -> tuple[str, ...]:
    """A base's own names of the languages that it marks; () for one that marks none, or whose files do not say."""
    if tokenizer_class(folder) not in MULTILINGUAL_TOKENIZERS:
        return ()
    found = _special_token_codes(
        _read_json(folder / "tokenizer_config.json"), _read_json(folder / "special_tokens_map.json")
    )
    words = folder / "tokenizer.json"
    return found or (_tokenizer_codes(words, words.stat().st_mtime_ns) if words.exists() else ())


@cache
def _tokenizer_codes(words: Path, written: int) -> tuple[str, ...]:
    """A file of many megabytes, read once as long as it is the same."""
    return _special_token_codes(_read_json(words))


def _special_token_codes(*objects: Mapping) -> tuple[str, ...]:
    tokens: list = []
    for object_ in objects:
        for name in ("additional_special_tokens", "extra_special_tokens", "added_tokens"):
            tokens += object_.get(name) or ()
        tokens += (object_.get("added_tokens_decoder") or {}).values()
    texts = [str(token.get("content", "")) if isinstance(token, Mapping) else str(token) for token in tokens]
    return filter_language_codes(texts)


def filter_language_codes(tokens: Iterable[str]) -> tuple[str, ...]:
    """Names of languages among tokens."""
    return tuple(dict.fromkeys(token.strip("_") for token in tokens if LANGUAGE_TOKEN.fullmatch(token)))


def _read_json(file: Path) -> Mapping:
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, Mapping) else {}


def find_code(asked: str, known: Sequence[str]) -> str:
    """The base's own name of a language that is asked for as 'zh', 'zh-TW', 'zho' or by that name; '' for none."""
    plain = asked.strip().strip("_").replace("-", "_").lower()
    by_name = {code.lower(): code for code in reversed(known)}
    if plain in by_name:
        return by_name[plain]
    if NLLB_CODES.get(plain, "").lower() in by_name:
        return NLLB_CODES[plain]
    return {code.partition("_")[0]: code for code in reversed(known)}.get(plain, "")


def refuse_unknown(asked: str, known: Sequence[str], title: object, field: str) -> None:
    """Refusal where a base that marks languages has no mark for one."""
    if not asked.strip() or not known or find_code(asked, known):
        return
    what = _("{base} does not know the language {language}.", base=title, language=asked.strip()[:40])
    some = ", ".join(known[:MAX_SHOWN]) + (" ..." if len(known) > MAX_SHOWN else "")
    raise Refusal(what, do=_("It knows: {languages}.", languages=some), field=field)


def detect_language(texts: Iterable[str]) -> str:
    """The language of a column, by two letters."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE).classify("\n".join(islice(texts, DETECTION_SAMPLE))[:20_000])[
        0
    ]


def source_prefix(asked: str, folder: Path, model_type: str, languages: tuple[str, str]) -> str:
    """What stands before each text that is read: for T5 the sentence that it was trained with."""
    if asked.strip() != AUTO:
        return asked if not asked.strip() or asked.endswith(" ") else f"{asked} "
    if model_type != "t5" or tokenizer_class(folder) == "ByT5Tokenizer":  # those that have learnt no such sentence
        return ""
    from babel import Locale, UnknownLocaleError

    try:
        source, target = (Locale.parse(language.partition("_")[0].lower()).english_name for language in languages)
    except (ValueError, UnknownLocaleError):  # a language without a name: nothing is better than a wrong one
        return ""
    return f"translate {source} to {target}: "
