"""The message catalogues fit the code: complete, nothing stale, the same placeholders, no English left over."""

import sys
from pathlib import Path

import pytest

from bigmodel.core.words import LANGUAGES, Words, catalogue, say

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import messages  # noqa: E402

OTHERS = sorted(set(LANGUAGES) - {"en"})


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated(language):
    assert list(messages.problems(language)) == []


def test_no_sentence_hides_where_extraction_does_not_look():
    assert list(messages.hidden()) == []


def test_there_is_a_catalogue_for_every_language():
    assert messages.languages() == OTHERS


def test_sentences_are_found_in_pages_and_leaves():
    found = {message.id for message in messages.from_code() if message.id}
    assert {"Start training", "Learning rate", "Perplexity", "There is no run {run}."} <= found


def test_a_missing_sentence_is_noticed(monkeypatch):
    code = messages.from_code()
    code.add("A sentence nobody has translated.")
    monkeypatch.setattr(messages, "from_code", lambda: code)
    assert any("nobody has translated" in problem for problem in messages.problems("zh"))


def test_english_left_in_a_translation_is_noticed():
    assert messages.english("把 loss 减小，用 AdamW，见 `bigmodel show`，{name}") == ["loss"]


def test_a_sentence_is_said_in_the_language_asked_for():
    assert say(Words("Learning rate"), "zh") == "学习率"
    assert say(Words("Learning rate"), "en") == "Learning rate"


def test_english_needs_no_catalogue():
    assert catalogue("en") == {}
