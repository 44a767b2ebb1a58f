"""Models from outside: what is let in, what is kept of it, what the Hub's answers become."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import wait_for
from hub_server import Hub

from bigmodel.base_models import (
    chat_template_check,
    check_regex,
    check_tokenizer,
    gguf,
    import_adapter,
    sentencepiece_model,
    store,
    suggestions,
    validate_folder,
)
from bigmodel.base_models.supported_models import FAMILIES
from bigmodel.core import catalog, chat_template
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import CANCELLED
from bigmodel.studio import Studio
from tests.corpus.hostile_models import CONFIG, HOSTILE, TOKENIZER, sound, weights
from tests.corpus.mutated_models import small_gguf

TEMPLATES = Path(__file__).parent / "corpus" / "chat_templates"
SOME = sorted(HOSTILE)[::4]


@pytest.fixture
def model(tmp_path):
    return sound(tmp_path / "model")


@pytest.mark.parametrize("kind", SOME)
def test_a_hostile_folder_is_refused_with_a_reason_in_both_languages(kind, model, tmp_path):
    HOSTILE[kind](model, tmp_path / "canary")
    with pytest.raises(Refusal) as refused:
        store.import_folder(tmp_path, model, [model], title="Hostile", source="somewhere")
    assert refused.value.say("en") and refused.value.say("zh") != refused.value.say("en")
    assert not (tmp_path / "canary").exists() and set(store.list_bases(tmp_path)) == set(store.starter_bases())


def test_a_sound_folder_is_copied_and_known_by_its_name(model, tmp_path):
    base = store.import_folder(tmp_path, model, [tmp_path], title="org/My Model", source="here", licence="MIT")
    shutil.rmtree(model)
    assert base.name == "my-model" and base.heads >= {"causal-lm"} and base.parameters == 64 * 16 + 16 + 32 * 16
    assert store.list_bases(tmp_path)["my-model"] == base and store.is_intact(base)


def test_the_same_name_twice_is_two_bases_and_the_same_files_are_one(model, tmp_path):
    def bring():
        return store.import_folder(tmp_path, model, [tmp_path], title="Poet", source="here").name

    assert [bring(), bring()] == ["poet-2", "poet-2"]  # 'poet' is included
    (model / "README.md").write_text("another")
    assert bring() == "poet-3"


def test_a_base_whose_file_was_changed_is_not_whole(model, tmp_path):
    base = store.import_folder(tmp_path, model, [tmp_path], title="Changed", source="here")
    with (base.folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert not store.is_intact(base)


def test_a_folder_outside_the_roots_is_refused(model, tmp_path):
    with pytest.raises(Refusal, match="not in a folder that models may come from"):
        validate_folder.validate(model, [tmp_path / "elsewhere"])


def test_folders_and_pictures_beside_a_model_are_left_out(model, tmp_path):
    (model / "onnx").mkdir()
    (model / "onnx" / "pickle.bin").write_bytes(b"\x80\x04.")
    (model / "logo.png").write_bytes(b"\x89PNG")
    base = store.import_folder(tmp_path, model, [tmp_path], title="Left", source="here")
    assert not {"onnx", "logo.png"} & {path.name for path in base.folder.iterdir()}


def test_taking_in_that_is_broken_off_leaves_what_has_arrived_and_nothing_else(model, tmp_path):
    def broken_off(_done, _total):
        raise SystemExit  # as a process that is cancelled does

    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(SystemExit):
        store.import_folder(tmp_path, model, [tmp_path], title="Half", source="here", move=True, tell=broken_off)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert not list(store.bases_folder(tmp_path).iterdir())


def test_every_family_is_known_to_transformers_with_its_heads():
    import transformers

    for name, family in FAMILIES.items():
        config = transformers.CONFIG_MAPPING[name]
        for head in family.heads:
            assert config in getattr(transformers, HEADS[head].auto_class)._model_mapping, (name, head)


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.jinja")), ids=lambda file: file.stem)
def test_templates_as_real_models_have_them_pass_and_write_what_transformers_writes(file):
    from transformers.utils.chat_template_utils import render_jinja_template

    template, tokens = file.read_text("utf-8"), {"bos_token": "<s>", "eos_token": "</s>"}
    assert chat_template_check.find_problem(template) == ""
    turns = [{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "<think>x</think>ok"}]
    given = {"tools": None, "add_generation_prompt": True} | tokens
    ((same,), _spans) = render_jinja_template(conversations=[turns], chat_template=template, **given)
    assert chat_template.render(template, turns, **given).text == same


def test_real_chat_templates_pass():
    plain = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    assert (
        chat_template_check.find_problem(plain + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
        == ""
    )
    only = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages | tojson }}"
    assert chat_template_check.find_problem(only) == ""


GROWING = {
    "two namespaces": "{% set n = namespace(a='x', b='x') %}{% for m in messages %}{% set n.a = n.a ~ n.b %}{% set n.b = n.a %}{% endfor %}",
    "a block": "{% set n = namespace(a='x') %}{% for m in messages %}{% set n.a %}{{ n.a }}{{ n.a }}{% endset %}{% endfor %}",
    "escapes": "{% set n = namespace(a='x') %}{% for m in messages %}{% set n.a = n.a | tojson %}{% endfor %}",
    "a straight line": "".join(f"{{% set a{i + 1} = a{i} ~ a{i} %}}" for i in range(40)),
    "macros": "".join(f"{{% macro m{i}() %}}{{{{ m{i + 1}() }}}}{{{{ m{i + 1}() }}}}{{% endmacro %}}" for i in range(30)) + "{% macro m30() %}x{% endmacro %}{{ m0() }}",
    "a rare word": "{% if 'zebra' in messages[-1].content %}{% for a in range(5000) %}{% for b in range(5000) %}{% endfor %}{% endfor %}{% endif %}",
    "contents in contents": "{% macro f(x) %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}{% endmacro %}{% for m in messages %}{{ f(m.content) }}{% endfor %}",
    "join": "{% for m in messages %}{{ m.content | join(m.content) }}{% endfor %}",
    "messages to the third": "{% for a in messages %}{% for b in messages %}{% for c in messages %}{% endfor %}{% endfor %}{% endfor %}",
    "a width": "{{ '{:9999}'.format(1) }}{{ 'x'.ljust(9999) }}",
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_a_template_without_bound_is_refused_by_its_text(name):
    assert chat_template_check._static_problem(GROWING[name])


@pytest.mark.parametrize("name", sorted(set(GROWING) - {"escapes"}))
def test_a_rendering_ends_though_the_gate_was_passed(name):
    from jinja2 import TemplateError

    turns = [{"role": "user", "content": "zebra" * 2_000}] * 150
    begun = time.process_time()
    with suppress(TemplateError):
        assert len(chat_template.render(GROWING[name], turns, a0="x" * 100).text) < 10**8
    assert time.process_time() - begun < 30  # of CPU; without a meter years


REAL_EXPRESSIONS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lo}\p{M}]*[\p{Ll}\p{Lo}\p{M}]+(?i:'s|'t)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lo}\p{M}]+[\p{Ll}\p{Lo}\p{M}]*|\s+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r" {2,}", r"[0-9][0-9][0-9]", r"\w+|[^\w\s]+", r"\s+$",
)  # fmt: skip


def test_expressions_of_real_tokenizers_pass_and_those_that_panic_do_not():
    assert not any(map(check_regex.find_problem, REAL_EXPRESSIONS))
    panicking = (
        r"((b+))+$",
        r"b+b+$",
        r"(b|bb)+c",
        r"(b*)*",
        r"(\w+\s?)*!",
        r"(?=(b+)+c)",
        r"(b)\1",
        r"(b{1,30}){1,30}c",
        "[",
    )
    assert all(map(check_regex.find_problem, panicking))


def tokenizer_problem(**parts):
    try:
        check_tokenizer.check(TOKENIZER | parts)
    except check_tokenizer.Unsafe as error:
        return str(error)
    return ""


def test_a_tokenizer_is_refused_by_its_numbers():
    doubling = {"type": "Replace", "pattern": {"String": "b"}, "content": "bb"}
    assert "longer" in tokenizer_problem(normalizer={"type": "Sequence", "normalizers": [doubling] * 20})
    assert not tokenizer_problem(normalizer={"type": "Sequence", "normalizers": [doubling] * 3})
    for table in ("", "AAAA", "/////w==", "AAQAAA=="):
        assert tokenizer_problem(normalizer={"type": "Precompiled", "precompiled_charsmap": table})
    assert tokenizer_problem(pre_tokenizer={"type": "FixedLength", "length": 0})
    assert tokenizer_problem(added_tokens=[{"id": n, "content": f"<{n}>"} for n in range(30_000)])
    assert tokenizer_problem(truncation={"max_length": 2, "stride": 2})


def test_the_table_of_a_real_sentencepiece_model_passes(tmp_path):
    import io

    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox"] * 50), model_writer=out, vocab_size=20, minloglevel=2
    )
    (tmp_path / "x.model").write_bytes(out.getvalue())
    (table,) = sentencepiece_model.read(tmp_path / "x.model").charsmaps
    check_tokenizer.check_charsmap(table)
    with pytest.raises(check_tokenizer.Unsafe):
        check_tokenizer.check_charsmap(table[:-30_000])


@pytest.mark.parametrize("change", [(b"llama.block_count" + struct.pack("<II", 4, 1), b"llama.block_count" + struct.pack("<II", 4, 2**31 - 1)),
                                    (struct.pack("<IQQIQ", 2, 16, 2, 0, 0), struct.pack("<IQQIQ", 2, 16, 2**40, 0, 0)),
                                    (struct.pack("<IIQ", 9, 5, 2), struct.pack("<IIQ", 9, 5, 2**33))])  # fmt: skip
def test_a_gguf_header_that_does_not_fit_its_file_is_refused(tmp_path, change):
    (tmp_path / "good.gguf").write_bytes(small_gguf())
    (tmp_path / "bad.gguf").write_bytes(small_gguf().replace(*change))
    assert gguf.read_architecture(tmp_path / "good.gguf") == "llama"
    with pytest.raises(Refusal):
        gguf.read_architecture(tmp_path / "bad.gguf")


# -- folders as other programs leave them ------------------------------------------------------------------------
def hub_cache(model, links):
    """The cache folder that the Hub's client would make of a model."""
    cache = model.parent / "models--org--small"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots" / "abc").mkdir(parents=True)
    for file in model.iterdir():
        file.rename(cache / "blobs" / f"hash-of-{file.name}")
        target, link = f"../../blobs/hash-of-{file.name}", cache / "snapshots" / "abc" / file.name
        link.symlink_to(target) if links else link.write_text(target)
    return cache


