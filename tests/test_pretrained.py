"""Fine-tuning: what is trained, what stays, what is kept; a run that dies goes on bit by bit."""

import json

import pytest
import torch
from conftest import learn

from bigmodel.bases import store
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED
from bigmodel.core.spec import RunSpec
from bigmodel.studio import Studio
from bigmodel.training import snapshot, watch
from bigmodel.training.precision import Pace

METHODS = ["lora", "full", "last", "head"]
KINDS = {
    "text-generation": ("prose_zh", "poet"),
    "translation": ("en_de", "translator"),
    "image-classification": ("digits", "classifier"),
}


@pytest.fixture(autouse=True)
def known(home, monkeypatch):
    """The bases of a home; nothing that a stopwatch decides."""
    store.bring(home)
    monkeypatch.setattr("bigmodel.training.loop.probe", lambda *_: Pace("fp32", 1, {"fp32, 1": 0.1}))


def spec(task="text-generation", **settings):
    dataset, base = KINDS[task]
    chosen = {"base": base, "max_steps": 5, "eval_every": 3, "batch_size": 8, "precision": "fp32", "device": "cpu"}
    chosen |= {"block_size": 16} if task == "text-generation" else {}
    chosen |= {} if task == "image-classification" else {"baseline": False}
    return RunSpec.check(
        {"task": task, "architecture": "pretrained", "dataset": dataset, "settings": chosen | settings}
    )


def model_of(one):
    return catalog.architecture("pretrained").model(facts_of(one), one.settings)


def facts_of(one):
    classes = [str(number) for number in range(10)]
    return {"head": catalog.task(one.task).head, "classes": classes, "pad": 0, "vocabulary": 0, "end": 2}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", KINDS)
def test_each_method_trains_a_part_of_every_kind_of_base(task, method):
    one = spec(task, method=method)
    if task == "image-classification" and method == "last":
        with pytest.raises(Refusal, match="no row of layers"):
            model_of(one)
        return
    weights = list(model_of(one).parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    assert (trained == sum(map(torch.numel, weights))) == (method == "full") and trained > 0


@pytest.mark.parametrize("method", METHODS)
def test_on_the_meta_device_as_many_parameters_are_counted_without_reading_weights(method):
    one = spec(method=method)
    with torch.device("meta"):
        counted = [(weight.numel(), weight.requires_grad) for weight in model_of(one).parameters()]
    assert counted == [(weight.numel(), weight.requires_grad) for weight in model_of(one).parameters()]


@pytest.mark.parametrize("task", KINDS)
def test_what_lora_has_learnt_is_merged_into_what_is_kept(task):
    one = spec(task, method="lora")
    model = model_of(one).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    asked = {
        "text-generation": {"input_ids": torch.tensor([[2, 5, 9]])},
        "translation": {"input_ids": torch.tensor([[5, 9, 2]]), "decoder_input_ids": torch.tensor([[0, 7]])},
        "image-classification": {"pixel_values": torch.rand(1, 3, 28, 28)},
    }[task]
    kept = catalog.architecture("pretrained").export(model)
    assert not any("lora" in name for name, _weight in kept.named_parameters())
    with torch.no_grad():
        assert torch.allclose(model(**asked).logits, kept(**asked).logits, atol=1e-4)


@pytest.mark.parametrize("method", ["lora", "last", "full"])
def test_a_fine_tuning_that_dies_goes_on_as_if_it_had_not(tmp_path, cache, monkeypatch, method):
    from safetensors.torch import load_file

    from bigmodel.training.loop import train

    monkeypatch.setattr(watch, "CHECKPOINT_SECONDS", -1.0)
    one, whole, broken = spec(method=method), tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    before = learn(whole, cache, one)
    for event in train(one, broken, lambda: False, cache, "cpu"):
        if event.kind == "checkpoint" and event["step"] == 4:
            break
    after = learn(broken, cache, one)
    assert before[-1]["state"] == after[-1]["state"] == FINISHED
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_checkpoint_of_lora_holds_the_adapters_alone_and_the_base_was_measured_first(tmp_path, cache):
    kinds = [event.kind for event in learn(tmp_path, cache, spec(method="lora", baseline=True))]
    assert kinds.index("plan") < kinds.index("baseline") < kinds.index("step")
    page = json.loads((tmp_path / "model" / "bigmodel.json").read_text())
    assert page["before"].keys() == page["validation"].keys() and page["before"]["loss"] != page["validation"]["loss"]
    newest = snapshot.places(tmp_path)[0]
    base = catalog.brought("base")["poet"]
    assert not (newest / "model.safetensors").exists()
    assert (newest / snapshot.TRAINED).stat().st_size < base.parameters * 4 / 5


def test_what_was_fine_tuned_becomes_a_base_of_its_own(tmp_path, cache):
    studio = Studio(tmp_path / "home")
    folder = studio.home / "runs" / "20260101-000000-tune"
    folder.mkdir(parents=True)
    learn(folder, cache, spec(method="lora"))
    assert json.loads((folder / "model" / "config.json").read_text())["model_type"] == "gpt2"
    base = store.take_in(studio.home, folder / "model", [folder], title="Tuned", source="run:x", own=True)
    assert "causal-lm" in base.heads and [one.name for one in studio.bases("causal-lm")].count(base.name) == 1


def test_a_base_with_its_chosen_settings_that_do_not_go_together_is_refused():
    with pytest.raises(Refusal, match="reads at most 128 tokens"):
        spec(block_size=256)
    with pytest.raises(Refusal, match="cannot be trained themselves"):
        spec(method="full", quantize="4bit")
    with pytest.raises(Refusal, match="Choose one of"):
        spec(base="nothing")


def test_another_base_is_encoded_anew():
    from bigmodel.data.prepare import key

    one = spec()
    parts = catalog.task(one.task), catalog.architecture("pretrained"), catalog.dataset(one.dataset)
    own = {**one.settings}
    assert key(*parts, own) == key(*parts, {**own, "method": "full"})
    assert key(*parts, own) != key(*parts, {**own, "base": "translator"})
