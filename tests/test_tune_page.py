"""The Tune page in both languages: a search is asked for, watched, stopped, deleted, and its best taken over."""

import pytest
from test_pages import PLACES, SENTENCE, _without_terms, empty_home, nodes, said, visit  # noqa: F401
from test_tuning import Trainer, asked

from bigmodel.core import catalog
from bigmodel.studio import Studio
from bigmodel.tuning import study as states

KEY = "image-classification.digits.cnn"
DIGITS = {"task": "image-classification", "dataset": "digits", "architecture": "cnn"}


@pytest.fixture
def searched(empty_home):  # noqa: F811
    """A home with a study whose trials have ended, and its trainer."""
    studio = Studio(empty_home)
    trainer = Trainer(studio, studio.tuning.create(asked(trials=4)))
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train()
    return trainer


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", catalog.tasks())
def test_every_task_can_be_searched_in_both_languages(empty_home, task, language):  # noqa: F811
    app = visit("tune", language, task=task)
    assert not app.exception and not app.error and not app.button("tune.start").disabled
    if language == "zh":
        assert [text for text in said(app) if SENTENCE.search(_without_terms(text))] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_ended_search_shows_its_best_and_what_to_do_next(searched, language):
    app = visit("tune", language, study=searched.id)
    assert not app.exception and not app.error
    assert {"study.best", "study.try", "study.delete"} <= {button.key for button in app.button}
    best = max(trial.value for trial in searched.trials("finished"))
    assert app.metric[0].value == f"{100 * best:.1f} %"
    if language == "zh":
        assert [text for text in said(app) if SENTENCE.search(_without_terms(text))] == []


def test_start_leads_to_the_search_and_twice_is_one(empty_home):  # noqa: F811
    app = visit("tune", **DIGITS)
    app.button("tune.start").click().run()
    (study,) = Studio(empty_home).tuning.all()
    assert app.query_params["study"] == study.id and not app.exception
    assert set(study.spec.space) == {"learning_rate", "batch_size"} and study.spec.search["trials"] == 8


def test_a_preset_and_a_changed_range_are_what_is_searched(empty_home):  # noqa: F811
    app = visit("tune", **DIGITS)
    app.radio("tune.preset").set_value("thorough").run()
    app.number_input(f"tune.train.{KEY}.thorough.learning_rate.low").set_value(0.002).run()
    app.button("tune.start").click().run()
    (study,) = Studio(empty_home).tuning.all()
    assert study.spec.space["learning_rate"].low == 0.002
    assert {"channels", "dropout", "weight_decay"} <= set(study.spec.space) and "optimizer" not in study.spec.space


def test_a_range_the_wrong_way_round_cannot_be_started(empty_home):  # noqa: F811
    app = visit("tune", **DIGITS)
    app.number_input(f"tune.train.{KEY}.quick.learning_rate.low").set_value(5.0).run()
    assert app.button("tune.start").disabled and len(app.error) == 1


def test_what_is_set_on_the_train_page_is_what_a_search_begins_with(empty_home):  # noqa: F811
    app = visit("tune", **DIGITS)
    app.number_input(f"train.{KEY}.epochs").set_value(3).run()
    app.button("tune.start").click().run()
    (study,) = Studio(empty_home).tuning.all()
    assert study.spec.spec.settings["epochs"] == 3


def test_take_the_best_fills_the_train_page(searched):
    best = searched.studio.tuning.get(searched.id).best
    app = visit("tune", study=searched.id)
    app.button("study.best").click().run()
    assert app.query_params["task"] == "image-classification" and app.title[0].value == "Train"
    assert app.number_input(f"train.{KEY}.learning_rate").value == best.settings["learning_rate"]
    assert app.number_input(f"train.{KEY}.dropout").value == best.settings["dropout"]


def test_a_search_that_goes_on_is_stopped_and_goes_on_again(empty_home):  # noqa: F811
    studio = Studio(empty_home)
    trainer = Trainer(studio, studio.tuning.create(asked()))
    trainer.advance()
    app = visit("tune", study=trainer.id)
    assert [button.key for button in app.button if str(button.key).startswith("study.")] == ["study.stop"]
    studio.tuning.stop(trainer.id)
    trainer.advance()
    trainer.advance()
    app = visit("tune", study=trainer.id)
    app.button("study.go_on").click().run()
    assert not app.exception and not studio.tuning.get(trainer.id).has_ended


def test_all_searches_are_listed_and_a_damaged_one_is_named(searched):
    (searched.studio.tuning.root / "broken").mkdir()
    app = visit("tune")
    assert not app.exception and "broken" in app.warning[0].value
    assert any("4 trials" in text.value for text in app.markdown)


def test_a_run_says_which_search_it_is_a_trial_of(searched):
    run = searched.trials(states.FINISHED)[0].run
    labels = {node.proto.label for node in nodes(visit("runs", run=run)._tree) if node.type == "page_link"}
    assert "Trial 1 of a search" in labels
