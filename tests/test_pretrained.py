"""Fine-tuning: what is trained, what stays, what is kept; a run that dies goes on bit by bit."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import learn

from bigmodel.base_models import adapters, store
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED
from bigmodel.core.spec import RunSpec
from bigmodel.studio import Studio
from bigmodel.training import evaluator, resume_state
from bigmodel.training.optimizers import optimizer
from bigmodel.training.precision import ComputePlan

METHODS = ["lora", "full", "last", "head"]
RANK = 4  # of adapters that are counted
KINDS = {
    "text-generation": ("prose_zh", "poet"),
    "translation": ("en_de", "translator"),
    "image-classification": ("digits", "classifier"),
}


@pytest.fixture(autouse=True)
def known(home, monkeypatch):
    """The bases of a home; nothing that a stopwatch decides."""
    store.register_bases(home)
    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: ComputePlan("fp32", 1, {"fp32, 1": 0.1}))


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


WAYS = [*({"method": method} for method in METHODS), *({"adapter": kind} for kind in adapters.ADAPTER_TYPES)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(*way.items()))
def test_on_the_meta_device_as_many_parameters_are_counted_without_reading_weights(way):
    one = spec(**way)
    with torch.device("meta"):
        counted = [(weight.numel(), weight.requires_grad) for weight in model_of(one).parameters()]
    assert counted == [(weight.numel(), weight.requires_grad) for weight in model_of(one).parameters()]


ASKED = {
    "text-generation": {"input_ids": torch.tensor([[2, 5, 9]])},
    "translation": {"input_ids": torch.tensor([[5, 9, 2]]), "decoder_input_ids": torch.tensor([[0, 7]])},
    "image-classification": {"pixel_values": torch.linspace(-1, 1, 3 * 28 * 28).view(1, 3, 28, 28)},
}


def said(model, task):
    with torch.no_grad():
        return model.eval()(**ASKED[task]).logits


@pytest.mark.parametrize("kind", adapters.ADAPTER_TYPES)
@pytest.mark.parametrize("task", KINDS)
def test_what_adapters_of_each_kind_have_learnt_is_merged_into_what_is_kept(tmp_path, task, kind):
    one = spec(task, adapter=kind)
    torch.manual_seed(0)
    model = model_of(one)
    if task == "image-classification":  # its head begins at random and is trained too
        base = said(model, task)
    else:
        base = said(model_of(spec(task, method="head")), task)
        assert torch.allclose(said(model, task), base, atol=1e-4), "adapters begin at what changes nothing"
    optimize = optimizer(model, one.settings | {"learning_rate": 0.02})
    for _step in range(4):
        model.train()(**ASKED[task]).logits.square().mean().backward()
        optimize.step()
        optimize.zero_grad()
    learnt = said(model, task)
    kept = catalog.architecture("pretrained").export(model)
    kept.save_pretrained(tmp_path)
    opened = type(kept).from_pretrained(tmp_path)
    assert not torch.allclose(learnt, base, atol=1e-3) and torch.allclose(learnt, said(model, task))
    assert torch.allclose(learnt, said(opened, task), atol=1e-4)
    plain = model_of(spec(task, method="full"))
    assert [(name, weight.shape) for name, weight in opened.state_dict().items()] == [
        (name, weight.shape) for name, weight in plain.state_dict().items()
    ]


def test_a_run_counts_what_each_kind_of_adapter_trains():
    inside = [module for module in model_of(spec(method="full")).transformer.h.modules() if hasattr(module, "nf")]
    sizes = [tuple(layer.weight.shape) for layer in inside]  # (in, out)
    thin, out = sum(RANK * (before + after) for before, after in sizes), sum(after for _before, after in sizes)
    expected = {"lora": thin, "rslora": thin, "dora": thin + out, "loha": 2 * thin, "ia3": out}
    for kind, trained in expected.items():
        weights = list(model_of(spec(adapter=kind, lora_rank=RANK)).parameters())
        assert sum(weight.numel() for weight in weights if weight.requires_grad) == trained, kind
        whole = sum(weight.numel() for weight in weights)
        assert whole == trained + catalog.registered("base")["poet"].parameters, kind


@pytest.mark.parametrize("kind", adapters.ADAPTER_TYPES)
def test_a_run_with_each_kind_of_adapter_gets_better_and_leaves_a_plain_model(tmp_path, cache, few_rows, kind):
    from transformers import AutoModelForCausalLM

    happened = learn(tmp_path, cache, spec(adapter=kind, baseline=True, max_steps=30, eval_every=30))
    assert happened[-1]["state"] == FINISHED
    page = json.loads((tmp_path / "model" / "bigmodel.json").read_text())
    assert page["validation"]["loss"] < page["before"]["loss"]
    plain, base = AutoModelForCausalLM.from_pretrained(tmp_path / "model"), catalog.registered("base")["poet"]
    assert page["parameters"] == sum(map(torch.numel, plain.parameters())) == base.parameters


def test_factors_of_adapters_are_never_decayed():
    for kind, part in (("ia3", "ia3_"), ("dora", "lora_magnitude_vector")):
        model = model_of(spec("image-classification", adapter=kind))
        before = {name: weight.clone() for name, weight in model.named_parameters() if part in name}
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        optimizer(model, {"optimizer": "adamw", "learning_rate": 0.1, "weight_decay": 0.5}).step()
        after = dict(model.named_parameters())
        assert before and all(after[name].equal(weight) for name, weight in before.items())


@pytest.mark.parametrize("method", ["lora", "last", "full", "dora", "loha", "lokr", "ia3"])
def test_a_fine_tuning_that_dies_goes_on_as_if_it_had_not(tmp_path, cache, few_rows, monkeypatch, method):
    from safetensors.torch import load_file

    from bigmodel.training.loop import train

    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)
    way = {"method": method} if method in METHODS else {"adapter": method}
    one, whole, broken = spec(**way), tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    before = learn(whole, cache, one)
    for event in train(one, broken, lambda: False, cache, "cpu"):
        if event.kind == "checkpoint" and event["step"] == 4:
            break
    after = learn(broken, cache, one)
    assert before[-1]["state"] == after[-1]["state"] == FINISHED
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_checkpoint_of_lora_holds_the_adapters_alone_and_the_base_was_measured_first(tmp_path, cache, few_rows):
    kinds = [event.kind for event in learn(tmp_path, cache, spec(method="lora", baseline=True))]
    assert kinds.index("plan") < kinds.index("baseline") < kinds.index("step")
    page = json.loads((tmp_path / "model" / "bigmodel.json").read_text())
    assert page["before"].keys() == page["validation"].keys() and page["before"]["loss"] != page["validation"]["loss"]
    newest = resume_state.checkpoint_folders(tmp_path)[0]
    base = catalog.registered("base")["poet"]
    assert not (newest / "model.safetensors").exists()
    assert (newest / resume_state.TRAINED_WEIGHTS_FILE).stat().st_size < base.parameters * 4 / 5


def test_what_was_fine_tuned_becomes_a_base_of_its_own(tmp_path, cache, few_rows):
    studio = Studio(tmp_path / "home")
    folder = studio.home / "runs" / "20260101-000000-tune"
    folder.mkdir(parents=True)
    learn(folder, cache, spec(method="lora"))
    assert json.loads((folder / "model" / "config.json").read_text())["model_type"] == "gpt2"
    base = store.import_folder(studio.home, folder / "model", [folder], title="Tuned", source="run:x", own=True)
    assert "causal-lm" in base.heads and [one.name for one in studio.base_models.all("causal-lm")].count(base.name) == 1


def test_a_base_with_its_chosen_settings_that_do_not_go_together_is_refused():
    with pytest.raises(Refusal, match="reads at most 128 tokens"):
        spec(block_size=256)
    with pytest.raises(Refusal, match="cannot be trained themselves"):
        spec(method="full", quantize="4bit")
    with pytest.raises(Refusal, match="LoHa needs the frozen weights as they are"):
        spec(adapter="loha", quantize="8bit")
    with pytest.raises(Refusal, match="Choose one of"):
        spec(base="nothing")


def test_another_base_is_encoded_anew():
    from bigmodel.data.prepare import cache_key

    one = spec()

    def key(**changed):
        return cache_key(replace(one, settings={**one.settings, **changed}).resolve())

    assert key() == key(method="full")
    assert key() != key(base="translator")
