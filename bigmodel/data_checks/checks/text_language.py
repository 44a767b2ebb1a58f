"""Texts in another language than their column's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

from bigmodel.core.words import _
from bigmodel.data_checks.finding import LEAVE_OUT, WARNING, Check, Fact, Finding
from bigmodel.data_checks.row_batches import Rows

# The languages that are told apart. Of rarer ones a model of short texts sees too many in too few words.
CANDIDATE_LANGUAGES = [
    "en",
    "de",
    "fr",
    "es",
    "it",
    "nl",
    "pt",
    "zh",
    "ja",
    "ko",
    "ru",
    "sv",
    "pl",
    "da",
    "no",
    "cs",
    "tr",
    "fi",
    "hu",
    "ro",
    "uk",
    "el",
    "ar",
    "he",
    "th",
    "hi",
    "vi",
    "id",
    "bg",
    "hr",
    "sk",
    "ca",
    "fa",
    "bn",
    "ta",
]
SAMPLE = 1000  # texts that say which language a column is in
MIN_LANGUAGE_SHARE = 0.05  # of a column's texts: a language with so many belongs to it
UNLIKELY, LIKELY = 0.08, 0.25  # the column's language has at most this chance, another at least that
NON_LATIN = frozenset(["zh", "ja", "ko", "th", "ar", "fa", "he", "hi", "bn", "ta", "el"])  # no letter in common with it
MIN_WORDS, MIN_LETTERS = 3, 8  # texts of fewer words, or of so few letters, are names as often as not
MIN_LETTERS_OF_FEW_WORDS = 12  # letters of one or two words that are a name no more than a sentence is
SURE, IMPOSSIBLE = 0.5, 0.02  # of these few the other language has at least that chance, the column's own at most this
MAX_NAME_WORDS, MIN_CAPITALIZED_SHARE = 8, 0.6  # words that a name has at most, and how many of them have a capital
PROGRESS_EVERY = 2000
NOT_LANGUAGE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\{[^{}]*\}|%\(?\w*\)?[sd]|<[^<>]*>|https?://\S+|\S+@\S+|[\d_/\\]+", re.DOTALL
)
WORD = re.compile(r"[^\W\d_]{2,}")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")
LETTER = re.compile(r"[^\W\d_]")


class TextLanguage(Check):
    name = "languages"
    order = 16
    title = _("Languages")
    about = _("Texts in another language than the rest of their column: exchanged, not translated, strayed in.")

    def run(self, rows: Rows) -> Iterator[Finding | Fact | float]:
        counted: dict[str, dict[str, int]] = {}
        strange: dict[int, str] = {}
        work, done = sum(len(rows.message_texts(name).texts) for name in rows.texts), 0
        for name in rows.texts:
            said = rows.message_texts(name)
            own, counted[name] = _column_languages(said.texts)
            for place, role, text in zip(said.row_positions, said.roles, said.texts, strict=True):
                named = role and not own <= NON_LATIN and is_name(text)
                language = foreign_language(text, own) if own and not named else ""
                if language:
                    strange[place] = language
                done += 1
                if done % PROGRESS_EVERY == 0:
                    yield done / work
        yield Fact("languages", counted)
        if strange:
            strange = dict(sorted(strange.items()))
            sentence = _("{count} texts are in another language than their column.", count=len(strange))
            why = _("The model would learn to change the language in between.")
            yield self.droppable(rows, WARNING, sentence, why, LEAVE_OUT, strange, strange)


def _column_languages(texts: Sequence[str]) -> tuple[frozenset[str], dict[str, int]]:
    """(the languages that belong to a column, how many texts of a sample are in which)."""
    drawn = Random(0).sample(range(len(texts)), min(SAMPLE, len(texts)))  # every n-th may fall in step with the data
    counted = Counter()
    for place in drawn:
        chances = language_probabilities(texts[place])
        if chances:
            best = max(chances, key=chances.__getitem__)
            if chances[best] > 0.5:
                counted[best] += 1
    total = sum(counted.values())
    own = frozenset(language for language, count in counted.items() if count >= MIN_LANGUAGE_SHARE * total)
    return own, dict(counted.most_common(6))


def foreign_language(text: str, own: frozenset[str]) -> str:
    """The language of a text that is in none of a column's; '' for one that is, or may be."""
    chances = language_probabilities(text)
    if not chances:
        return _foreign_few_words(text, own)
    if sum(chances.get(language, 0.0) for language in own) > UNLIKELY:
        return ""
    best = max(chances, key=chances.__getitem__)
    return best if chances[best] >= LIKELY or own <= NON_LATIN else ""


def is_name(text: str) -> bool:
    """Whether a few words look like a name, which is in no language, among other words of the same letters; a turn is often
    nothing else."""
    words = WORD.findall(text)
    capitalized = sum(word[0].isupper() for word in words)
    return len(words) <= MAX_NAME_WORDS and capitalized >= MIN_CAPITALIZED_SHARE * len(words)


def _foreign_few_words(text: str, own: frozenset[str]) -> str:
    """The same of one or two long words, in a column whose language has the same letters."""
    said = NOT_LANGUAGE.sub(" ", text[:1000])
    if own & NON_LATIN or len(LETTER.findall(said)) < MIN_LETTERS_OF_FEW_WORDS or HAN.search(said) or KANA.search(said):
        return ""
    chances = dict(_identifier().rank(said))
    best = max(chances, key=chances.__getitem__)
    sure = chances[best] >= SURE and sum(chances.get(language, 0.0) for language in own) <= IMPOSSIBLE
    return best if sure and best not in own else ""


def language_probabilities(text: str) -> dict[str, float]:
    """Language -> its probability; nothing for a text that is too short to say."""
    said = NOT_LANGUAGE.sub(" ", text[:1000])
    letters = len(LETTER.findall(said))
    han, kana = len(HAN.findall(said)), len(KANA.findall(said))
    if kana and (han + kana) * 2 > letters:
        return {"ja": 1.0}
    if han and (han * 3 > letters or han >= 8):  # a character is a word: names in Latin letters stand between them
        return {"zh": 1.0} if han >= 2 else {}
    if letters < MIN_LETTERS or len(WORD.findall(said)) < MIN_WORDS:
        return {}
    return dict(_identifier().rank(said))


@cache
def _identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(CANDIDATE_LANGUAGES)
    return identifier
