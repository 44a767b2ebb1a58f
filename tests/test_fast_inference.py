"""Answers by CTranslate2 and traced networks: quicker, and the same."""

import gc
import itertools
import json
import os
import shutil
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
import small_bases
import torch
from conftest import HANG, small, wait_for

from bigmodel.core import catalog
from bigmodel.core.blocks import Note
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import Cancelled
from bigmodel.core.model import STARTERS, Model
from bigmodel.data.prepare import head
from bigmodel.inference import traced_classifier, worker
from bigmodel.inference.client import ModelClient
from bigmodel.inference.ctranslate2_runner import TextGenerator, Translator
from bigmodel.inference.engine import MAX_LOADED_ENGINES, MODEL_LOAD_LOCK, Engine, EngineCache, load_errors_as_refusal
from bigmodel.inference.engine import lazy_property as kept_once

GPT = ("text-generation", "gpt", "prose_zh")
LSTM = ("text-generation", "lstm", "prose_zh")
TRANSFORMER = ("translation", "transformer", "en_de")
PROMPTS = ("", "学而时习之", "子曰" * 40)  # nothing, some words, more than the context of 32


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where conversions are kept, for all tests here."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(params=["in pieces", "by a thread"])
def writer(trained, kept, request):
    """A converted GPT, writing as small models do and as large ones do."""
    engine = Engine(trained(*GPT)[1] / "model", kept)
    for precision in ("float32", "int8"):
        engine.load(precision).small = request.param == "in pieces"
    return engine


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a small model's folder that a test may change."""

    def make(*names, to="copy"):
        return Path(shutil.copytree(trained(*names)[1] / "model", tmp_path / to))

    return make


def text(engine, **inputs):
    return list(engine.answer({"max_new_tokens": 40} | inputs))[-1].text


# -- the same answers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_a_converted_gpt_writes_what_transformers_writes(trained, writer, prompt):
    plain = Engine(trained(*GPT)[1] / "model")
    assert isinstance(writer.load("float32"), TextGenerator) and not isinstance(plain.load("float32"), TextGenerator)
    assert text(writer, prompt=prompt, temperature=0.0) == text(plain, prompt=prompt, temperature=0.0)


@pytest.mark.parametrize("beams, alike", [(1, 12), (4, 11)])
def test_a_converted_translator_translates_as_transformers_does(kept, beams, alike):
    folder = STARTERS / "translator"
    lines = "\n".join(row["source"] for row in head(catalog.dataset("en_zh"), "test", 12))
    fast, plain = Engine(folder, kept), Engine(folder)
    answers = [list(one.answer({"text": lines, "beams": beams}))[-1].text.split("\n") for one in (fast, plain)]
    assert fast.conversion is not None and len(answers[0]) == 12
    assert sum(map(str.__eq__, *answers)) >= alike  # beams that are nearly as likely may end in another order


def test_a_model_is_converted_once_and_then_not_even_loaded_in_transformers(copy, tmp_path):
    folder = copy(*GPT)
    Engine(folder, tmp_path / "cache")
    (made,) = (tmp_path / "cache" / "converted").iterdir()
    before = (made / "float32" / "model.bin").stat().st_mtime_ns
    engine = Engine(folder, tmp_path / "cache")
    assert text(engine) and "model" not in vars(engine)
    assert (made / "float32" / "model.bin").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "name, value, reason",
    [("layer_norm_epsilon", 1.0, "log_probabilities_apart"), ("activation_function", "tanh", "reason")],
    ids=["which it ignores", "which it does not know"],
)
def test_a_network_with_something_else_in_it_is_left_to_transformers(copy, tmp_path, name, value, reason):
    folder = copy(*GPT)
    config = json.loads((folder / "config.json").read_text("utf-8")) | {name: value}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    fast, plain = Engine(folder, tmp_path / "cache"), Engine(folder)
    (record,) = (tmp_path / "cache" / "converted").glob("*/*")  # and no weights are left behind
    assert fast.conversion is None and reason in json.loads(record.read_text("utf-8"))
    assert text(fast, temperature=0.0) == text(plain, temperature=0.0)


