"""What must hold on a GPU: networks learn, runs repeat themselves and go on bit by bit, memory that is not enough is met.

Skipped where there is none. With one: python3 start.py test tests/test_gpu.py
Weights of 8 and 4 bits need bitsandbytes, too.
"""

import itertools
import math

import pytest
import torch
from conftest import learn, small
from small_bases import bert

from bigmodel.base_models import adapters, store
from bigmodel.core import catalog
from bigmodel.core.contracts import HEADS
from bigmodel.core.events import DIVERGED, FINISHED
from bigmodel.core.spec import RunSpec
from bigmodel.training import compute, evaluator, forecast
from bigmodel.training.precision import ComputePlan
from bigmodel.training.step import TrainStep

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

KINDS = [
    ("text-generation", "gpt", "prose_zh"),
    ("text-generation", "lstm", "prose_zh"),
    ("translation", "transformer", "en_de"),
    ("image-classification", "cnn", "digits"),
    ("image-classification", "vit", "digits"),
    ("image-classification", "resnet", "digits"),
    ("text-classification", "bert", "trivia_en"),
]
GPT, CNN = KINDS[0], KINDS[3]
of_each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[1])


def on_gpu(kind, **more):
    return small(*kind, **{"device": "cuda", "max_steps": 12, "eval_every": 5, "precision": "bf16"} | more)


def of(events, kind):
    return [event for event in events if event.kind == kind]


def run(folder, cache, spec, stopped=None):
    folder.mkdir(exist_ok=True)
    return learn(folder, cache, spec, stopped)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def assert_same(one, other):
    left, right = weights(one), weights(other)
    apart = [name for name in left if not torch.equal(left[name], right[name])]
    assert left.keys() == right.keys() and not apart, apart


@pytest.fixture
def steady(monkeypatch):
    """Nothing that a stopwatch decides, and a point for every step."""
    monkeypatch.setattr(compute, "probe", lambda *_: ComputePlan("bf16", 1, {"bf16, 1": 1.0}))


@of_each
def test_a_network_learns(tmp_path, cache, kind):
    events = run(tmp_path, cache, on_gpu(kind, max_steps=60, eval_every=60, precision="auto", clip=1.0))
    plan, losses = of(events, "plan")[0], [event["loss"] for event in of(events, "step")]
    assert events[-1]["state"] == FINISHED and plan["device"] == "cuda"
    assert {name.split(",")[0] for name in plan["probe_seconds"]} == {"fp32", "bf16"}, "both were tried"
    assert sum(losses[-5:]) / 5 < losses[0]


@of_each
def test_a_run_that_stops_and_goes_on_is_the_run_that_never_did(tmp_path, cache, steady, kind):
    spec = on_gpu(kind, dropout=0.2) if kind[1] != "resnet" else on_gpu(kind)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    before = run(whole, cache, spec)
    asked = itertools.count()
    run(cut, cache, spec, lambda: next(asked) >= 7)
    after = run(cut, cache, spec)
    assert of(after, "resume") and of(after, "validation")[-1]["metrics"] == of(before, "validation")[-1]["metrics"]
    assert_same(whole, cut)


def test_a_step_of_many_tokens_repeats_itself(tmp_path, cache, steady):
    """Where attention is added up by many at the same time, in whatever order."""
    spec = on_gpu(GPT, block_size=1024, batch_size=16, width=256, attention_heads=4, max_steps=8, eval_every=1_000)
    for name in ("one", "other"):
        run(tmp_path / name, cache, spec)
    assert_same(tmp_path / "one", tmp_path / "other")


def test_a_loss_that_is_no_number_is_found_though_nobody_waits_for_it(tmp_path, cache, steady, monkeypatch):
    """In the sixth step, told of with the tenth: the weights are those after the fifth."""
    monkeypatch.setattr(compute, "log_every", lambda *_: 10)
    real, steps = TrainStep._passes, itertools.count(1)

    def wrong(work, group, epoch):
        loss = real(work, group, epoch)
        return loss._replace(total=loss.total * (math.nan if next(steps) == 6 else 1))

    spec = on_gpu(GPT, eval_every=1_000, max_steps=40)
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "_passes", wrong)
        events = run(tmp_path / "ill", cache, spec)
    assert events[-1]["state"] == DIVERGED
    last = of(events, "step")[-1]
    assert last["step"] == 6 and math.isnan(last["loss"])
    asked = itertools.count()
    run(tmp_path / "well", cache, spec, lambda: next(asked) >= 5)
    assert_same(tmp_path / "ill", tmp_path / "well")


def test_a_batch_that_does_not_fit_is_cut_and_the_curve_stays(tmp_path, cache, steady):
    """The batch of one step wants more than the process may have."""
    spec = on_gpu(
        GPT, batch_size=64, block_size=256, width=256, layers=4, max_steps=4, eval_every=1_000, precision="fp32"
    )
    free = run(tmp_path / "free", cache, spec)
    torch.cuda.reset_peak_memory_stats()
    run(tmp_path / "again", cache, spec)
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.85 * peak / total)
    try:
        tight = run(tmp_path / "tight", cache, spec)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert next(event["parts"] for event in of(tight, "note") if "parts" in event.data) >= 2
    told = [[event["loss"] for event in of(events, "step")] for events in (free, tight)]
    assert told[1] == pytest.approx(told[0], rel=0.01)


