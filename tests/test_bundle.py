"""The bundled data are what the manifest says, and no held-out row is in the training rows."""

import hashlib
import json
import unicodedata
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "bigmodel" / "datasets" / "bundle"
MANIFEST = json.loads((BUNDLE / "manifest.json").read_text("utf-8"))
COLUMNS = {
    "poetry_zh": ["text", "title", "author", "dynasty", "original", "split"],
    "prose_zh": ["text", "title", "author", "book", "split"],
    "classics_en": ["text", "title", "author", "split"],
    "trivia_en": ["text", "label", "split"],
    "verse_zh": ["text", "label", "title", "author", "split"],
    "dialogue_zh": ["messages", "topic", "split"],
    "dialogue_en": ["messages", "topic", "split"],
    "en_zh": ["source", "target", "origin", "split"],
    "en_de": ["source", "target", "origin", "split"],
    "fashion_mnist": ["image", "label", "split"],
    "digits": ["image", "label", "split"],
}
CONTENT = {name: columns[:2] if name in ("en_zh", "en_de") else columns[:1] for name, columns in COLUMNS.items()}
TEXTS = [
    (name, column) for name, columns in CONTENT.items() for column in columns if column not in ("image", "messages")
]
TRADITIONAL = set("東車門見馬鳥風長書來時後國個們這為說會學對過還開電話語請問題頭點無葉萬與樂歲華聲處夢難繡")
RARE = set("□■○●�?[]()【】〔〕{}<>*_0123456789")


@cache
def rows(name: str) -> list[dict]:
    return pq.read_table(BUNDLE / f"{name}.parquet").to_pylist()


def fold(value: str | dict) -> str | bytes:
    """Content without case, spaces, digits and punctuation; of a picture, its pixels."""
    if isinstance(value, dict):
        return value["bytes"]
    return "".join(c for c in unicodedata.normalize("NFKC", value).casefold() if c.isalpha())


def contents(name: str, column: str, split: str) -> list:
    return [fold(row[column]) for row in rows(name) if row["split"] == split]


def grams(text: str, width: int) -> set[str]:
    return {text[at : at + width] for at in range(max(1, len(text) - width + 1))}


def nearest(texts: list[str], asked: list[str], width: int) -> float:
    """The largest Jaccard index of n-grams between an asked text and any of the texts."""
    sets = [grams(text, width) for text in texts]
    holders = defaultdict(list)
    for at, found in enumerate(sets):
        for gram in found:
            holders[gram].append(at)
    best = 0.0
    for text in asked:
        mine, shared = grams(text, width), defaultdict(int)
        for gram in mine:
            for at in holders.get(gram, ()):
                shared[at] += 1
        best = max([best, *(common / (len(mine) + len(sets[at]) - common) for at, common in shared.items())])
    return best


@pytest.mark.parametrize("name", COLUMNS)
def test_the_file_is_the_one_in_the_manifest(name):
    entry = MANIFEST[name]
    data = (BUNDLE / entry["file"]).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["bytes"])


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_and_row_counts_are_as_stated(name):
    splits = [row["split"] for row in rows(name)]
    assert pq.read_schema(BUNDLE / f"{name}.parquet").names == COLUMNS[name]
    assert {split: splits.count(split) for split in set(splits)} == MANIFEST[name]["rows"]
    assert all(MANIFEST[name]["rows"][split] > 0 for split in ("train", "validation", "test"))


def test_the_whole_bundle_stays_under_20_megabytes():
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 20_000_000


@pytest.mark.parametrize(("name", "least"), [("poetry_zh", 10_000), ("en_zh", 20_000), ("fashion_mnist", 10_000)])
def test_there_are_enough_rows(name, least):
    assert len(rows(name)) >= least


def test_the_english_classics_have_at_least_a_megabyte():
    assert sum(len(row["text"]) for row in rows("classics_en")) >= 1_000_000


@pytest.mark.parametrize(("name", "column"), [(name, column) for name, found in CONTENT.items() for column in found])
def test_no_content_is_in_two_splits(name, column):
    train, validation, test = (set(contents(name, column, split)) for split in ("train", "validation", "test"))
    assert not train & validation and not train & test and not validation & test


