"""The loop and what it stands on: what is learnt, what is kept, and when it ends."""

import copy
import dataclasses
import json
import math
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import HANG, learn, small

from bigmodel.core import catalog
from bigmodel.core.events import DIVERGED, FINISHED, STOPPED
from bigmodel.data.prepare import prepare
from bigmodel.training import batch_sizes, checkpoint
from bigmodel.training.batch_sizes import sample_batch_sizes
from bigmodel.training.losses import cross_entropy, mean_squared_error
from bigmodel.training.optimizers import lr_factor, optimizer
from bigmodel.training.precision import ComputePlan, compute_plan_file, measure, probe, rows_to_try

DIGITS = ("image-classification", "vit", "digits")
PROSE = ("text-generation", "gpt", "prose_zh")


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def of(events, kind):
    return [event for event in events if event.kind == kind]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block, batch", [(16, 3), (64, 1), (256, 4), (2000, 7), (4096, 1)])
def test_every_epoch_has_as_many_batches(block, batch, seed):
    import numpy as np

    arrays = {"tokens": np.zeros(20_000, dtype=np.uint16)}
    settings = {"block_size": block, "batch_size": batch, "seed": seed}
    task = catalog.task("text-generation")
    assert len({len(task.batch_indices(arrays, settings, epoch)) for epoch in range(20)}) == 1


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(tmp_path, cache):
    spec = small(*PROSE, optimizer="sgd", learning_rate=10.0, clip=0.0, precision="fp32")
    events = learn(tmp_path, cache, spec)
    assert events[-1]["state"] == DIVERGED
    last = of(events, "step")[-1]
    assert not (math.isfinite(last["loss"]) and math.isfinite(last["gradient_norm"]))
    assert all(bool(weight.isfinite().all()) for weight in weights(tmp_path).values())


def test_an_update_is_told_by_how_far_it_moves_the_weights():
    from bigmodel.training.update_ratio import UpdateRatio

    small, large, bias = torch.randn(3, 5), torch.randn(2, 9000), torch.zeros(7)
    moves = UpdateRatio([torch.nn.Parameter(weight) for weight in (small, large, bias)])
    weights = [piece for piece in moves.samples if piece.numel()]
    assert sum(piece.numel() for piece in weights) == 15 + 4096, (
        "matrices only, and no more of a large one than a piece"
    )
    moves.save()
    for weight in weights:
        weight.mul_(1.25)
    told = moves.compute()
    assert told["update"] == pytest.approx(0.25 / 1.25)
    assert told["weights"] == pytest.approx(torch.cat([weight.flatten() for weight in weights]).square().mean().sqrt())


@pytest.mark.parametrize("names", [DIGITS, PROSE, ("translation", "transformer", "en_zh")])
def test_trying_how_long_a_measurement_takes_leaves_no_trace(cache, names):
    from bigmodel.training.eval_cost import measure_eval_cost

    session = small(*names).resolve()
    task, settings, data = session.task, session.settings, prepare(session, cache)
    model = session.architecture.model(data.facts, settings).train()
    before, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    look = measure_eval_cost(session, model, data, 0.05)
    assert 0 < look.each < HANG and (look.token > 0) == (names[0] == "translation")
    assert look.passes(session, data, "test") > 0.99 * task.eval_passes(data.arrays["test"], settings, True)
    assert model.training and torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_stopping_keeps_the_weights(tmp_path, cache):
    calls = iter(range(1000))
    events = learn(tmp_path, cache, small(*DIGITS), stopped=lambda: next(calls) >= 7)
    assert [event["state"] for event in of(events, "state")][-1] == STOPPED
    assert weights(tmp_path) and json.loads((tmp_path / "model" / "bigmodel.json").read_text())["step"] == 7


@pytest.mark.parametrize("asked", [2, 60])  # before the first validation, and after some
def test_a_stopped_run_keeps_its_best_weights_with_their_own_figures(tmp_path, cache, asked):
    calls, spec = iter(range(10_000)), small(*DIGITS, max_steps=500, eval_every=4, learning_rate=0.5)
    events = learn(tmp_path, cache, spec, stopped=lambda: next(calls) >= asked, end_now=lambda: False)
    validations = {event["step"]: dict(event["metrics"]) for event in of(events, "validation")}
    best = max(validations, key=lambda at: (validations[at]["accuracy"], -validations[at]["loss"]), default=asked)
    result = of(events, "result")[-1]
    about = json.loads((tmp_path / "model" / "bigmodel.json").read_text())
    assert about["step"] == result["step"] == best and about["metrics"] == dict(result["metrics"])
    assert about["validation"] == validations.get(best, {}) and bool(validations) == (asked == 60)
    assert of(events, "checkpoint")[-1]["step"] >= best and events[-1]["state"] == STOPPED


