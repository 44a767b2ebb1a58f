"""Rows as a person looks for them: by part, class, length and words, small files and large ones alike."""

import pyarrow.parquet as parquet
import pytest
from conftest import small
from test_own_data import bring, reviews

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import STOPPED
from bigmodel.core.jobs import Cancelled
from bigmodel.data import browse, row_index
from bigmodel.data.browse import RowQuery
from bigmodel.data.prepare import prepare
from bigmodel.studio import Studio
from bigmodel.training.loop import train


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    one = Studio(tmp_path_factory.mktemp("rows"))
    yield one
    one.close()


@pytest.fixture
def large(monkeypatch):
    """Every file is too large to be held: it is counted and searched in another process, and read in parts."""
    for room, name in ((row_index, "INLINE_BYTES"), (browse, "IN_MEMORY_BYTES")):
        monkeypatch.setattr(room, name, 0)
    browse._hits.cache_clear()


def table(name):
    return parquet.read_table(catalog.dataset(name).path()).to_pylist()


@pytest.mark.parametrize("split", ["", "test"])
def test_rows_of_a_class_are_found_with_their_numbers(studio, split):
    found = studio.data.find_rows("digits", RowQuery(split, classes=(3, 5)))
    right = [n for n, row in enumerate(table("digits"), 1) if row["label"] in (3, 5) and split in ("", row["split"])]
    assert found.total == len(right) and [row["row"] for row in found.rows] == right[:50]
    assert {row["label"] for row in found.rows} == {"3", "5"}


def test_rows_of_a_length_are_found(studio):
    found = studio.data.find_rows("prose_zh", RowQuery("train", column="text", shortest=20, longest=30))
    right = [row for row in table("prose_zh") if row["split"] == "train" and 20 <= len(row["text"]) <= 30]
    assert found.total == len(right) > 0
    assert [row["text"] for row in found.rows] == [row["text"] for row in right[:50]]


def test_words_class_and_part_narrow_each_other(studio):
    found = studio.data.find_rows("trivia_en", RowQuery("train", "MUSIC", (1,)))
    for row in found.rows:
        assert row["split"] == "train" and "music" in row["text"].lower()
    assert 0 < found.total < studio.data.find_rows("trivia_en", RowQuery("train", "music")).total


def test_a_large_file_gives_the_same_rows_without_being_held(large, tmp_path):
    one, other = Studio(tmp_path / "large"), RowQuery("train", "LOVE", column="text", shortest=100)
    found = one.data.find_rows("classics_en", other, 10, 5)
    rows = [n for n, row in enumerate(table("classics_en"), 1)
            if row["split"] == "train" and "love" in row["text"].lower() and len(row["text"]) >= 100]  # fmt: skip
    assert (found.total, found.complete) == (len(rows), True)
    assert [row["row"] for row in found.rows] == rows[10:15]
    assert browse._table.cache_info().currsize <= 3 and browse._row_group.cache_info().currsize


def test_own_rows_keep_their_numbers_in_a_new_version(home):
    studio = Studio(home)
    old = bring(studio, "r.csv", reviews(60))
    new = studio.versions.derive(old.name, [{"drop": [2, 3]}])
    assert studio.data.find_rows(new, RowQuery()).rows[0]["row"] == 4
    assert [row["row"] for row in studio.data.rows_by_number(new, [2, 5, 7])] == [5, 7]
    assert catalog.dataset(new).version.manifest["parent"] == old.name


def test_a_part_that_is_none_is_refused(studio):
    with pytest.raises(Refusal, match="train, validation, test"):
        studio.data.find_rows("digits", RowQuery("nothing"))


# -- what a model sees of one ------------------------------------------------------------------------------
def test_one_row_is_seen_as_the_model_gets_it(studio):
    spec = small("text-classification", "lstm", "trivia_en")
    (one,) = studio.models.batch_view(spec, row=17).examples
    said = "".join(text for text, _id, kind in one["parts"]["text"] if kind != "special")
    right = table("trivia_en")[16]
    assert said.replace(" ", "")[:20].lower() == right["text"].replace(" ", "")[:20].lower()
    assert one["label"] == str(catalog.dataset("trivia_en").columns["label"].names[right["label"]])
    with pytest.raises(Refusal, match="no row"):
        studio.models.batch_view(spec, row=10**6)


def test_rows_are_found_by_their_tokens_once_these_are_counted(studio):
    spec = small("text-classification", "lstm", "trivia_en")
    *shares, unit = studio.models.count_tokens(spec)
    assert shares[-1] == 1.0 and list(studio.models.count_tokens(spec)) == [unit]
    few = studio.data.find_rows("trivia_en", RowQuery(column="text", unit=unit, longest=9))
    many = studio.data.find_rows("trivia_en", RowQuery(column="text", unit=unit, shortest=10))
    assert few.total and many.total and few.total + many.total == 5993
    assert max(len(row["text"]) for row in few.rows) < max(len(row["text"]) for row in many.rows)


def test_conversations_are_found_by_the_tokens_that_they_are_learnt_as(studio):
    spec = small("dialogue", "gpt", "dialogue_zh", block_size=256)
    *_shares, unit = studio.models.count_tokens(spec)
    total = sum(studio.data.stats("dialogue_zh")["rows"].values())
    few = studio.data.find_rows("dialogue_zh", RowQuery(column="messages", unit=unit, longest=40))
    assert 0 < few.total < total
    (one,) = studio.models.batch_view(spec, row=few.rows[0]["row"]).examples
    written = [token for token in one["parts"]["text"] if token[2] != "padding"]
    exact = RowQuery(column="messages", unit=unit, shortest=len(written), longest=len(written))
    assert few.rows[0]["row"] in [row["row"] for row in studio.data.find_rows("dialogue_zh", exact, 0, 1000).rows]


# -- nobody waits for it any more --------------------------------------------------------------------------
@pytest.mark.parametrize("after", [0, 3, 9])
@pytest.mark.parametrize(
    ("task", "network", "dataset"),
    [("text-generation", "lstm", "prose_zh"), ("translation", "transformer", "en_zh"), ("image-classification", "cnn", "digits")],
)  # fmt: skip
def test_encoding_hears_a_stop_and_keeps_nothing(task, network, dataset, after, tmp_path):
    asked = iter(range(10**9))
    with pytest.raises(Cancelled):
        prepare(small(task, network, dataset).resolve(), tmp_path, stopped=lambda: next(asked) >= after)
    assert not list((tmp_path / "encoded").iterdir())


def test_a_run_that_is_stopped_while_it_encodes_ends_as_stopped(tmp_path):
    spec = small("text-generation", "lstm", "prose_zh")
    *_before, last = train(spec, tmp_path / "run", lambda: True, tmp_path / "cache", "cpu")
    assert last["state"] == STOPPED and "encoded" in last["reason"]["text"]
