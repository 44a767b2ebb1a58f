"""Trained models answer: streams that can be closed, turns that are shared, inputs of every kind."""

import io
import itertools
import threading

import numpy as np
import pytest
from conftest import HANG, small, wait_for
from PIL import Image

from bigmodel.core.blocks import Note, Prose, Scores
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.inference.client import ModelClient
from bigmodel.inference.engine import Engine

GPT = ("text-generation", "gpt", "prose_zh")
CNN = ("image-classification", "cnn", "digits")


@pytest.fixture(scope="module")
def desk():
    desk = ModelClient()
    yield desk
    desk.close()


@pytest.fixture
def model(trained):
    """What a page hands to the desk, for a small run of three names."""

    def get(*names):
        _events, folder = trained(*names)
        settings = small(*names).settings
        return Model("x", "x", *names, settings, {}, 0, 0, 0.0, folder / "model")

    return get


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_stream_grows_and_ends_with_done(desk, model):
    answer = list(desk.ask(model(*GPT), {"prompt": "子曰", "max_new_tokens": 40}))
    assert all(isinstance(block, Prose) for block in answer) and answer[-1].done
    assert all(after.text.startswith(before.text) for before, after in itertools.pairwise(answer))


def test_closing_a_stream_frees_the_worker(desk, model):
    stream = desk.ask(model(*GPT), {"max_new_tokens": 2000, "temperature": 3.0})
    next(stream)
    stream.close()
    list(desk.ask(model(*GPT), {"max_new_tokens": 1}))
    assert not desk.pending


def test_closing_a_reply_ends_it_for_whoever_waits_for_its_next_part(desk, model):
    """Also in the middle of a translation, which gives no part before a line is done."""
    lines = {"text": "Open the file. " * 60, "beams": 12, "max_new_tokens": 500}
    reply = desk.ask(model("translation", "transformer", "en_de"), lines)
    found = []
    reading = threading.Thread(target=lambda: found.extend(reply), daemon=True)
    reading.start()
    wait_for(lambda: desk.pending)
    reply.close()
    reading.join(HANG)
    assert not found and not reading.is_alive() and not desk.pending
    list(desk.ask(model(*GPT), {"max_new_tokens": 1}))


def test_a_reply_that_is_dropped_is_given_up(desk, model):
    next(desk.ask(model(*GPT), {"max_new_tokens": 2000, "temperature": 3.0}))
    assert not desk.pending


def test_a_short_answer_does_not_wait_for_a_long_one(desk, model):
    def ask(seed):
        return desk.ask(model(*GPT), {"max_new_tokens": 1000, "temperature": 3.0, "top_p": 1.0, "seed": seed})

    seed = next(seed for seed in range(50) if list(ask(seed))[-1].tokens > 400)  # one that goes on for a while
    long = ask(seed)
    next(long)
    list(desk.ask(model(*GPT), {"max_new_tokens": 1}))
    rest = list(long)
    assert rest[-1].done and len(rest) > 1  # it was still going on


def test_a_worker_that_dies_is_said_and_replaced(desk, model):
    stream = desk.ask(model(*GPT), {"max_new_tokens": 2000, "temperature": 3.0})
    next(stream)
    desk.process.kill()
    with pytest.raises(Refusal, match="ended unexpectedly"):
        list(stream)
    assert list(desk.ask(model(*GPT), {"max_new_tokens": 2}))[-1].done


def test_what_cannot_be_asked_is_refused_with_what_would_do(desk, model):
    with pytest.raises(Refusal, match="Give a number from 0 to 3"):
        list(desk.ask(model(*GPT), {"temperature": float("nan")}))
    with pytest.raises(Refusal, match="Choose one of"):
        list(desk.ask(model(*GPT), {"colour": "red"}))


@pytest.mark.parametrize("architecture", ["gpt", "lstm"])
def test_the_same_seed_gives_the_same_text_and_another_another(trained, architecture):
    _events, folder = trained("text-generation", architecture, "prose_zh")
    engine = Engine(folder / "model")

    def text(**inputs):
        return list(engine.answer({"prompt": "学而", "max_new_tokens": 30} | inputs))[-1].text

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(temperature=0.0, seed=1) == text(temperature=0.0, seed=2)


@pytest.mark.parametrize("prompt", ["", "学" * 500, "emoji 🙂 and <eos> and \u0000"])
def test_any_prompt_is_gone_on_from(trained, prompt):
    _events, folder = trained(*GPT)
    last = list(Engine(folder / "model").answer({"prompt": prompt, "max_new_tokens": 60, "temperature": 1.5}))[-1]
    assert last.done and last.prompt == prompt and "\ufffd" not in last.text


def test_a_text_ends_where_it_was_told_to(trained):
    _events, folder = trained(*GPT)
    engine = Engine(folder / "model")
    whole = list(engine.answer({"max_new_tokens": 60, "temperature": 1.0, "seed": 5}))[-1].text
    mark = whole[len(whole) // 2]
    cut = list(engine.answer({"max_new_tokens": 60, "temperature": 1.0, "seed": 5, "stop": mark}))[-1].text
    assert cut == whole[: whole.index(mark) + 1]


@pytest.mark.parametrize("mode, size", [("L", (8, 8)), ("RGB", (900, 500)), ("RGBA", (40, 30)), ("1", (9, 9)), ("P", (64, 64)), ("L", (30_000, 9))])  # fmt: skip
def test_a_picture_of_any_kind_is_classified(trained, mode, size):
    _events, folder = trained(*CNN)
    answer = list(Engine(folder / "model").answer({"image": png(Image.new(mode, size))}))
    assert isinstance(answer[0], Scores) and sum(answer[0].values) == pytest.approx(1, abs=1e-3)
    assert any(isinstance(block, Note) for block in answer) == (size != (8, 8))


def test_a_16_bit_picture_is_not_cut_to_white(trained):
    from transformers import ViTImageProcessorPil

    from bigmodel.tasks.image_classification import preprocess

    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    steps = np.linspace(0, 60_000, 64 * 64).astype(np.uint16).reshape(64, 64)
    fitted, _done = preprocess(Image.fromarray(steps), processor, grey=True, dark_ground=False)
    assert 100 < np.asarray(fitted).mean() < 140


def test_a_long_line_is_translated_sentence_by_sentence(trained):
    _events, folder = trained("translation", "transformer", "en_de")
    engine = Engine(folder / "model")
    one = list(engine.answer({"text": "Open the file.", "beams": 1, "max_new_tokens": 4}))[-1]
    many = list(engine.answer({"text": "Open the file. " * 40, "beams": 1, "max_new_tokens": 4}))[-1]
    assert many.tokens >= 20 * one.tokens > 0


def test_a_panic_of_a_library_ends_one_answer_with_its_reason_and_no_other():
    from tokenizers import pre_tokenizers

    from bigmodel.inference.worker import _advance

    def panics():
        yield {"block": pre_tokenizers.FixedLength(0).pre_tokenize_str("abc")}

    answers = {"theirs": iter([{"block": 1}]), "mine": panics()}
    replies = {}
    for name in ("mine", "theirs"):
        _advance(name, answers[name], answers, lambda name, **what: replies.update({name: what}))
    assert "chunk size must be non-zero" in str(replies["mine"]["error"]) and replies["theirs"] == {"block": 1}
    assert set(answers) == {"theirs"}