def test_early_stopping_ends_a_run_that_no_longer_gets_better(tmp_path, cache):
    spec = small(*DIGITS, learning_rate=0.3, max_steps=500, eval_every=2, patience=3)
    events = learn(tmp_path, cache, spec)
    assert events[-1]["state"] == FINISHED
    assert of(events, "validation")[-1]["step"] < 500


def test_the_best_weights_are_the_ones_that_are_kept(tmp_path, cache):
    events = learn(tmp_path, cache, small(*DIGITS, max_steps=60, eval_every=10, learning_rate=0.02))
    values = {
        event["step"]: (event["metrics"]["accuracy"], -event["metrics"]["loss"]) for event in of(events, "validation")
    }
    assert of(events, "result")[0]["step"] == max(values, key=values.get)


def test_the_same_seed_gives_the_same_weights(tmp_path, cache):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        learn(tmp_path / name, cache, small(*PROSE, max_steps=5, dropout=0.2))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_accumulated_batches_are_one_large_batch(tmp_path, cache):
    plain = {"augment": "none", "max_steps": 1, "optimizer": "sgd", "learning_rate": 0.1, "clip": 0.0}
    for name, more in {"large": {"batch_size": 32}, "small": {"batch_size": 8, "accumulation": 4}}.items():
        (tmp_path / name).mkdir()
        learn(tmp_path / name, cache, small(*DIGITS, **plain, **more))
    large, parts = weights(tmp_path / "large"), weights(tmp_path / "small")
    assert all(torch.allclose(large[name], parts[name], atol=1e-6) for name in large)


def test_samples_are_taken_before_the_first_step_and_at_each_validation(tmp_path, cache):
    events = learn(tmp_path, cache, small(*PROSE, max_steps=4, eval_every=2))
    assert sorted({event["step"] for event in of(events, "sample")}) == [0, 2, 4]


@pytest.mark.parametrize("name, left", [("adam", 1.0), ("adamw", 0.95), ("sgd", 0.95)])
def test_weights_decay_beside_the_gradient_and_with_adam_not_at_all(name, left):
    layer = torch.nn.Linear(3, 4, bias=False)
    before = layer.weight.detach().clone()
    optimize = optimizer(layer, {"optimizer": name, "learning_rate": 0.1, "weight_decay": 0.5})
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimize.step()
    assert torch.allclose(layer.weight, left * before)


def test_the_schedule_rises_and_then_falls():
    settings = {"warmup": 0.1, "schedule": "cosine"}
    factors = [lr_factor(settings, step, 100) for step in range(100)]
    assert (
        factors[:10] == sorted(factors[:10]) and factors[9] == 1 and factors[10:] == sorted(factors[10:], reverse=True)
    )
    root = {"warmup": 0.1, "schedule": "inverse-sqrt"}
    assert lr_factor(root, 39, 100) == pytest.approx(0.5)


def test_losses_are_what_their_equations_say():
    logits, labels = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [9.0, 9.0, 9.0]]), torch.tensor([0, 1, -100])
    chances = logits[:2].softmax(-1)
    assert cross_entropy(logits, labels) == pytest.approx(-(chances[0, 0].log() + chances[1, 1].log()).item() / 2)
    wanted = torch.eye(3)[:2]
    assert mean_squared_error(logits, labels) == pytest.approx(((chances - wanted) ** 2).sum(-1).mean().item())