@pytest.mark.parametrize(("name", "column"), TEXTS)
def test_no_test_row_nearly_repeats_a_training_row(name, column):
    width = 3 if (name, column) == ("en_zh", "target") else 5
    asked = contents(name, column, "test")[:150]
    assert nearest(contents(name, column, "train"), asked, width) < 0.5


@pytest.mark.parametrize("name", ["poetry_zh", "prose_zh", "classics_en", "trivia_en", "verse_zh"])
def test_no_passage_occurs_twice(name):
    found = [fold(row["text"]) for row in rows(name)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["en_zh", "en_de"])
def test_an_english_text_has_one_translation(name):
    found = [fold(row["source"]) for row in rows(name)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "column"), [("poetry_zh", "text"), ("prose_zh", "text"), ("verse_zh", "text"), ("en_zh", "target")]
)
def test_chinese_is_in_simplified_characters(name, column):
    assert not TRADITIONAL & set("".join(row[column] for row in rows(name)))


def test_poems_are_whole():
    assert not RARE & set("".join(row["text"] for row in rows("poetry_zh")))
    assert all(row["title"] and row["author"] for row in rows("poetry_zh"))


def test_no_text_is_empty_and_no_placeholder_is_unknown():
    for name, column in TEXTS:
        assert all(row[column].strip() == row[column] != "" for row in rows(name))
    for row in rows("en_zh"):
        assert {"{0}" in row["source"], "{1}" in row["source"]} == {"{0}" in row["target"], "{1}" in row["target"]}


@pytest.mark.parametrize("name", ["trivia_en", "verse_zh"])
def test_the_classes_of_texts_are_balanced_and_named_alike(name):
    from datasets import Features

    from bigmodel.core import catalog

    names = Features.from_arrow_schema(pq.read_schema(BUNDLE / f"{name}.parquet"))["label"].names
    assert names == [str(one) for one in catalog.dataset(name).columns["label"].names]
    for split in ("validation", "test"):
        labels = [row["label"] for row in rows(name) if row["split"] == split]
        assert len({labels.count(label) for label in range(len(names))}) == 1


def test_all_verse_of_a_poet_is_in_one_split():
    splits = defaultdict(set)
    for row in rows("verse_zh"):
        splits[row["author"]].add(row["split"])
    assert all(len(split) == 1 for split in splits.values())


@pytest.mark.parametrize("name", ["dialogue_zh", "dialogue_en"])
def test_what_is_asked_first_is_asked_in_one_split_only(name):
    splits = defaultdict(set)
    for row in rows(name):
        turns = json.loads(row["messages"])
        splits[fold(turns[0]["content"]) or turns[0]["content"]].add(row["split"])
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert all(turn["content"].strip() for turn in turns)
    assert all(len(split) == 1 for split in splits.values())


def test_the_poems_that_are_asked_about_are_in_one_split():
    splits = defaultdict(set)
    for row in rows("dialogue_zh"):
        for turn in json.loads(row["messages"]):
            if turn["role"] == "assistant" and turn["content"].count("\n") > 2:
                splits[turn["content"]].add(row["split"])
    assert len(splits) > 200 and all(len(split) == 1 for split in splits.values())


@pytest.mark.parametrize(("name", "size"), [("fashion_mnist", (28, 28)), ("digits", (8, 8))])
def test_pictures_decode_with_their_class_names(name, size):
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset(pq.read_table(BUNDLE / f"{name}.parquet"))
    features = datasets.Features.from_arrow_schema(found.data.schema)
    assert len(features["label"].names) == 10
    assert features["image"].decode_example(rows(name)[0]["image"]).size == size


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_garments_are_balanced(split):
    labels = [row["label"] for row in rows("fashion_mnist") if row["split"] == split]
    assert len({labels.count(label) for label in range(10)}) == 1


@pytest.mark.parametrize("name", COLUMNS)
def test_the_licences_name_every_source(name):
    text = (ROOT / "DATA_LICENSES.md").read_text("utf-8")
    for source in MANIFEST[name]["sources"]:
        assert source["package"] in text and source["version"] in text
