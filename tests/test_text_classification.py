"""Texts are put into classes; a network that reads them can first learn their language by guessing masked words."""

import itertools
import time

import numpy as np
import pytest
import torch
from conftest import learn, retold, small

from bigmodel.core import blocks
from bigmodel.core.errors import Refusal
from bigmodel.core.events import DIVERGED, FINISHED, INTERRUPTED, RUNNING, STARTING, STOPPED, Event
from bigmodel.core.model import STARTERS
from bigmodel.data.prepare import load_processor, prepare
from bigmodel.inference.engine import Engine
from bigmodel.studio import Studio
from bigmodel.training import evaluator, pretraining, resume_state
from bigmodel.training.precision import ComputePlan
from bigmodel.ui.runs import curve_view

BERT, LSTM = ("text-classification", "bert", "trivia_en"), ("text-classification", "lstm", "verse_zh")
SHORT = {"max_steps": 4, "eval_every": 2, "batch_size": 256, "dropout": 0.1}
FIRST = SHORT | {"pretraining_epochs": 1}


@pytest.fixture
def rows(cache):
    """The arrays and facts of the quiz questions as BERT reads them."""
    spec = small(*BERT)
    session = spec.resolve()
    return prepare(session, cache), session.task, spec.settings


@pytest.fixture
def pace(monkeypatch):
    """Nothing that a stopwatch decides."""
    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: ComputePlan("fp32", 1, {"fp32, 1": 0.1}))


def told(events, kind):
    clocks = {"seconds", "rate"}
    return [
        {name: value for name, value in event.data.items() if name not in clocks}
        for event in events
        if event.kind == kind
    ]


# -- batches ------------------------------------------------------------------------------------
def test_texts_of_like_length_share_a_batch_and_each_is_seen_once(rows):
    data, task, settings = rows
    lengths = np.diff(data.arrays["train"]["offsets"])
    plan = task.batch_indices(data.arrays["train"], settings, 0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(lengths)))
    assert np.mean([np.ptp(lengths[part]) for part in plan]) < 3 < np.ptp(lengths)