def test_a_network_that_computes_its_loss_itself_is_asked_for_it(cache):
    from bigmodel.training.forward import Forward

    class Own:
        own_loss = frozenset({"image-classification"})

    class Network(torch.nn.Module):
        def forward(self, pixel_values, labels):
            parts = {"bright": pixel_values.mean(), "many": labels.float().mean().requires_grad_()}
            return SimpleNamespace(loss=sum(parts.values()), loss_dict=parts)

    spec = small(*DIGITS)
    session = dataclasses.replace(spec.resolve(), architecture=Own())
    batch = {"pixel_values": torch.ones(4, 3, 2, 2), "labels": torch.arange(4), "names": torch.zeros(4)}
    loss = Forward(session, Network(), "cpu", "fp32")(batch)
    assert loss.total.item() == 2.5 and {name: part.item() for name, part in loss.parts.items()} == {
        "bright": 1,
        "many": 1.5,
    }
    assert loss.total.requires_grad and not loss.parts["many"].requires_grad


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "manifest"])
def test_a_damaged_checkpoint_is_not_taken_for_a_good_one(tmp_path, damage):
    folder = checkpoint.save(tmp_path / "step-1", lambda staging: (staging / "weights").write_bytes(bytes(range(256))))
    assert checkpoint.verify(folder)
    file = folder / "weights"
    {
        "flip": lambda: file.write_bytes(bytes([1, *range(1, 256)])),
        "cut": lambda: file.write_bytes(bytes(range(255))),
        "missing": file.unlink,
        "manifest": (folder / checkpoint.MANIFEST).unlink,
    }[damage]()
    assert not checkpoint.verify(folder)


def test_a_checkpoint_that_failed_leaves_the_old_one(tmp_path):
    folder = checkpoint.save(tmp_path / "model", lambda staging: (staging / "weights").write_bytes(b"old"))

    def fail(staging):
        (staging / "weights").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(folder, fail)
    assert checkpoint.verify(folder) and (folder / "weights").read_bytes() == b"old"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_loss_computed_in_chunks_is_torchs_own(kind, smoothing):
    torch.manual_seed(0)
    logits, labels = torch.randn(700, 900).to(kind), torch.randint(0, 900, (700,))
    labels[::5] = -100
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = cross_entropy(ours, labels, smoothing)
    own = torch.nn.functional.cross_entropy(theirs.float(), labels, ignore_index=-100, label_smoothing=smoothing)
    (3 * loss).backward(), (3 * own).backward()
    assert type(loss.grad_fn).__name__ == "ChunkedBackward"
    assert loss.item() == pytest.approx(own.item(), rel=1e-5)
    assert torch.allclose(
        ours.grad.float(), theirs.grad.float(), rtol=1e-2 if kind == torch.bfloat16 else 1e-4, atol=1e-8
    )


def test_lean_dropout_drops_as_often_as_it_says_and_keeps_the_mean():
    from bigmodel.training.kernels.dropout import fast_dropout

    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    y = fast_dropout()(0.3)(x)
    y.sum().backward()
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.002) and y.mean().item() == pytest.approx(
        1, abs=0.005
    )
    assert torch.equal(x.grad, y.detach())
    assert torch.equal(fast_dropout()(0.3).eval()(x), x)