@pytest.mark.parametrize("links", [True, False], ids=["links", "links as text"])
def test_a_cache_folder_of_the_hub_is_taken(model, tmp_path, links):
    cache = hub_cache(model, links)
    base = store.import_folder(tmp_path, cache, [cache], title="org/small", source="here")
    assert base.parameters == 64 * 16 + 16 + 32 * 16 and not any(path.is_symlink() for path in base.folder.iterdir())
    snapshot = cache / "snapshots" / "abc"
    assert store.import_folder(tmp_path, snapshot, [snapshot], title="again", source="here") == base


def test_a_link_out_of_a_cache_folder_is_refused(model, tmp_path):
    cache = hub_cache(model, True)
    (cache / "snapshots" / "abc" / "vocab.txt").symlink_to("../../refs")
    (cache / "refs").write_text("secret")
    with pytest.raises(Refusal, match="leads out"):
        store.import_folder(tmp_path, cache, [tmp_path], title="x", source="here")


def test_training_state_beside_weights_is_ignored_said_and_never_kept(model, tmp_path):
    state = ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"]
    for name in state:
        (model / name).write_bytes(b"\x80\x04.")
    (model / "checkpoint-500").mkdir()
    base = store.import_folder(tmp_path, model, [tmp_path], title="trained", source="here")
    assert set(base.ignored) == {*state, "checkpoint-500"} and not set(state) & {
        path.name for path in base.folder.iterdir()
    }
    (model / "model.safetensors").unlink()
    with pytest.raises(Refusal):
        validate_folder.validate(model, [tmp_path])