FAMILIES = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 1}),
    "mistral": ("MistralConfig", {"num_key_value_heads": 1}),
    "qwen2": ("Qwen2Config", {"num_key_value_heads": 1}),
    "qwen3": ("Qwen3Config", {"num_key_value_heads": 1, "head_dim": 16}),
}


def page(folder, task):
    """A base as it is brought: nothing is known of it but what it may be asked."""
    spec = {"task": task, "architecture": "pretrained", "dataset": "", "settings": {}}
    (folder / "bigmodel.json").write_text(json.dumps({"spec": spec}), "utf-8")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["text-generation", "dialogue"])
def test_a_pretrained_writer_answers_in_the_quicker_form_as_in_transformers(tmp_path, family, task):
    import transformers

    name, more = FAMILIES[family]
    folder, words = tmp_path / family, transformers.AutoTokenizer.from_pretrained(STARTERS / "poet")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    entries = {"vocab_size": len(words) + 3, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = getattr(transformers, name)(**sizes | entries | more, max_position_embeddings=128)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    page(folder, task)
    fast, plain = Engine(folder, tmp_path / "cache"), Engine(folder)
    assert isinstance(fast.load("float32"), TextGenerator), next((tmp_path / "cache").rglob("record.json")).read_text()
    asked = {"message" if task == "dialogue" else "prompt": "春风又绿江南岸", "temperature": 0.0, "max_new_tokens": 60}
    assert text(fast, **asked) == text(plain, **asked)
    made = sorted(path.name for path in (tmp_path / "cache" / "converted").glob("*/*") if path.is_dir())
    assert made == (["float32"] if task == "dialogue" else ["float32", "int8"])  # what can be asked for


@pytest.mark.parametrize("kind", ["marian", "t5", "mt5", "nllb"])
@pytest.mark.parametrize("beams", [1, 4])
def test_a_pretrained_translator_translates_in_the_quicker_form_as_in_transformers(tmp_path, kind, beams):
    torch.manual_seed(1)
    small_bases.PAIRS[kind](tmp_path).save_pretrained(tmp_path)
    page(tmp_path, "translation")
    fast, plain = Engine(tmp_path, tmp_path / "cache"), Engine(tmp_path)
    assert isinstance(fast.load("float32"), Translator), next((tmp_path / "cache").rglob("record.json")).read_text()
    asked = {"text": "Open the file.\nThe house is open.", "beams": beams, "max_new_tokens": 12}
    assert text(fast, **asked) == text(plain, **asked)


def test_a_base_that_is_told_how_to_write_is_left_to_transformers(tmp_path):
    made = small_bases.t5(tmp_path)
    made.generation_config.no_repeat_ngram_size = 3
    made.save_pretrained(tmp_path)
    page(tmp_path, "translation")
    assert Engine(tmp_path, tmp_path / "cache").conversion is None
    (record,) = (tmp_path / "cache" / "converted").glob("*/*")
    assert "no_repeat_ngram_size" in json.loads(record.read_text("utf-8"))["reason"]


def test_memory_that_is_short_while_converting_is_short_this_once(copy, tmp_path, monkeypatch):
    folder = copy(*GPT)
    with monkeypatch.context() as short:
        short.setattr("ctranslate2.converters.transformers.GPT2Loader.get_model_spec", lambda *_: torch.empty(2**60))
        engine = Engine(folder, tmp_path / "cache")
        assert engine.conversion is None and text(engine)
    assert Engine(folder, tmp_path / "cache").conversion is not None


def test_a_model_for_which_memory_is_short_is_not_called_damaged(tmp_path):
    with pytest.raises(Refusal, match="memory is not enough"), load_errors_as_refusal(tmp_path):
        torch.empty(2**60)


def test_a_cache_that_cannot_be_written_is_no_trouble(copy, tmp_path):
    (tmp_path / "file").write_text("")
    engine = Engine(copy(*GPT), tmp_path / "file")
    assert engine.conversion is None and text(engine)


@pytest.mark.parametrize("architecture", ["cnn", "vit", "resnet"])
def test_a_traced_network_gives_the_chances_that_transformers_gives(trained, architecture):
    names = ("image-classification", architecture, "digits")
    engine = Engine(trained(*names)[1] / "model")
    assert engine.load("float32") is not engine.model
    for row in head(catalog.dataset("digits"), "test", 5):
        inputs = {"image": row["image"]["bytes"]}
        (fast, *_), (plain, *_) = (
            list(engine.task.answer(one, engine.processor, inputs)) for one in (engine.load("float32"), engine.model)
        )
        assert fast.names == plain.names and fast.values == pytest.approx(plain.values, abs=1e-3)


@pytest.mark.parametrize("architecture, dataset", [("bert", "trivia_en"), ("lstm", "verse_zh")])
def test_a_network_that_reads_gives_the_chances_that_transformers_gives_for_texts_of_any_length(
    trained, architecture, dataset
):
    engine = Engine(trained("text-classification", architecture, dataset)[1] / "model")
    assert engine.load("float32") is not engine.model or architecture == "lstm"
    for some in ("", "a", "What is it?", "Which animal lives in the north of Canada and eats fish? " * 9):
        (fast, *_), (plain, *_) = (
            list(engine.task.answer(one, engine.processor, {"text": some}))
            for one in (engine.load("float32"), engine.model)
        )
        assert fast.names == plain.names and fast.values == pytest.approx(plain.values, abs=1e-3)


def test_texts_that_are_longer_than_what_was_compared_and_several_together_are_read_by_the_network_itself():
    engine = Engine(STARTERS / "connoisseur")
    short = type(engine.processor).from_pretrained(engine.folder, model_max_length=4)
    ready, plain = traced_classifier.trace_text_classifier(engine.model, short), engine.model
    asked = torch.randint(5, 200, (2, 9))
    masked = torch.ones_like(asked)
    masked[0, 4:] = 0
    with torch.no_grad():
        assert ready is not plain
        for some in (slice(0, 1), slice(0, 2)):
            given = {"input_ids": asked[some], "attention_mask": masked[some]}
            assert torch.equal(ready(**given).logits, plain(**given).logits)


# -- drawn texts --------------------------------------------------------------------------------------
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_same_seed_draws_the_same_text_and_another_another(writer, precision):
    asked = {"prompt": "学而", "temperature": 1.2, "precision": precision, "max_new_tokens": 80}  # past the context

    def draw(seed):
        return list(writer.answer(asked | {"seed": seed}))[-2 if precision == "int8" else -1].text

    assert draw(0) == draw(0) and draw(1) == draw(1) and len({draw(seed) for seed in range(4)}) == 4


def test_texts_drawn_at_the_same_time_do_not_disturb_each_other(writer):
    asked = {"temperature": 1.2, "max_new_tokens": 200}
    alone = text(writer, **asked, seed=7)
    answers = [writer.answer(asked | {"seed": seed}) for seed in (7, 8, 7)]
    last = [None] * 3
    for parts in itertools.zip_longest(*answers):
        last = [part or before for part, before in zip(parts, last, strict=True)]
    assert [one.text for one in last][::2] == [alone, alone] and last[1].text != alone


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.01}, {"temperature": 0.001}])
def test_drawing_among_one_is_greedy(writer, narrow):
    assert text(writer, **({"temperature": 1.0, "seed": 3} | narrow)) == text(writer, temperature=0.0)