@pytest.mark.parametrize(
    "size, kernel, stride, padding, met",
    [
        ((1, 1), 3, 1, 1, (1, 1)),
        ((2, 2), 3, 2, 1, (2, 2)),
        ((2, 2), 3, 1, 1, (3, 3)),
        ((1, 8), 3, 1, 1, (1, 3)),
        ((2, 1), (5, 3), (2, 1), (2, 1), (2, 1)),
        ((4, 4), 7, 2, 3, (6, 6)),
        ((3, 3), 2, 1, 0, (2, 2)),
    ],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_lean_convolution_is_torchs_own_over_less(size, kernel, stride, padding, met, groups, monkeypatch):
    from bigmodel.training.kernels import convolution

    torch.manual_seed(0)
    plain = torch.nn.Conv2d(4, 6, kernel, stride, padding, groups=groups).double()
    lean = copy.deepcopy(plain)
    convolution.apply_cpu_kernels(lean)
    x = torch.randn(3, 4, *size, dtype=torch.float64)
    found = []
    for network in (plain, lean):
        given = x.clone().requires_grad_()
        y = network(given)
        y.square().sum().backward()
        found.append((y.detach(), given.grad, network.weight.grad, network.bias.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
    assert list(lean.state_dict()) == list(plain.state_dict()) and isinstance(lean, torch.nn.Conv2d)
    if met != lean.kernel_size:
        used = []
        whole = torch.nn.functional.conv2d
        monkeypatch.setattr(
            torch.nn.functional,
            "conv2d",
            lambda x, w, *more, **named: used.append(w.shape) or whole(x, w, *more, **named),
        )
        lean(x)
        assert [shape[2:] for shape in used] == [met]


@pytest.mark.parametrize("kind", [PROSE, ("translation", "transformer", "en_de"), DIGITS], ids=lambda kind: kind[1])
def test_attention_by_products_is_torchs_own(cache, kind):
    from bigmodel.training.forward import autocast
    from bigmodel.training.kernels.attention import IMPLEMENTATION, use_matmul_attention

    spec = small(*kind)
    session = spec.resolve()
    task, data = session.task, prepare(session, cache)
    batch = task.batch(
        data.arrays["train"], task.batch_indices(data.arrays["train"], spec.settings, 0)[0], spec.settings, 0
    )
    model = session.architecture.model(data.facts, spec.settings).train()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    answers = []
    for _turn in range(2):
        torch.manual_seed(0)
        with autocast("cpu", "bf16"):
            answers.append(model(**inputs).logits.float())
        use_matmul_attention(model, "cpu")
    assert model.config._attn_implementation == IMPLEMENTATION and IMPLEMENTATION not in model.config.to_json_string()
    assert not torch.equal(*answers) and torch.allclose(*answers, atol=0.05)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_where_nobody_waits_for_the_device_the_update_itself_leaves_out_what_is_no_number(kind):
    from bigmodel.training.nonfinite_guard import NonfiniteGuard

    weight = torch.nn.Parameter(torch.ones(3))
    holder = torch.nn.Module()
    holder.weight = weight
    optimize = optimizer(holder, {"optimizer": kind, "learning_rate": 0.1, "weight_decay": 0.01})
    guard = NonfiniteGuard(optimize, holder, "cuda")  # the fused updates of the CPU listen to the same flag
    seen = []
    for step, loss in enumerate((1.0, 1.0, math.nan, 1.0), start=1):
        weight.grad = torch.full((3,), loss)
        guard.look(step, torch.tensor(loss), weight.grad.norm())
        optimize.step()
        seen.append(weight.detach().clone())
    assert not seen[0].equal(seen[1]) and seen[1].equal(seen[2]) and seen[2].equal(seen[3])
    assert guard.first_bad_step() == 3 and guard.norm.isnan()


def test_statistics_of_a_batch_that_is_no_number_are_put_back():
    from bigmodel.training.nonfinite_guard import NonfiniteGuard

    norm = torch.nn.BatchNorm1d(2)
    guard = NonfiniteGuard(torch.optim.SGD(norm.parameters()), norm, "cuda")
    for step, value in ((1, 1.0), (2, math.nan)):
        kept = {name: buffer.clone() for name, buffer in norm.named_buffers()}
        guard.save_statistics()
        guard.look(step, norm(torch.randn(4, 2) * value).sum(), torch.tensor(1.0))
    assert guard.synchronous and guard.first_bad_step() == 2
    assert all(buffer.equal(kept[name]) and buffer.isfinite().all() for name, buffer in norm.named_buffers())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler here")
def test_a_compiled_network_learns_as_the_network_does(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("bigmodel.training.precision.MIN_SPEEDUP", 0.0)  # taken even where it brings nothing
    runs = []
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
        runs.append(learn(tmp_path / name, cache, small(*PROSE, max_steps=5, eval_every=5, compile=name)))
    told = [[event["loss"] for event in of(events, "step")] for events in runs]
    assert told[0] == pytest.approx(told[1], rel=1e-4)
    assert [of(events, "plan")[0]["compiled"] for events in runs] == [True, False]


def test_a_way_of_computing_that_is_hopeless_is_tried_once(monkeypatch):
    before, tried, clock = torch.get_num_threads(), [], [0.0]
    monkeypatch.setattr("bigmodel.training.precision.all_threads", lambda: 2)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    try:

        def step(precision):
            tried.append((precision, torch.get_num_threads()))
            clock[0] += 0.4 if torch.get_num_threads() > 1 else 0.002

        pace = measure(step, "cpu", "fp32")
    finally:
        torch.set_num_threads(before)
    assert tried.count(("fp32", 2)) == 1 and pace.threads == 1


def test_no_further_variant_is_tried_when_the_time_for_trying_is_over(monkeypatch):
    before, tried, clock = torch.get_num_threads(), [], [0.0]
    monkeypatch.setattr("bigmodel.training.precision.all_threads", lambda: 2)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def step(precision):
        tried.append(precision)
        clock[0] += 30.0

    try:
        plan = measure(step, "cpu", "auto")
    finally:
        torch.set_num_threads(before)
    assert set(tried) == {"fp32"} and (plan.precision, plan.threads) == ("fp32", 1)


@pytest.mark.parametrize(("row_seconds", "rows"), [(0.001, 64), (0.01, 16), (0.1, 4)])
def test_a_whole_batch_is_tried_where_that_is_quick_and_a_part_where_it_is_not(row_seconds, rows):
    tried = []
    assert rows_to_try(lambda rows: tried.append(rows) or rows * row_seconds, 64) == rows == tried[-1]


def test_where_memory_runs_out_a_smaller_part_is_tried():
    def pass_seconds(rows):
        if rows > 10:
            raise torch.OutOfMemoryError("out of memory")
        return 0.0001

    assert rows_to_try(pass_seconds, 64) == 8


def test_what_is_decided_already_is_not_tried(monkeypatch):
    before, tried = torch.get_num_threads(), set()
    monkeypatch.setattr("bigmodel.training.precision.all_threads", lambda: 2)
    try:
        plan = measure(
            lambda precision: tried.add((precision, torch.get_num_threads())), "cpu", "bf16", threads_asked=2
        )
    finally:
        torch.set_num_threads(before)
    assert tried == {("bf16", 2)} and (plan.precision, plan.threads) == ("bf16", 2)


def test_a_plan_of_another_version_is_not_taken(cache, monkeypatch):
    session, data = small(*DIGITS).resolve(), SimpleNamespace(key="data")
    before = compute_plan_file(cache, session, data, "cpu")
    monkeypatch.setattr("bigmodel.__version__", "99")
    assert compute_plan_file(cache, session, data, "cpu") != before


class _Probed:
    """Two ways of computing that are alike: a stopwatch says now this, now that."""

    def __init__(self, monkeypatch, others):
        self.paces = iter([ComputePlan("bf16", 2, {"bf16, 2": 0.1}), ComputePlan("fp32", 1, {"fp32, 1": 0.1})])
        used = iter([0.0, others])
        monkeypatch.setattr("bigmodel.training.precision._probed", lambda *_: next(self.paces))
        monkeypatch.setattr("bigmodel.training.precision._use", lambda: next(used, 0.0))

    def __call__(self, kept):
        before = torch.get_num_threads()
        try:
            return probe(None, None, None, "cpu", kept).precision
        finally:
            torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("others", "damage", "again"), [(0.0, None, "bf16"), (9.0, None, "fp32"), (0.0, "{", "fp32"), (0.0, "[1]", "fp32")]
)
def test_a_run_computes_as_the_one_before_it_unless_that_was_measured_on_a_busy_machine(
    tmp_path, monkeypatch, others, damage, again
):
    probed, kept = _Probed(monkeypatch, others), tmp_path / "paces" / "one.json"
    assert probed(kept) == "bf16"
    if damage:
        kept.write_text(damage)
    assert probed(kept) == again


def test_what_was_decided_holds_for_a_day_and_for_the_same_settings(tmp_path, monkeypatch, cache):
    probed, kept = _Probed(monkeypatch, 0.0), tmp_path / "one.json"
    probed(kept)
    os.utime(kept, (0, 0))
    assert probed(kept) == "fp32"
    data = SimpleNamespace(key="data")
    names = {compute_plan_file(cache, small(*DIGITS, batch_size=size).resolve(), data, "cpu") for size in (4, 8, 4)}
    assert len(names) == 2


def test_how_large_batches_are_is_seen_from_some_of_them(cache, monkeypatch):
    monkeypatch.setattr(batch_sizes, "SAMPLE_SECONDS", HANG)
    monkeypatch.setattr(batch_sizes, "MAX_SAMPLES", 50)
    session = small("translation", "transformer", "en_zh", batch_size=8).resolve()
    task, settings, data = session.task, session.settings, prepare(session, cache)
    rows = data.arrays["train"]
    plan = task.batch_indices(rows, settings, 0)[:150]
    every = [sum(value.numel() for value in task.batch(rows, indices, settings, 0).values()) for indices in plan]
    found = sample_batch_sizes(session, data, plan)
    assert len(found) == 50 < len(plan) and set(found) <= set(every) and len(set(every)) > 5
    assert found.mean() == pytest.approx(np.mean(every), rel=0.3)