def test_a_compiled_network_learns_the_same(tmp_path, cache, steady, monkeypatch):
    monkeypatch.setattr("bigmodel.training.precision.MIN_SPEEDUP", 0.0)
    spec = {"max_steps": 6, "eval_every": 1_000}
    events = run(tmp_path / "on", cache, on_gpu(GPT, compile="on", **spec))
    assert of(events, "plan")[0]["compiled"]
    plain = run(tmp_path / "off", cache, on_gpu(GPT, compile="off", **spec))
    told = [[event["loss"] for event in of(one, "step")] for one in (events, plain)]
    assert told[0] == pytest.approx(told[1], rel=0.01)


def test_a_forecast_is_made_there(cache):
    *_, found = forecast.forecast(on_gpu(GPT), cache)
    assert found["device"] == "cuda" and found["seconds"] > 0


def test_a_checkpoint_of_a_gpu_goes_on_where_there_is_none(tmp_path, cache, steady, monkeypatch):
    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)
    spec, asked = on_gpu(CNN, precision="fp32"), itertools.count()
    run(tmp_path, cache, spec, lambda: next(asked) >= 7)
    elsewhere = small(*CNN, **{**spec.settings, "device": "cpu"})
    assert run(tmp_path, cache, elsewhere)[-1]["state"] == FINISHED


# -- weights of 8 and 4 bits -------------------------------------------------------------------------------
ADAPTERS = ["lora", "rslora", "dora", "ia3"]
of_few_bits = pytest.mark.parametrize("bits", ["8bit", "4bit"])


@pytest.fixture
def quantizers():
    pytest.importorskip("bitsandbytes")


def fine_tuned(folder, cache, names, **settings):
    """The model that a base with weights of few bits has become, as plain transformers opens it; the events before."""
    import transformers

    task, base, dataset = names
    chosen = {"base": base, "device": "cuda", "precision": "bf16", "max_steps": 12, "eval_every": 12, "batch_size": 8}
    given = {"task": task, "architecture": "pretrained", "dataset": dataset, "settings": chosen | settings}
    events = run(folder, cache, RunSpec.check(given))
    opened = getattr(transformers, HEADS[catalog.task(task).head].auto_class).from_pretrained(folder / "model")
    return opened, events


@of_few_bits
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("targets", ["all", "attention"])
def test_a_base_of_few_bits_is_fine_tuned_and_kept_in_plain_fp32(tmp_path, cache, quantizers, bits, adapter, targets):
    """GPT-2 keeps its weights input first, bitsandbytes does not; beside attention alone the rest has no adapter."""
    names = ("text-generation", "poet", "prose_zh")
    opened, events = fine_tuned(
        tmp_path, cache, names, quantize=bits, adapter=adapter, lora_targets=targets, block_size=32, baseline=True
    )
    assert events[-1]["state"] == FINISHED
    plan, before = of(events, "plan")[0], of(events, "baseline")[0]["metrics"]["loss"]
    base = catalog.registered("base")["poet"]
    assert plan["parameters"] - plan["trainable"] == base.parameters == sum(map(torch.numel, opened.parameters()))
    assert all(weight.dtype == torch.float32 for weight in opened.parameters())
    assert not hasattr(opened.config, "quantization_config")
    assert of(events, "validation")[-1]["metrics"]["loss"] < before


@of_few_bits
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_is_kept_says_what_the_network_of_few_bits_said(quantizers, bits, adapter):
    asked = {"input_ids": torch.arange(2, 34, device="cuda")[None]}
    chosen = {"base": "poet", "quantize": bits, "adapter": adapter, "lora_targets": "attention", "block_size": 32}
    given = {"task": "text-generation", "architecture": "pretrained", "dataset": "prose_zh", "settings": chosen}
    model = catalog.architecture("pretrained").model({"head": "causal-lm", "pad": 0}, RunSpec.check(given).settings)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimize = torch.optim.AdamW(weights, lr=0.02)
    for _step in range(5):
        model.train()(**asked).logits.float().square().mean().backward()
        optimize.step()
        optimize.zero_grad()
    with torch.no_grad():
        said, kept = (one.eval()(**asked).logits.float() for one in (model, adapters.merge_adapters(model)))
    assert (said - kept).abs().mean() < 0.05 * said.std(), "the network computes in 16 or 8 bits"


@of_few_bits
def test_a_head_is_trained_as_it_is_where_the_rest_has_few_bits(tmp_path, cache, quantizers, bits):
    """The pooler of BERT stands inside the body, and is part of its head all the same."""
    store.register_bases(tmp_path / "home")
    folder = tmp_path / "made"
    folder.mkdir()
    bert(folder).save_pretrained(folder)
    store.import_folder(tmp_path / "home", folder, [tmp_path], title="reader", source="made here", name="reader")
    names = ("text-classification", "reader", "trivia_en")
    opened, events = fine_tuned(tmp_path / "run", cache, names, quantize=bits, text_length=32)
    assert events[-1]["state"] == FINISHED and opened.bert.pooler.dense.weight.dtype == torch.float32


def test_a_text_read_from_a_recording_is_the_text_read_as_it_comes(cache):
    from bigmodel.inference.kv_cache import CudaGraphDecoder, DynamicCacheDecoder, make_decoder

    torch.manual_seed(0)
    settings = {"layers": 2, "width": 64, "attention_heads": 2, "block_size": 64, "dropout": 0.0}
    model = catalog.architecture("gpt").model({"vocabulary": 300, "end": 0, "pad": 0}, settings).cuda().eval()
    one, other = DynamicCacheDecoder(model), make_decoder(model, 40, 30)
    assert isinstance(other, CudaGraphDecoder)
    for given in ([5, 6, 7], [8]):  # a second text begins anew
        left, right = one.next_logits(given), other.next_logits(given)
        for _token in range(30):
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-3)
            token = [int(left.argmax())]
            left, right = one.next_logits(token), other.next_logits(token)
        one.reset(), other.reset()