@pytest.mark.parametrize("names", [BERT, LSTM], ids=lambda names: names[1])
def test_what_a_text_is_taken_for_does_not_depend_on_its_neighbours(names, trained):
    _events, folder = trained(*names)
    engine = Engine(folder / "model")
    texts = [
        "Who painted it?",
        "春眠不觉晓，处处闻啼鸟。",
        "Which animal lives in the north of Canada and eats fish? " * 3,
    ]
    together = engine.processor(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = engine.model(together["input_ids"], attention_mask=together["attention_mask"]).logits
        for text, its in zip(texts, logits, strict=True):
            alone = engine.processor(text, truncation=True, return_tensors="pt")
            assert torch.allclose(engine.model(alone["input_ids"]).logits[0], its, atol=1e-5)


def test_capitals_and_wide_letters_make_no_difference_and_marks_stand_around(rows):
    tokenizer = rows[0].processor
    assert tokenizer("WHO?")["input_ids"] == tokenizer("ｗｈｏ？")["input_ids"] == tokenizer("who?")["input_ids"]
    first, *_words, last = tokenizer("who?")["input_ids"]
    assert (first, last) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


# -- how good -------------------------------------------------------------------------------------
def test_figures_by_class_are_what_they_say():
    from bigmodel.metrics.classification import macro_metrics

    found = macro_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert found["precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["f1_weighted"] == pytest.approx((3 * 0.8 + 2 / 3) / 4)


def test_a_text_that_is_too_long_is_read_in_part_and_that_is_said(trained):
    engine = Engine(trained(*BERT)[1] / "model")
    scores, *notes = engine.answer({"text": "What is it?"})
    assert len(scores.names) == 8 and sum(scores.values) == pytest.approx(1) and not notes
    _scores, note = engine.answer({"text": "What is it? " * 500})
    assert isinstance(note, blocks.Note) and dict(note.words.values)["count"] == small(*BERT).settings["text_length"]


# -- masked words -----------------------------------------------------------------------------------
def test_a_base_reads_as_much_as_it_has_learnt_to_read(tmp_path):
    engine = Engine(STARTERS / "connoisseur")
    engine.task.export(engine.model, engine.processor, {"text_length": 16}).save_pretrained(tmp_path)
    kept = load_processor(tmp_path)
    assert kept.model_max_length == 16 < engine.processor.model_max_length
    _scores, note = engine.task.answer(engine.model, kept, {"text": "月" * 40})
    assert dict(note.words.values)["count"] == 16


def test_a_seventh_of_the_words_is_asked_for_and_no_mark(rows):
    data, task, settings = rows
    first = pretraining.MaskedLmTask(task, data.facts)
    indices = np.arange(200)
    plain = task.batch(data.arrays["train"], indices, settings, None)
    asked = first.batch(data.arrays["train"], indices, settings, 0)
    places, whole = asked["places"], plain["input_ids"].flatten()
    assert torch.equal(asked["labels"], whole[places])
    assert not np.isin(asked["labels"].numpy(), data.facts["special"]).any()
    others = torch.ones(len(whole), dtype=bool).index_fill(0, places, False)
    assert torch.equal(asked["input_ids"].flatten()[others], whole[others])
    words = int((~np.isin(whole.numpy(), data.facts["special"])).sum())
    assert len(places) / words == pytest.approx(pretraining.MASK_PROBABILITY, abs=0.02)
    hidden = (asked["input_ids"].flatten()[places] == data.facts["mask"]).float().mean()
    assert float(hidden) == pytest.approx(pretraining.MASK_TOKEN_SHARE, abs=0.05)


def test_the_same_words_are_hidden_again_in_an_epoch_and_others_in_the_next(rows):
    data, task, settings = rows
    first = pretraining.MaskedLmTask(task, data.facts)
    one, again, other = (first.batch(data.arrays["train"], np.arange(20), settings, epoch) for epoch in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert one["places"].tolist() != other["places"].tolist()


# -- pretraining --------------------------------------------------------------------------------------
def test_pretraining_is_told_and_the_run_begins_with_what_it_has_learnt(tmp_path, cache, monkeypatch):
    from bigmodel.architectures.bert import Bert, masked_lm_class

    taken, begin = [], Bert.begin_with

    def begin_with(self, model, folder):
        begin(self, model, folder)
        kept = masked_lm_class().from_pretrained(folder).get_input_embeddings().weight
        taken.append(torch.equal(model.get_input_embeddings().weight, kept))

    monkeypatch.setattr(Bert, "begin_with", begin_with)
    longer = FIRST | {"pretraining_epochs": 4, "batch_size": 64, "pretraining_rate": 0.003}
    events = learn(tmp_path, cache, small(*BERT, **longer))
    before = [event for event in events if event.kind == "pretraining"]
    losses = [event["loss"] for event in before if "loss" in event.data]
    looks = [event["metrics"]["loss"] for event in before if "metrics" in event.data]
    assert losses[-1] < 0.9 * losses[0] and looks[-1] < looks[0]
    assert taken == [True] and events[-1]["state"] == FINISHED
    assert events.index(before[-1]) < next(index for index, event in enumerate(events) if event.kind == "step")
    assert not pretraining.pretraining_folder(tmp_path).exists()  # what it has learnt is in the run's checkpoints


def test_a_run_that_dies_in_its_pretraining_is_the_run_that_never_died(tmp_path, cache, pace, monkeypatch):
    from bigmodel.training.loop import train

    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)
    one, other, spec = tmp_path / "one", tmp_path / "other", small(*BERT, **FIRST)
    one.mkdir(), other.mkdir()
    whole, events = learn(one, cache, spec), []
    for event in train(spec, other, lambda: False, cache, "cpu"):
        events.append(event)
        if event.kind == "pretraining" and event["step"] == 5:
            break
    after = learn(other, cache, spec)
    assert after[0].kind == "phase" and told(after, "pretraining")[0]["step"] > 1
    first = {event["step"]: event for event in told(whole, "pretraining") if "loss" in event}
    again = {event["step"]: event for event in told(events + after, "pretraining") if "loss" in event}
    assert (
        first == again and told(whole, "step") == told(after, "step") and told(whole, "result") == told(after, "result")
    )
    model = "model/model.safetensors"
    assert (one / model).read_bytes() == (other / model).read_bytes()


def test_a_run_that_dies_in_its_pretraining_goes_on_by_itself_if_nothing_has_changed(home, cache, pace, monkeypatch):
    from bigmodel.training.loop import train

    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)
    studio, spec = Studio(home), small(*BERT, **FIRST)
    run = studio.runs.launch(spec)
    folder = studio.runs.folder(run)
    for state in (STARTING, RUNNING):
        folder.append(Event("state", {"state": state, "device": "cpu"}))
    for event in train(spec, folder.path, lambda: False, cache, "cpu"):
        folder.append(event)
        if event.kind == "pretraining" and event["step"] == 3:
            break
    folder.append(Event("state", {"state": INTERRUPTED, "died": True}))
    newest = resume_state.checkpoint_folders(pretraining.pretraining_folder(folder.path))[0]
    assert studio.runs.will_retry(run) and studio.runs.resume_point(run) == (
        "pretraining",
        resume_state.read(newest)["step"],
    )
    retold(newest, versions=resume_state.versions() | {"torch": "1.0"})
    assert not studio.runs.will_retry(run)
    with pytest.raises(Refusal, match=r"torch was 1\.0"):
        studio.runs.resume(run)


def test_rolling_back_a_pretraining_halves_its_own_learning_rate(home):
    studio = Studio(home)
    run = studio.runs.launch(small(*BERT, **FIRST))
    ended = Event("state", {"state": DIVERGED, "reason": {"text": "No number."}})
    states = [Event("state", {"state": state}) for state in (STARTING, RUNNING)]
    for event in (*states, guessed(7), *pretraining.relay_events(iter([ended]), home / "any")):
        studio.runs.folder(run).append(event)
    before, after = studio.runs.get(run), studio.runs.get(studio.runs.rollback(run)).spec
    assert str(before.reason) == "In the pretraining: No number."
    assert after.settings["pretraining_rate"] == before.spec.settings["pretraining_rate"] / 2
    assert after.settings["learning_rate"] == before.spec.settings["learning_rate"] and after.parent is None
    assert curve_view._pretraining_markers(before) == {"Diverged": 7.0}


@pytest.mark.parametrize("moment", [1, 6, 18])
def test_stopping_in_the_pretraining_and_going_on_changes_nothing(tmp_path, cache, pace, moment):
    one, other, spec = tmp_path / "one", tmp_path / "other", small(*BERT, **FIRST)
    one.mkdir(), other.mkdir()
    whole, asked = learn(one, cache, spec), itertools.count()
    events = learn(other, cache, spec, stopped=lambda: next(asked) >= moment)
    assert events[-1]["state"] == STOPPED and not told(events, "step")
    after = learn(other, cache, spec)
    assert told(whole, "step") == told(after, "step") and told(whole, "result") == told(after, "result")


def test_a_run_that_goes_on_from_a_checkpoint_does_not_pretrain_again(tmp_path, cache, pace):
    spec, asked = small(*BERT, **FIRST), []
    events = learn(tmp_path, cache, spec, stopped=lambda: bool(asked) or asked_after_a_step(tmp_path))
    assert events[-1]["state"] == STOPPED and told(events, "step")
    assert not told(learn(tmp_path, cache, spec), "pretraining")


def asked_after_a_step(folder):
    return (folder / "checkpoints" / "step-2").exists()


def test_the_forecast_counts_the_pretraining(cache, monkeypatch):
    from bigmodel.training.forecast import forecast

    ticks = itertools.count()  # a clock that is as fast as the code that looks at it
    monkeypatch.setattr(time, "perf_counter", lambda: 0.01 * next(ticks))
    without, with_it = (
        list(forecast(small(*BERT, **SHORT, **more), cache))[-1]["seconds"] for more in ({}, {"pretraining_epochs": 50})
    )
    assert with_it > 3 * without


# -- watched ------------------------------------------------------------------------------------------
def guessed(step, **more):
    return Event(
        "pretraining", {"step": step, "steps": 9, "epoch": step / 3, "loss": 8.0 - step, "seconds": step} | more
    )


def test_a_run_knows_how_far_its_pretraining_is():
    from bigmodel.runs.run import fold

    run = fold("one", small(*BERT, **FIRST), [guessed(1), guessed(4), Event("pretraining", {"loss": 1.0})])
    assert (run.pretraining["step"], run.pretraining["steps"], run.step) == (4, 9, 0)


def test_the_curve_of_a_pretraining_that_was_resumed_goes_on_from_there():
    from bigmodel.ui.runs.curves import Curves

    curves = Curves("one")
    look = {"step": 3, "steps": 9, "epoch": 1.0, "metrics": {"loss": 6.0}}
    for event in (guessed(1), guessed(2), guessed(3), Event("pretraining", look), guessed(2), guessed(3)):
        curves._pretraining(event)
    assert curves.pretraining["loss"].step.tolist() == [1, 2, 3] and not len(curves.pretraining["validation"])


def test_where_the_lines_of_a_text_end_does_not_count():
    from bigmodel.data.tokenizers import train_tokenizer

    chinese = train_tokenizer(["床前明月光，\n疑是地上霜。"] * 3, "auto", 300, marked=True)
    english = train_tokenizer(["Hello World,\nthis is é text"] * 3, "auto", 300, marked=True)
    assert chinese("床前明月光，疑是地上霜。")["input_ids"] == chinese("床前明月光，\n 疑是地上霜。")["input_ids"]
    assert english("this is é text")["input_ids"] == english("this\n is é\ttext")["input_ids"]
    assert english("thisis")["input_ids"] != english("this is")["input_ids"]