def test_a_text_ends_where_it_was_told_to(writer):
    asked = {"temperature": 1.0, "seed": 5, "max_new_tokens": 60}
    whole = text(writer, **asked)
    mark = whole[len(whole) // 2]
    (*_before, last) = writer.answer(asked | {"stop": mark})
    assert last.text == whole[: whole.index(mark) + 1] and last.tokens == len(last.text)


def test_more_texts_than_memory_allows_for_take_turns(writer):
    one = writer.load("float32")
    tight = TextGenerator(one.folder, {"context": 32, "end": one.eos_id, "never": one.suppressed_ids, "bytes": 2**40})
    asked = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 60}
    open_texts = {seed: tight.generate_tokens([one.eos_id], asked | {"seed": seed}) for seed in range(5)}
    assert tight.max_generators == 2
    while open_texts:
        open_texts = {seed: it for seed, it in open_texts.items() if next(it, None) is not None}
        assert tight.in_use <= tight.max_generators
    assert tight.in_use == 0


def test_leaving_a_text_ends_its_thread(writer):
    answer = writer.answer({"max_new_tokens": 2000, "temperature": 3.0, "top_p": 1.0, "seed": 2})
    with closing(answer):
        next(answer)
    assert not [thread for thread in threading.enumerate() if thread.name == "writing"]
    assert writer.load("float32").in_use == 0