def test_a_tokenizer_larger_than_the_embedding_is_refused_with_both_numbers(model, tmp_path):
    added = {"added_tokens": [{"id": 64, "content": "<pad>"}]}
    (model / "tokenizer.json").write_text(json.dumps(TOKENIZER | added))
    with pytest.raises(Refusal, match="65 tokens, the embedding of the network 64"):
        validate_folder.validate(model, [tmp_path])


def test_weights_that_are_missing_are_named(model, tmp_path):
    (model / "config.json").write_text(json.dumps(CONFIG | {"tie_word_embeddings": False}))
    with pytest.raises(Refusal, match=r"missing: lm_head\.weight"):
        validate_folder.validate(model, [tmp_path])
    (model / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 3}))
    with pytest.raises(Refusal, match=r"missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        validate_folder.validate(model, [tmp_path])


def test_an_untied_body_is_a_base_for_classes_alone(model, tmp_path):
    body = {"tie_word_embeddings": False, "architectures": ["LlamaModel"]}
    (model / "config.json").write_text(json.dumps(CONFIG | body))
    assert validate_folder.validate(model, [tmp_path]).heads == {"text-classification"}


@pytest.mark.parametrize("method", ["fp8", "gptq", "bitsandbytes"])
def test_quantized_weights_are_told_by_their_method(model, tmp_path, method):
    (model / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": {"quant_method": method}}))
    with pytest.raises(Refusal, match=rf"quantized already \({method}\)"):
        validate_folder.validate(model, [tmp_path])


def adapter(folder, base):
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "base_model_name_or_path": base,
        "target_modules": "((a+))+$",
    }
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.mlp.up_proj"
    data = weights({f"{layer}.lora_A.weight": [2, 16], f"{layer}.lora_B.weight": [32, 2]})
    (folder / "adapter_model.safetensors").write_bytes(data)
    return folder


def test_an_adapter_says_which_base_to_bring(model, tmp_path):
    lora = adapter(tmp_path / "lora", "org/far")
    with pytest.raises(Refusal, match="an adapter of org/far, which is not here"):
        import_adapter.import_adapter(tmp_path, lora, [tmp_path])
    store.import_folder(tmp_path, model, [tmp_path], title="near", source="here")
    with pytest.raises(Refusal, match=r"does not say of which base model.*near"):
        import_adapter.import_adapter(tmp_path, adapter(tmp_path / "nameless", None), [tmp_path])


def test_an_adapter_is_merged_as_peft_merges_it(tmp_path):
    import peft
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    made = LlamaForCausalLM(LlamaConfig(**{key: value for key, value in CONFIG.items() if key != "model_type"}))
    made.save_pretrained(tmp_path / "body")
    shutil.copy(sound(tmp_path / "model") / "tokenizer.json", tmp_path / "body")
    store.import_folder(tmp_path, tmp_path / "body", [tmp_path], title="body", source="Hub: org/body")
    tuned = peft.get_peft_model(
        made, peft.LoraConfig(r=3, target_modules=["q_proj"], init_lora_weights=False, use_rslora=True)
    )
    tuned.save_pretrained(tmp_path / "lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text()) | {
        "base_model_name_or_path": "org/body"
    }
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    base = import_adapter.import_adapter(tmp_path, tmp_path / "lora", [tmp_path])
    asked = {"input_ids": torch.tensor([[5, 9, 2]])}
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(base.folder)(**asked).logits
        assert torch.allclose(merged, tuned.eval()(**asked).logits, atol=1e-5)


# -- the Hub ---------------------------------------------------------------------------------------------------
@pytest.fixture
def hub(model, monkeypatch):
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    files |= {
        "README.md": b"---\nlicense: apache-2.0\nlanguage:\n- zh\n- en\n---\n# Tiny",
        "pytorch_model.bin": b"\x80\x04.",
    }
    with Hub({"org/tiny": files}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path / "home")


def test_looking_tells_size_licence_languages_and_revision_and_fetches_nothing(hub, studio):
    offer = studio.base_models.look_up("org/tiny").wait()["offer"]
    assert offer["licence"] == "apache-2.0" and list(offer["languages"]) == ["zh", "en"]
    assert offer["revision"] == hub.revision and "pytorch_model.bin" not in offer["files"]
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_model_of_the_hub_is_fetched_pinned_and_known(hub, studio):
    name = studio.base_models.fetch("org/tiny").wait()["base"]
    base = store.get_base(studio.home, name)
    assert (base.source, base.revision, base.licence) == ("Hub: org/tiny", hub.revision, "apache-2.0")
    assert all(hub.revision in path for path in hub.asked if "/resolve/" in path)
    assert not [path for path in hub.asked if path.endswith(".bin")]


def test_a_download_that_was_interrupted_goes_on_where_it_was(hub, studio):
    hub.repos["org/tiny"]["model.safetensors"] = weights({"model.embed_tokens.weight": [4096, 16]})
    hub.cut["model.safetensors"] = 150_000
    with pytest.raises(Refusal, match="cannot be reached"):
        studio.base_models.fetch("org/tiny").wait()
    hub.cut.clear()
    hub.ranges.clear()
    studio.base_models.fetch("org/tiny").wait()
    assert ("model.safetensors", 131_072) in hub.ranges and ("model.safetensors", 0) not in hub.ranges


FREE = """
import shutil, sys
from itertools import chain, repeat
from types import SimpleNamespace
given = [int(one) for one in sys.argv.pop().split()]
free = chain(given, repeat(given[-1]))
shutil.disk_usage = lambda _path: SimpleNamespace(free=next(free))
from bigmodel.base_models import fetch_process
fetch_process.main()
"""


def with_so_much_room(studio, *free):
    """What fetching says on a disk with so many bytes free, each time that it looks."""
    request = json.dumps({"home": str(studio.home), "kind": "hub", "source": "org/tiny"}) + "\n"
    command = [sys.executable, "-c", FREE, " ".join(map(str, free))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as child:
        child.stdin.write(request.encode())
        child.stdin.flush()  # and not closed: it would leave with its parent
        return json.loads(child.stdout.readlines()[-1])


def test_a_download_that_is_gone_on_with_needs_room_for_the_rest_alone(hub, studio):
    hub.repos["org/tiny"]["model.safetensors"] = weights({"model.embed_tokens.weight": [4096, 16]})
    hub.cut["model.safetensors"] = 150_000
    with pytest.raises(Refusal, match="cannot be reached"):
        studio.base_models.fetch("org/tiny").wait()
    hub.cut.clear()
    looked = studio.base_models.look_up("org/tiny").wait()
    rest = looked["offer"]["bytes"] - looked["arrived"]
    assert "error" in with_so_much_room(studio, store.RESERVED_DISK_BYTES + rest - 1)
    assert with_so_much_room(studio, store.RESERVED_DISK_BYTES + rest)["result"]["base"] == "tiny"


def test_a_disk_that_fills_up_at_the_end_costs_nothing_of_what_has_arrived(hub, studio):
    said = with_so_much_room(studio, 2**40, 0)
    assert "no room" in Refusal.from_json(said["error"]).say("en")
    hub.ranges.clear()
    assert studio.base_models.fetch("org/tiny").wait()["base"] == "tiny" and not hub.ranges


def test_what_the_dead_have_left_behind_is_taken_away(hub, studio):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    place, days = store.bases_folder(studio.home), 24 * 3600
    ages = {
        f".staging-{store._hostname()}-{dead.pid}-a": 0,
        ".staging-elsewhere-1-b": 2 * days,
        ".converting-c": 2 * days,
        ".removed-d": 0,
        ".incoming/e": 40 * days,
        f"{store.process_prefix(store.CONVERTING)}-f": 2 * days,
        ".staging-elsewhere-1-g": 0,
        ".incoming/h": 20 * days,
    }
    for name, age in ages.items():
        (place / name).mkdir(parents=True)
        os.utime(place / name, (time.time() - age,) * 2)
    studio.base_models.look_up("org/tiny").wait()
    assert [name for name in ages if (place / name).exists()] == list(ages)[-3:]


def test_a_conversion_that_is_cancelled_leaves_nothing(studio, tmp_path):
    (tmp_path / "half.gguf").write_bytes(small_gguf())
    place = store.bases_folder(studio.home)
    for _try in range(20):
        work = studio.base_models.fetch(str(tmp_path / "half.gguf"), trusted=True)
        wait_for(lambda work=work: list(place.glob(".converting-*")) or not work.running)
        work.cancel()
        wait_for(lambda work=work: not work.running)
        if work.state == CANCELLED:
            break
        shutil.rmtree(place)  # it was done before anybody could cancel it
    assert work.state == CANCELLED and not list(place.iterdir())


def test_a_revision_is_looked_at_and_that_of_a_suggestion_without_one(hub, studio):
    hub.repos["facebook/m2m100_418M"] = hub.repos["org/tiny"]
    studio.base_models.look_up("org/tiny", "v1").wait()
    studio.base_models.look_up("facebook/m2m100_418M").wait()
    assert [path.partition("/revision/")[2] for path in hub.asked] == ["v1", "refs%2Fpr%2F19"]


def test_dialogue_is_offered_those_that_answer_first():
    offered = [one for one, _way in suggestions.suggestions_for(catalog.task("dialogue"), 2**40)]
    answering = [one.chat for one in offered]
    assert answering == sorted(answering, reverse=True) and any(answering) and not all(answering)
    written = [one for one, _way in suggestions.suggestions_for(catalog.task("text-generation"), 2**40)]
    assert written == [one for one in suggestions.SUGGESTIONS if one.head == "causal-lm"]


def test_translation_is_offered_models_of_many_languages():
    many = [
        one for one, _way in suggestions.suggestions_for(catalog.task("translation"), 2**40) if "ja" in one.languages
    ]
    assert {"nllb", "m2m100", "mbart", "mt5"} <= {
        one.id.rpartition("/")[2].replace("_", "-").split("-")[0] for one in many
    }
    assert all(one.licence and one.megabytes > 3 * one.millions for one in many), "in fp32"


def test_a_file_with_another_hash_is_refused_and_not_kept(hub, studio):
    data = bytearray(hub.repos["org/tiny"]["model.safetensors"])
    data[-1] ^= 1
    hub.served["model.safetensors"] = bytes(data)
    with pytest.raises(Refusal, match="its hash is another"):
        studio.base_models.fetch("org/tiny").wait()
    assert not list((studio.home / "bases").glob(".incoming/*/model.safetensors*"))
    hub.served.clear()
    assert studio.base_models.fetch("org/tiny").wait()["base"] == "tiny"


@pytest.mark.parametrize(
    "status, code, said",
    [
        (404, "RepoNotFound", "no model org/tiny on the Hub"),
        (401, "RepoNotFound", "no model org/tiny on the Hub"),
        (403, "GatedRepo", "agreed to its terms"),
        (404, "RevisionNotFound", "no such revision"),
        (500, "", r"cannot be reached \(500\)"),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(hub, studio, status, code, said):
    hub.refuse = status, code
    with pytest.raises(Refusal, match=said):
        studio.base_models.look_up("org/tiny").wait()


def test_offline_is_said_with_what_to_do(hub, studio, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Refusal, match=r"HF_HUB_OFFLINE.*take it in from there"):
        studio.base_models.fetch("org/tiny").wait()
    assert not hub.asked


def test_a_repository_of_pickles_alone_is_refused_before_anything_is_fetched(hub, studio):
    del hub.repos["org/tiny"]["model.safetensors"]
    with pytest.raises(Refusal, match=r"no weights in the form of safetensors. It has: .bin"):
        studio.base_models.fetch("org/tiny").wait()
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_config_that_names_code_is_refused_before_the_weights_are_fetched(hub, studio):
    files = hub.repos["org/tiny"]
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"auto_map": {"AutoModel": "x.Y"}}).encode()
    with pytest.raises(Refusal, match="auto_map"):
        studio.base_models.fetch("org/tiny").wait()
    assert not [path for path in hub.asked if path.endswith("model.safetensors")]


def test_the_hash_of_the_server_is_the_hash_of_its_files(hub):
    data = hub.repos["org/tiny"]["model.safetensors"]
    assert hub.entry("model.safetensors", data)["lfs"]["sha256"] == hashlib.sha256(data).hexdigest()
