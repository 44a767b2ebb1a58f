"""Models from outside: what is let in, what is kept of it, what the Hub's answers become."""

import hashlib
import json
import shutil

import pytest
from hub_server import Hub

from bigmodel.bases import gate, store
from bigmodel.bases.families import FAMILIES
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.studio import Studio
from bigmodel.torture.hostile_models import HOSTILE, sound, weights

SOME = sorted(HOSTILE)[::4]


@pytest.fixture
def model(tmp_path):
    return sound(tmp_path / "model")


@pytest.mark.parametrize("kind", SOME)
def test_a_hostile_folder_is_refused_with_a_reason_in_both_languages(kind, model, tmp_path):
    HOSTILE[kind](model, tmp_path / "canary")
    with pytest.raises(Refusal) as refused:
        store.take_in(tmp_path, model, [model], title="Hostile", source="somewhere")
    assert refused.value.say("en") and refused.value.say("zh") != refused.value.say("en")
    assert not (tmp_path / "canary").exists() and set(store.known(tmp_path)) == set(store.included())


def test_a_sound_folder_is_copied_and_known_by_its_name(model, tmp_path):
    base = store.take_in(tmp_path, model, [tmp_path], title="org/My Model", source="here", licence="MIT")
    shutil.rmtree(model)
    assert base.name == "my-model" and base.heads >= {"causal-lm"} and base.parameters == 64 * 16 + 16 + 32 * 16
    assert store.known(tmp_path)["my-model"] == base and store.whole(base)


def test_the_same_name_twice_is_two_bases(model, tmp_path):
    names = [store.take_in(tmp_path, model, [tmp_path], title="Poet", source="here").name for _time in range(2)]
    assert names == ["poet-2", "poet-3"]  # 'poet' is included


def test_a_base_whose_file_was_changed_is_not_whole(model, tmp_path):
    base = store.take_in(tmp_path, model, [tmp_path], title="Changed", source="here")
    with (base.folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert not store.whole(base)


def test_a_folder_outside_the_roots_is_refused(model, tmp_path):
    with pytest.raises(Refusal, match="not in a folder that models may come from"):
        gate.examine(model, [tmp_path / "elsewhere"])


def test_folders_and_pictures_beside_a_model_are_left_out(model, tmp_path):
    (model / "onnx").mkdir()
    (model / "onnx" / "pickle.bin").write_bytes(b"\x80\x04.")
    (model / "logo.png").write_bytes(b"\x89PNG")
    base = store.take_in(tmp_path, model, [tmp_path], title="Left", source="here")
    assert not {"onnx", "logo.png"} & {path.name for path in base.folder.iterdir()}


def test_every_family_is_known_to_transformers_with_its_heads():
    import transformers

    for name, family in FAMILIES.items():
        config = transformers.CONFIG_MAPPING[name]
        for head in family.heads:
            assert config in getattr(transformers, HEADS[head].auto)._model_mapping, (name, head)


def test_real_chat_templates_pass():
    from bigmodel.bases import template

    plain = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    assert template.trouble(plain + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}") == ""
    only = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages | tojson }}"
    assert template.trouble(only) == ""


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
    offer = studio.look_base("org/tiny").wait()["offer"]
    assert offer["licence"] == "apache-2.0" and list(offer["languages"]) == ["zh", "en"]
    assert offer["revision"] == hub.revision and "pytorch_model.bin" not in offer["files"]
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_model_of_the_hub_is_fetched_pinned_and_known(hub, studio):
    name = studio.bring_base("org/tiny").wait()["base"]
    base = store.one(studio.home, name)
    assert (base.source, base.revision, base.licence) == ("Hub: org/tiny", hub.revision, "apache-2.0")
    assert all(hub.revision in path for path in hub.asked if "/resolve/" in path)
    assert not [path for path in hub.asked if path.endswith(".bin")]


def test_a_download_that_was_interrupted_goes_on_where_it_was(hub, studio):
    hub.repos["org/tiny"]["model.safetensors"] = weights({"model.embed_tokens.weight": [4096, 16]})
    hub.cut["model.safetensors"] = 150_000
    with pytest.raises(Refusal, match="cannot be reached"):
        studio.bring_base("org/tiny").wait()
    hub.cut.clear()
    hub.ranges.clear()
    studio.bring_base("org/tiny").wait()
    assert ("model.safetensors", 131_072) in hub.ranges and ("model.safetensors", 0) not in hub.ranges


def test_a_file_with_another_hash_is_refused_and_not_kept(hub, studio):
    data = bytearray(hub.repos["org/tiny"]["model.safetensors"])
    data[-1] ^= 1
    hub.served["model.safetensors"] = bytes(data)
    with pytest.raises(Refusal, match="its hash is another"):
        studio.bring_base("org/tiny").wait()
    assert not list((studio.home / "bases").glob(".incoming/*/model.safetensors*"))
    hub.served.clear()
    assert studio.bring_base("org/tiny").wait()["base"] == "tiny"


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
        studio.look_base("org/tiny").wait()


def test_offline_is_said_with_what_to_do(hub, studio, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Refusal, match=r"HF_HUB_OFFLINE.*take it in from there"):
        studio.bring_base("org/tiny").wait()
    assert not hub.asked


def test_a_repository_of_pickles_alone_is_refused_before_anything_is_fetched(hub, studio):
    del hub.repos["org/tiny"]["model.safetensors"]
    with pytest.raises(Refusal, match=r"no weights in the form of safetensors. It has: .bin"):
        studio.bring_base("org/tiny").wait()
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_config_that_names_code_is_refused_before_the_weights_are_fetched(hub, studio):
    files = hub.repos["org/tiny"]
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"auto_map": {"AutoModel": "x.Y"}}).encode()
    with pytest.raises(Refusal, match="auto_map"):
        studio.bring_base("org/tiny").wait()
    assert not [path for path in hub.asked if path.endswith("model.safetensors")]


def test_the_hash_of_the_server_is_the_hash_of_its_files(hub):
    data = hub.repos["org/tiny"]["model.safetensors"]
    assert hub.entry("model.safetensors", data)["lfs"]["sha256"] == hashlib.sha256(data).hexdigest()