def test_what_a_generator_calls_does_not_keep_the_generator(writer):
    """Its own thread drops the callback last; were a generator dropped with it, the process would end."""
    one, calls = writer.load("float32"), []

    class Heard:
        """A generator that remembers what it was told to call."""

        def generate_batch(self, prompts, callback, **options):
            calls.append(callback)
            return generator.generate_batch(prompts, callback=callback, **options)

    generator = one._generator()
    list(one._generate_in_thread(Heard(), [one.eos_id], 5, {"temperature": 0.0, "seed": 0}, frozenset({one.eos_id})))
    kept = [cell.cell_contents for cell in calls[0].__closure__]
    assert not any(isinstance(thing, TextGenerator | Heard | type(generator)) for thing in kept)


# -- 8 bits ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("names", [GPT, TRANSFORMER], ids="/".join)
def test_what_8_bits_cost_is_measured_once_and_said(trained, kept, names):
    engine = Engine(trained(*names)[1] / "model", kept)
    example = engine.task.examples(head(catalog.dataset(names[2]), "test", 40), small(*names).settings)[0]
    (*_before, first), (*_before, again) = (
        list(engine.answer(example | {"precision": "int8", "max_new_tokens": 8})) for _time in range(2)
    )
    values = dict(first.words.values)
    assert first == again and values["count"] > 30
    assert values["after"] == pytest.approx(values["before"], rel=0.1)


def test_a_network_without_8_bits_says_that_it_has_answered_as_trained(trained, kept):
    engine = Engine(trained(*LSTM)[1] / "model", kept)
    *_before, last, note = engine.answer({"precision": "int8", "temperature": 0.0, "max_new_tokens": 10})
    assert isinstance(note, Note) and last.text == text(engine, temperature=0.0, max_new_tokens=10)


# -- many at a time ------------------------------------------------------------------------------------------
@pytest.fixture
def desk(kept):
    desk = ModelClient(cache=kept)
    yield desk
    desk.close()


def as_model(trained, *names):
    return Model("x", "x", *names, small(*names).settings, {}, 0, 0, 0.0, trained(*names)[1] / "model")


def test_a_short_question_waits_for_a_few_blocks_of_a_long_text(desk, trained):
    model = as_model(trained, *GPT)
    long = {"max_new_tokens": 2000, "temperature": 3.0, "top_p": 1.0}
    endless = next(seed for seed in range(50) if list(desk.ask(model, long | {"seed": seed}))[-1].tokens > 1000)
    streams = [desk.ask(model, long | {"seed": endless}) for _time in range(3)]
    for stream in streams:
        next(stream)
    assert list(desk.ask(model, {"max_new_tokens": 1}))[-1].done
    assert all(sum(1 for _block in stream) >= 1 for stream in streams)  # all three were still going on


def test_answers_do_not_wait_for_a_forecast_that_encodes_its_data(desk, trained, tmp_path):
    model = as_model(trained, *GPT)
    list(desk.ask(model, {"max_new_tokens": 1}))
    desk.forecast_connection.start()
    found = []
    spec = small("text-generation", "gpt", "poetry_zh", vocabulary=1100)
    asking = threading.Thread(target=lambda: found.append(desk.forecast(spec, tmp_path / "cache")), daemon=True)
    asking.start()
    wait_for(lambda: list(tmp_path.glob("cache/**/.staging-*")))  # it is encoding
    os.kill(desk.forecast_connection.process.pid, signal.SIGSTOP)  # for as long as the questions take
    for _question in range(3):
        list(desk.ask(model, {"max_new_tokens": 1}))
    assert not found
    os.kill(desk.forecast_connection.process.pid, signal.SIGCONT)
    asking.join()
    assert found[0].parameters > 0


def test_the_least_recently_used_model_leaves(trained, copy, kept):
    engines = EngineCache()
    folders = [copy(*GPT, to=f"model-{number}") for number in range(MAX_LOADED_ENGINES + 1)]
    first = engines.get(folders[0], kept)
    for folder in (*folders[1:MAX_LOADED_ENGINES], folders[0], folders[MAX_LOADED_ENGINES]):
        engines.get(folder, kept)
    gc.collect()
    assert len(engines.loaded) == MAX_LOADED_ENGINES and engines.get(folders[0], kept) is first
    assert folders[1] not in {folder for folder, *_rest in engines.loaded}


