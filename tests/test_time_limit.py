"""A run is cut to the minutes that it may take before its first step, and keeps what was decided."""

import json
from itertools import pairwise

import pytest
from conftest import learn, small

from bigmodel.core import catalog
from bigmodel.core.events import FINISHED, STOPPED
from bigmodel.core.spec import RunSpec, defaults
from bigmodel.core.split_size import small_split_words
from bigmodel.training import loop, resume_state, time_limit
from bigmodel.training.forecast import Forecast
from bigmodel.training.time_limit import Cost, Schedule, schedule

LIMITED = {"max_minutes": 3, "eval_every": 0}
NAMES = {"task": "image-classification", "architecture": "cnn", "dataset": "digits"}


def digits(**settings):
    return small(*NAMES.values(), **{"max_steps": 0, "epochs": 2, "eval_every": 0, "precision": "fp32"} | settings)


def seconds(decided, cost):
    return cost.once + decided.steps * cost.step + -(-decided.steps // decided.eval_every) * cost.validation


@pytest.mark.parametrize("step", [0.001, 0.05, 1.0])
@pytest.mark.parametrize("validation", [0.0, 0.5, 20.0])
@pytest.mark.parametrize("per_epoch", [3, 100, 5000])
def test_a_limited_run_fits_into_its_time_and_is_validated(step, validation, per_epoch):
    cost = Cost(step, validation, once=10.0)
    decided = schedule(LIMITED, per_epoch, 100 * per_epoch, cost)
    assert 1 <= decided.steps <= 100 * per_epoch and seconds(decided, cost) <= 180
    assert decided.eval_every <= max(decided.steps, per_epoch)


def test_a_short_run_is_not_made_longer_by_its_limit():
    assert schedule(LIMITED, 10, 100, Cost(0.001, 0.01, 1.0)).steps == 100


def test_an_interval_that_was_asked_for_is_kept():
    assert schedule(LIMITED | {"eval_every": 7}, 10, 10_000, Cost(0.5, 1.0, 1.0)).eval_every == 7


def test_a_test_split_that_takes_longer_than_the_limit_leaves_half_of_the_time_for_learning():
    assert schedule(LIMITED, 10, 10_000, Cost(0.1, 0.0, once=1000.0)).steps == 900


def test_without_a_limit_nothing_is_cut():
    assert schedule({"max_minutes": 0, "eval_every": 0}, 10, 10_000) == Schedule(10_000, 10)


def test_more_time_never_makes_fewer_steps():
    cost = Cost(0.2, 1.5, 4.0)
    steps = [schedule({"max_minutes": minutes, "eval_every": 0}, 50, 10**6, cost).steps for minutes in range(1, 40)]
    assert all(less <= more for less, more in pairwise(steps))


def test_who_asks_for_epochs_or_steps_gets_them():
    assert RunSpec.check(NAMES).settings["max_minutes"] == 3
    for asked in ({"epochs": 7}, {"max_steps": 7}):
        assert RunSpec.check(NAMES | {"settings": asked}).settings["max_minutes"] == 0
    both = RunSpec.check(NAMES | {"settings": {"epochs": 7, "max_minutes": 1}})
    assert (both.settings["epochs"], both.settings["max_minutes"]) == (7, 1)


def test_the_recipe_of_the_lstm_generator_has_no_limit_and_its_classifier_has_one():
    lstm, prose, verse = catalog.architecture("lstm"), catalog.dataset("prose_zh"), catalog.dataset("verse_zh")
    writer = defaults(catalog.task("text-generation"), lstm, prose)
    reader = defaults(catalog.task("text-classification"), lstm, verse)
    assert (writer["epochs"], writer["max_minutes"], reader["max_minutes"]) == (10, 0, 3)


def test_a_run_is_cut_by_the_cost_that_its_forecast_has_measured(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(time_limit, "read_cost", lambda _path: Cost(6.0, 0.0, 0.0))
    events = learn(tmp_path, cache, digits(max_minutes=1, schedule="cosine"))
    plan = next(event for event in events if event.kind == "plan")
    rates = [event["learning_rate"] for event in events if event.kind == "step"]
    assert plan["steps"] == 9 and events[-1]["state"] == FINISHED
    assert rates[-1] < rates[0]  # the schedule follows the steps that are left


def test_a_run_that_goes_on_keeps_the_steps_that_were_decided(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(time_limit, "read_cost", lambda _path: Cost(5.0, 0.0, 0.0))
    asked = iter(range(10_000))
    first = learn(tmp_path, cache, digits(max_minutes=1), stopped=lambda: next(asked) >= 6)
    assert first[-1]["state"] == STOPPED
    monkeypatch.setattr(time_limit, "read_cost", lambda _path: Cost(0.5, 0.0, 0.0))
    second = learn(tmp_path, cache, digits(max_minutes=1))
    plans = [event for event in [*first, *second] if event.kind == "plan"]
    assert [plan["steps"] for plan in plans] == [10, 10] and second[-1]["state"] == FINISHED


def test_time_that_was_misjudged_ends_the_run_with_its_best_weights_measured(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "limit_seconds", lambda _settings: 1e-9)
    events = learn(tmp_path, cache, digits())
    assert "time limit" in str(events[-1]["reason"]) and events[-1]["state"] == FINISHED
    assert [event["step"] for event in events if event.kind == "validation"] == [1]
    assert any(event.kind == "result" for event in events)


def test_a_cost_is_read_as_it_was_written_and_a_damaged_one_not_at_all(tmp_path):
    path, cost = tmp_path / "paces" / "cost.json", Cost(0.1, 0.2, 0.3)
    time_limit.write_cost(path, cost)
    assert time_limit.read_cost(path) == cost
    path.write_text(json.dumps({"step": 0, "validation": 1, "once": 2}))
    assert time_limit.read_cost(path) is None
    assert time_limit.read_cost(tmp_path / "none.json") is None


def test_a_forecast_warns_of_too_little_time_few_texts_and_small_splits():
    head, rows = catalog.task("text-classification").head, {"train": 400, "validation": 57, "test": 57}
    made = Forecast(1, 1, 10, rows=rows, head=head, few_texts=400, enough_seconds=600)
    said = " ".join(map(str, made.warnings()))
    assert "about 10 min" in said and "400 rows are few" in said and "57 rows" in said and "±13" in said
    assert not Forecast(1, 1, 10, rows={"train": 9000, "validation": 500, "test": 500}, head=head).warnings()


def test_only_where_a_row_is_an_answer_few_of_them_are_warned_of():
    rows = {"train": 80, "validation": 10, "test": 10}
    said = {name: Forecast(1, 1, 1, rows=rows, head=task.head).warnings() for name, task in catalog.tasks().items()}
    assert not said["text-generation"] and not said["dialogue"], "each of their tokens is one"
    assert "±31 points" in str(*said["image-classification"]) and "±" not in str(*said["translation"])


def test_splits_of_different_size_are_named_one_by_one():
    assert [str(words)[:25] for words in small_split_words({"validation": 20, "test": 90}, classes=True)] == [
        "The validation split has ",
        "The test split has only 9",
    ]
    assert not small_split_words({"validation": 100, "test": 0}, classes=True)


def test_checkpoints_hold_the_schedule(cache, tmp_path):
    learn(tmp_path, cache, digits(max_steps=3))
    newest = resume_state.checkpoint_folders(tmp_path)[0]
    assert resume_state.read(newest)["schedule"]["steps"] == 3
