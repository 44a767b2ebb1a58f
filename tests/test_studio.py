"""The front desk beside its runs: models found, data looked at, the device, all without torch."""

import json
from itertools import pairwise

import pytest

from bigmodel.core import catalog, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS
from bigmodel.core.words import say
from bigmodel.data import browse
from bigmodel.runs import device
from bigmodel.studio import Studio


@pytest.fixture
def studio(home):
    return Studio(home)


def made(studio, run, **about):
    """A model folder as a run leaves it, as far as lists read it."""
    folder = studio.home / "runs" / run / "model"
    folder.mkdir(parents=True)
    spec = {"task": "image-classification", "architecture": "cnn", "dataset": "digits", "name": "", "settings": {}}
    page = {"spec": spec, "metrics": {}, "step": 1, "parameters": 5, "created": 1.0} | about
    (folder / "bigmodel.json").write_text(json.dumps(page))


# -- data -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", catalog.datasets())
def test_rows_are_counted_and_shown_as_a_person_reads_them(studio, name):
    facts, columns = studio.data.stats(name), catalog.dataset(name).columns
    assert all(facts["rows"][split] > 0 for split in ("train", "validation", "test")) and facts["bytes"] > 0
    for split, rows in facts["rows"].items():
        assert len(studio.data.peek(name, split, start=rows - 1)) == 1
        assert studio.data.peek(name, split, start=rows) == []
    (row,) = studio.data.peek(name, count=1)
    for column, value in row.items():
        if columns[column].kind == "image":
            assert value.startswith(b"\x89PNG")
        elif columns[column].kind == "class":
            assert value in columns[column].names
        else:
            assert isinstance(value, str)
    for bars in facts["lengths"].values():
        assert sum(rows for _low, _high, rows in bars) == sum(facts["rows"].values())
        assert all(low <= high < after for (low, high, _n), (after, _h, _m) in pairwise(bars))


def test_lengths_are_told_in_a_few_numbers_too(studio):
    import pyarrow.parquet as parquet

    lengths = sorted(
        len(text) for text in parquet.read_table(catalog.dataset("classics_en").path())["text"].to_pylist()
    )
    told = studio.data.stats("classics_en")["summary"]["text"]
    assert (told["shortest"], told["longest"], told["total"]) == (lengths[0], lengths[-1], sum(lengths))
    assert told["median"] == lengths[(len(lengths) - 1) // 2] and told["mean"] == sum(lengths) / len(lengths)
    assert (
        sum(length <= told["most"] for length in lengths)
        >= 0.95 * len(lengths)
        > sum(length < told["most"] for length in lengths)
    )


def test_classes_are_counted_under_their_names(studio):
    classes = studio.data.stats("digits")["classes"]
    assert list(classes) == list("0123456789") and sum(classes.values()) == 1797


def test_rows_are_found_by_a_part_of_their_text_or_the_name_of_their_class(studio):
    found = studio.data.peek("classics_en", search="LOVE")
    assert found and all(any("love" in str(value).lower() for value in row.values()) for row in found)
    for words in ("sneaker", "运动鞋"):
        for row in studio.data.peek("fashion_mnist", search=words):
            assert say(row["label"], "en") == "Sneaker"
    assert studio.data.peek("digits", search="7", count=3)
    assert studio.data.peek("classics_en", search="no such words anywhere") == []


@pytest.mark.parametrize(
    ("start", "count", "rows"), [(-5, 3, 3), (0, -1, 0), (0, 10**9, limits.TABLE_ROWS), (10**9, 5, 0)]
)
def test_no_more_rows_than_the_bound_are_shown(studio, start, count, rows):
    assert len(studio.data.peek("digits", start=start, count=count)) == rows


def test_looking_at_what_is_not_there_is_refused_with_what_is(studio):
    with pytest.raises(Refusal, match="digits"):
        studio.data.peek("nothing")
    with pytest.raises(Refusal, match="train, validation, test"):
        studio.data.peek("digits", "all")


def test_counting_is_done_once(studio, monkeypatch):
    studio.data.stats("fashion_mnist")
    browse._cached_stats.cache_clear()  # as in another process
    monkeypatch.setattr(browse, "_compute_stats", None)
    again = Studio(studio.home).data.stats("fashion_mnist")
    assert again["rows"] == {"train": 8500, "validation": 500, "test": 1000}
    assert list((studio.home / "cache" / "facts").iterdir())


# -- models ---------------------------------------------------------------------------------------
def test_starters_are_models_like_any_other(studio):
    starters = [path.name for path in sorted(STARTERS.glob("*")) if (path / "bigmodel.json").exists()]
    assert [model.id for model in studio.models.all()] == [f"starter:{name}" for name in starters]
    for name in starters:
        model = studio.models.get(f"starter:{name}")
        assert model.starter and model.parameters > 0 and model.metrics and model.title


@pytest.mark.parametrize(
    "id", ["", ".", "..", "starter:", "starter:..", "starter:../studio", "nothing", "/etc", "a\0b"]
)
def test_names_that_are_no_models_are_refused(studio, id):
    for act in (studio.models.get, studio.models.examples, lambda id: studio.models.ask(id, {})):
        with pytest.raises(Refusal, match="There is no model"):
            act(id)


@pytest.mark.parametrize("page", ["", "{", "[]", "{}", '{"spec": 5}'])
def test_a_model_whose_page_cannot_be_read_is_no_model(studio, page):
    made(studio, "broken")
    (studio.home / "runs" / "broken" / "model" / "bigmodel.json").write_text(page)
    with pytest.raises(Refusal, match="There is no model"):
        studio.models.get("broken")


def test_a_model_without_a_name_is_called_by_what_it_is(studio):
    made(studio, "a-run")
    title = studio.models.get("a-run").title
    assert say(title, "en") == "Convolutional network, Handwritten digits"


# -- the device -----------------------------------------------------------------------------------
def test_the_device_tells_how_busy_it_is(studio):
    found = studio.device()
    assert found.kind in ("cpu", "cuda", "mps") and found.name
    assert set(found.used) == set(found.total)
    assert all(0 <= used <= found.total[name] for name, used in found.used.items())


@pytest.mark.parametrize(("visible", "first"), [(None, 0), ("", -1), ("-1", -1), ("2,3", 2), ("1", 1), ("GPU-abc", 0)])
def test_the_gpus_that_torch_may_not_see_do_not_count(monkeypatch, visible, first):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device._first_visible() == first


def test_runs_on_the_same_device_have_the_same_key():
    assert (
        device.resolve("auto") == device.best()
        and device.resolve("cuda") == "cuda:0"
        and device.resolve("cpu") == "cpu"
    )