# -- loaded beside, left at once -------------------------------------------------------------------------------
def asking(engines, folder, cache, **inputs):
    """The answers of a model worker to one question, a turn each."""
    request = {"do": "ask", "folder": str(folder), "inputs": inputs, "cache": str(cache)}
    return worker._handle_request(request, engines)


def test_a_model_that_is_being_loaded_keeps_no_other_answer_waiting(copy, kept):
    engines, one, other = EngineCache(), copy(*LSTM, to="one"), copy(*LSTM, to="other")
    engines.get(one, kept)
    with MODEL_LOAD_LOCK:  # as if another were being loaded for minutes
        loading = asking(engines, other, kept, max_new_tokens=3)
        assert next(loading) is None
        assert [part for part in asking(engines, one, kept, max_new_tokens=3) if part][-1]["block"]["done"]
        assert next(loading) is None
    assert [part for part in loading if part][-1]["block"]["done"]


def test_a_model_is_loaded_once_for_all_who_wait_and_not_at_all_for_nobody(copy, kept):
    engines, folder = EngineCache(), copy(*LSTM)
    with MODEL_LOAD_LOCK:
        first, second = (engines.load(folder, kept) for _time in range(2))
        next(first), next(second)
        (work,) = engines.loading.values()
        first.close()
        assert work.waiters == 1 and next(second) is None
        second.close()
        assert not engines.loading
    wait_for(work.finished.is_set)
    assert isinstance(work.error, Cancelled) and not engines.loaded


def test_a_translation_that_nobody_waits_for_ends_at_its_next_token(trained):
    engine = Engine(trained(*TRANSFORMER)[1] / "model")
    lines = engine.answer({"text": "Open the file.\n" * 40, "beams": 4, "max_new_tokens": 500})
    passes = []
    engine.model.register_forward_pre_hook(lambda *_: passes.append(1))
    wait_for(lambda: next(lines) and passes)
    lines.close()
    before = len(passes)
    for thread in [thread for thread in threading.enumerate() if thread.name == "aside"]:
        thread.join()
    assert len(passes) <= before + 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model_is_refused(copy, name, kept):
    folder = copy(*GPT)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refusal, match="cannot be loaded"):
        Engine(folder, kept)


# -- beams -------------------------------------------------------------------------------------------------
def test_beams_of_the_lstm_find_the_most_likely_text():
    lstm, words, length = catalog.architecture("lstm"), 5, 4
    torch.manual_seed(1)
    settings = {"vocabulary": words, "embedding": 8, "units": 8, "layers": 2, "dropout": 0.0}
    model = lstm.model({"vocabulary": words, "end": 0, "pad": 0}, settings).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # a network that prefers one word to another
        every = torch.cartesian_prod(*[torch.arange(1, words)] * length)
        given = torch.cat([torch.ones(len(every), 1, dtype=torch.long), every], 1)
        chances = model(given).logits[:, :-1].log_softmax(-1).gather(2, given[:, 1:, None]).sum((1, 2))
    options = {"max_new_tokens": length, "do_sample": False, "bad_words_ids": [[0]], "eos_token_id": None}
    beams = (words - 1) ** (length - 1)  # enough to lose nothing
    found = model.generate(torch.tensor([[1]]), num_beams=beams, **options)[0]
    greedy = model.generate(torch.tensor([[1]]), num_beams=1, **options)[0]
    assert found[1:].tolist() == every[chances.argmax()].tolist() != greedy[1:].tolist()


def test_what_one_engine_loads_does_not_wait_for_what_another_loads():
    """Two that need each other to begin: with one lock for the class, as functools' before Python 3.12, neither would end."""
    begun = threading.Barrier(2, timeout=HANG)

    class Loader:
        @kept_once
        def found(self):
            return begun.wait()

    loaders, found = [Loader(), Loader()], []
    threads = [threading.Thread(target=lambda one=one: found.append(one.found), daemon=True) for one in loaders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert sorted(found) == [0, 1] and loaders[0].found in (0, 1)
