"""Each class of base that is let in: through the gate, fine-tuned, kept, and opened by plain transformers."""

import io
import json

import pytest
import torch
from conftest import learn
from small_bases import GGUF, PAIRS, PICTURES, WRITERS, FewPairs, FewPictures, as_gguf

from bigmodel.base_models import gguf, languages, store
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED
from bigmodel.core.spec import RunSpec
from bigmodel.data.tokenizers import with_special_tokens
from bigmodel.training.precision import ComputePlan


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home whose bases are made when they are asked for."""
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(autouse=True)
def known(place, monkeypatch):
    few = {one.name: one for one in (FewPairs(place), FewPictures(place))}
    catalog.register("dataset", lambda: few)
    store.register_bases(place)
    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: ComputePlan("fp32", 1, {"fp32, 1": 0.1}))
    yield
    catalog.register("dataset", dict)


def base(place, kind):
    if kind not in store.list_bases(place):
        folder = place / "made" / kind
        folder.mkdir(parents=True)
        torch.manual_seed(1)
        made = {**PAIRS, **PICTURES}[kind](folder)
        made.save_pretrained(folder)
        store.import_folder(place, folder, [place], title=kind, source="made here", name=kind)
    return store.list_bases(place)[kind]


def spec(place, kind, **settings):
    task, dataset = ("translation", "few-pairs") if kind in PAIRS else ("image-classification", "few-pictures")
    chosen = {"base": base(place, kind).name, "max_steps": 2, "batch_size": 4, "precision": "fp32", "device": "cpu"}
    chosen |= {"sentence_length": 32} if kind in PAIRS else {"augment": "none"}
    return RunSpec.check(
        {"task": task, "architecture": "pretrained", "dataset": dataset, "settings": chosen | settings}
    )


def tuned(place, folder, kind, **settings):
    """The model that a run has left."""
    one = spec(place, kind, learning_rate=1e-2, **settings)
    happened = learn(folder, place / "cache", one)
    assert happened[-1].data.get("state") == FINISHED, happened[-1]
    return folder / "model"


@pytest.mark.parametrize("kind, method", [*((kind, "lora") for kind in PAIRS), ("t5", "full"), ("nllb", "full")])
def test_a_translator_answers_in_plain_transformers_as_here(place, tmp_path, kind, method):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from bigmodel.inference.engine import Engine

    folder = tuned(place, tmp_path, kind, method=method)
    said = list(Engine(folder).answer({"text": "Open the file.", "beams": 1}))[-1].text
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    before = json.loads((folder / "tokenizer_config.json").read_text()).get("source_prefix", "")
    asked = words(before + "Open the file.", return_tensors="pt")
    written = model.generate(**asked, do_sample=False)
    plain = words.decode(written[0], skip_special_tokens=True).replace("__de__", "")
    assert said.strip() == plain.strip() and not any("lora" in name for name, _weight in model.named_parameters())


@pytest.mark.parametrize("kind", PAIRS)
def test_the_loss_of_a_batch_is_that_of_the_library_for_the_same_pairs(place, kind):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from bigmodel.data.prepare import prepare
    from bigmodel.training.losses import cross_entropy

    one = spec(place, kind, method="full")
    session = one.resolve()
    task, dataset, data = session.task, session.dataset, prepare(session, place / "cache")
    batch = task.batch(data.arrays["train"], [0, 1, 2], one.settings, None)
    labels, model = batch.pop("labels"), catalog.architecture("pretrained").model(data.facts, one.settings).eval()

    folder = base(place, kind).folder
    codes = languages.language_codes(folder)
    named = {f"{side}_lang": languages.find_code(code, codes) for side, code in (("src", "en"), ("tgt", "de")) if codes}
    words, plain = AutoTokenizer.from_pretrained(folder, **named), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    rows = dataset.rows()["train"][:3]
    before = "translate English to German: " if kind == "t5" else ""
    most = 32 + len(words(before, add_special_tokens=False)["input_ids"])
    shaped = {"padding": True, "truncation": True, "return_tensors": "pt"}
    asked = words([before + text for text in rows["source"]], max_length=most, **shaped)
    wanted = words(text_target=rows["target"], max_length=32, **shaped)["input_ids"]
    with torch.no_grad():
        theirs = plain(**asked, labels=wanted.masked_fill(wanted == words.pad_token_id, -100)).loss
        ours = cross_entropy(model(**batch).logits, labels)
    assert abs(float(theirs - ours)) < 1e-5


@pytest.mark.parametrize("kind", WRITERS)
def test_a_kept_tokenizer_of_any_class_begins_a_text_as_we_do(tmp_path, kind):
    """Those of some networks put marks of their own in again when they are loaded."""
    from transformers import AutoTokenizer

    words = WRITERS[kind](tmp_path)
    plain = words("Open the file.", add_special_tokens=False)["input_ids"]
    with_special_tokens(words, [words.eos_token_id]).save_pretrained(tmp_path)
    kept = AutoTokenizer.from_pretrained(tmp_path)
    assert kept("Open the file.")["input_ids"] == [words.eos_token_id, *plain]
    assert kept("Open the file.", add_special_tokens=False)["input_ids"] == plain
    assert kept.decode(kept("Open the file.")["input_ids"], skip_special_tokens=True).strip() == "Open the file."


def test_a_language_that_a_base_does_not_know_is_refused(place):
    with pytest.raises(Refusal, match="does not know the language fi"):
        spec(place, "nllb", target_language="fi")
    assert spec(place, "nllb", target_language="zh").settings["target_language"] == "zh"


def test_a_tokenizer_that_has_lost_its_languages_is_refused(place):
    from small_bases import NLLB, pieces, texts, written

    kept = base(place, "nllb").folder
    folder = place / "made" / "lost"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((kept / name).read_bytes())
    words = pieces([*texts()[0], *texts()[1]], model_type="bpe")
    written(folder, sentencepiece__bpe__model=words, tokenizer_config__json={"tokenizer_class": NLLB})
    store.import_folder(place, folder, [place], title="lost", source="made here", name="lost")
    settings = {**spec(place, "nllb").settings, "base": "lost"}
    rows = catalog.dataset("few-pairs").rows()
    with pytest.raises(Refusal, match="no tokens for languages"):
        catalog.architecture("pretrained").processor(catalog.task("translation"), rows, settings)


def test_the_other_way_round_the_languages_change_places(place, tmp_path):
    folder = tuned(place, tmp_path, "nllb", direction="reverse", method="head")
    kept = json.loads((folder / "tokenizer_config.json").read_text())
    assert (kept["src_lang"], kept["tgt_lang"]) == ("deu_Latn", "eng_Latn")


@pytest.mark.parametrize("kind, method", [*((kind, "lora") for kind in PICTURES), ("resnet", "full"), ("vit", "full")])
def test_a_classifier_of_pictures_sees_them_in_plain_transformers_as_here(place, tmp_path, kind, method):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from bigmodel.data.prepare import head
    from bigmodel.inference.engine import Engine

    folder = tuned(place, tmp_path, kind, method=method)
    png = head(catalog.dataset("few-pictures"), "test", 1)[0]["image"]["bytes"]
    said = next(iter(Engine(folder).answer({"image": png})))
    seen = AutoImageProcessor.from_pretrained(folder)(Image.open(io.BytesIO(png)), return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForImageClassification.from_pretrained(folder)(**seen).logits[0]
    here = dict(zip(said.names, said.values, strict=True))
    assert torch.allclose(logits.softmax(-1), torch.tensor([here["dark"], here["bright"]]), atol=1e-4)


@pytest.mark.parametrize("kind", GGUF)
def test_a_gguf_file_becomes_the_network_that_it_was(place, tmp_path, kind):
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    torch.manual_seed(1)
    made = GGUF[kind](tmp_path).eval()
    as_gguf(made, tmp_path / f"{kind}.gguf")
    base = gguf.import_gguf(place, tmp_path / f"{kind}.gguf", [tmp_path])
    pairs = base.heads == {"seq2seq-lm"}
    opened = (AutoModelForSeq2SeqLM if pairs else AutoModelForCausalLM).from_pretrained(base.folder)
    asked = {"input_ids": torch.tensor([[5, 9, 2]])} | ({"decoder_input_ids": torch.tensor([[0, 7]])} if pairs else {})
    with torch.no_grad():
        said = opened(**asked).logits[..., : made.config.vocab_size]  # behind them tokens that the tokenizer adds
        assert torch.allclose(made(**asked).logits, said, atol=1e-4)


def test_a_gguf_file_that_lacks_weights_is_refused(place, tmp_path):
    """As T5 of 2020 does, whose layers have no gate, where transformers reads each T5 as one that has."""
    as_gguf(GGUF["flan_t5"](tmp_path), tmp_path / "old.gguf", lacking="ffn_gate")
    with pytest.raises(Refusal, match="called otherwise"):
        gguf.import_gguf(place, tmp_path / "old.gguf", [tmp_path])


@pytest.mark.parametrize("kind", PICTURES)
def test_what_is_trained_on_is_what_the_own_processor_of_a_base_makes(place, kind):
    from PIL import Image
    from transformers import AutoImageProcessor

    from bigmodel.data.prepare import prepare

    one = spec(place, kind)
    session = one.resolve()
    task, dataset, data = session.task, session.dataset, prepare(session, place / "cache")
    ours = task.batch(data.arrays["train"], [0, 1, 2], one.settings, None)["pixel_values"]
    pictures = [Image.open(io.BytesIO(one["bytes"])) for one in dataset.rows()["train"]["image"][:3]]
    theirs = AutoImageProcessor.from_pretrained(base(place, kind).folder)(pictures, return_tensors="pt")["pixel_values"]
    assert ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-4)


def test_a_text_longer_than_a_base_has_positions_for_is_refused(place):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    folder = place / "made" / "roberta"
    folder.mkdir(parents=True)
    PAIRS["bart"](folder)  # its words
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = RobertaConfig(**sizes, vocab_size=400, max_position_embeddings=66, pad_token_id=1)
    RobertaForSequenceClassification(config).save_pretrained(folder)
    store.import_folder(place, folder, [place], title="roberta", source="made here", name="roberta")
    asked = {"task": "text-classification", "architecture": "pretrained", "dataset": "trivia_en"}
    with pytest.raises(Refusal, match="reads at most 64 tokens"):
        RunSpec.check(asked | {"settings": {"base": "roberta", "text_length": 65}})
    assert RunSpec.check(asked | {"settings": {"base": "roberta", "text_length": 64}}).settings["base"] == "roberta"
