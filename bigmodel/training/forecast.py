"""What a run will take: a probe of the real network on a real batch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import field as default_field
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.data.prepare import Prepared, cache_key, prepare
from bigmodel.training import out_of_memory, pretraining
from bigmodel.training.batch_sizes import batch_numel, sample_batch_sizes
from bigmodel.training.determinism import enable_determinism
from bigmodel.training.eval_cost import answer_seconds, measure_eval_cost
from bigmodel.training.forward import Forward, apply_cpu_kernels, to_device
from bigmodel.training.kernels import malloc
from bigmodel.training.optimizers import optimizer
from bigmodel.training.precision import compute_plan_file, probe, resolve_device

PROBE_SECONDS = 2.0
PROBE_DEADLINE_SECONDS = (
    3.5  # seconds after which no more steps are tried, once there is one: with what follows, five in all
)
MAX_STEP_SECONDS = 0.5  # seconds; of a slower one only a part is tried
MIN_TIMED_STEPS = 4
MEMORY_STEPS = 3  # steps of which it is counted what they keep
CUDA_BYTES = 600 * 2**20  # what is held on a GPU before the first weight: its context, and the libraries' work space
STATE_BYTES = {"adamw": 16, "adam": 16, "sgd": 12}  # a weight, its gradient and the optimizer's memory of it
FROZEN_BYTES = 4  # of a weight that is not trained
PROCESS_BYTES = 690 * 2**20  # Python, torch and transformers before the first weight, tokenizers and metrics
LOGIT_BYTES = 7  # of each number that a language model says of a token: with its gradient, and what the loss holds
PROCESS_BYTES_BY_HEAD = {  # measured at the end of small runs; sentences come in many shapes, each of which may keep kernels of its own
    "causal-lm": {"fp32": 642 * 2**20, "bf16": 642 * 2**20},
    "image-classification": {"fp32": 600 * 2**20, "bf16": 600 * 2**20},
    "seq2seq-lm": {"fp32": 880 * 2**20, "bf16": 1120 * 2**20},
}


@dataclass(frozen=True)
class Forecast:
    """What a run will take, from a probe of the real network on real batches."""

    parameters: int
    memory: int  # bytes at the peak
    steps: int
    seconds: float | None  # the whole run; None where the network is too large to be tried here
    step_seconds: float | None
    device: str
    rows: Mapping[str, int] = default_field(default_factory=dict)
    trainable: int = 0  # of the parameters
    once: float = 0.0  # seconds that even a run of a few steps takes beside them: measuring, answering
    precision: str = ""
    threads: int = 0


def forecast(spec: RunSpec, cache: Path) -> Iterator[dict]:
    """Yields {} while it works and the figures last: parameters, memory (bytes), steps, seconds, step_seconds,
    device, rows. `seconds` is None where the network is too large to be tried on this machine."""
    with out_of_memory.refuse_on_oom(_("Trying a few steps for the forecast")), malloc.retain_freed_memory():
        yield from _forecast(spec, cache)


def _forecast(spec: RunSpec, cache: Path) -> Iterator[dict]:
    import psutil
    import torch

    task, architecture, dataset = (
        catalog.task(spec.task),
        catalog.architecture(spec.architecture),
        catalog.dataset(spec.dataset),
    )
    settings, device = spec.settings, resolve_device(spec.settings["device"])
    enable_determinism(device)
    data = prepare(task, architecture, dataset, settings, cache)
    yield {}
    latest = time.perf_counter() + PROBE_DEADLINE_SECONDS
    with torch.device("meta"):
        weights = list(architecture.model(data.facts, settings).parameters())
    parameters = sum(weight.numel() for weight in weights)
    trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    if parameters > limits.PARAMETERS:
        what = _("A network of {billions} billion parameters is too large.", billions=round(parameters / 1e9, 1))
        raise Refusal(what, do=_("Make it narrower or give it fewer layers."))
    plan = task.batch_indices(data.arrays["train"], settings, 0)
    per_epoch = math.ceil(len(plan) / settings["accumulation"])
    steps = min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)
    own = trainable * STATE_BYTES[settings["optimizer"]] + (parameters - trainable) * FROZEN_BYTES
    precision = "fp32" if settings["precision"] == "auto" else settings["precision"]
    figures = {
        "parameters": parameters,
        "trainable": trainable,
        "memory": _process_bytes(task, device, precision) + own,
        "steps": steps,
        "seconds": None,
        "step_seconds": None,
        "device": device,
        "rows": data.facts["rows"],
    }
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else psutil.virtual_memory().available
    if figures["memory"] > free:
        yield figures
        return
    yield {}
    model = architecture.model(data.facts, settings).to(device).train()
    apply_cpu_kernels(model, device)
    optimize = optimizer(model, settings)
    few = plan[0][:2]  # a little of a batch says what all of it would need, before all of it is tried
    held, _size = _probe_step(task, model, data, settings, device, precision, optimize, few)
    held *= len(plan[0]) / len(few)
    if figures["memory"] + held > free:
        yield figures | {"memory": round(figures["memory"] + held)}
        return
    yield {}
    pace = probe(
        task,
        model,
        data,
        settings,
        device,
        compute_plan_file(cache, spec, cache_key(task, architecture, dataset, settings), device),
    )
    yield {}
    epoch = sample_batch_sizes(task, data.arrays["train"], settings, plan)
    yield {}
    tried = max(
        int(len(plan[0]) * min(1.0, MAX_STEP_SECONDS / pace.step_seconds)), 1
    )  # rows of a batch, when all are too many
    weighed = MEMORY_STEPS if time.perf_counter() + MEMORY_STEPS * MAX_STEP_SECONDS < latest else 1
    kept, spent, worked = 0.0, [], 0
    until = time.perf_counter() + PROBE_SECONDS
    for number, indices in enumerate(islice(cycle(plan), 1, None)):
        begun, part = time.perf_counter(), indices[:tried]
        if number < weighed:  # to look at what is kept takes time: these do not count
            held, size = _probe_step(task, model, data, settings, device, pace.precision, optimize, part)
            kept = max(kept, held / size)
            yield {}
            continue
        worked += _probe_step(task, model, data, settings, device, pace.precision, optimize, part, weigh=False)[1]
        spent.append(time.perf_counter() - begun)
        yield {}
        now = time.perf_counter()
        if now > latest or (len(spent) > MIN_TIMED_STEPS and now > until):
            break
    # By how large the batches are, as they differ. What disturbs here will disturb the run as well.
    step_seconds = sum(spent) / worked * float(epoch.mean()) * settings["accumulation"]
    looks = math.ceil(steps / (settings["eval_every"] or per_epoch))
    look, answers = measure_eval_cost(task, model, data, settings), answer_seconds(task, model, data)
    final = look.seconds(task, data, settings, "test") + answers
    once = look.seconds(task, data, settings, "validation")
    first = (once if settings.get("baseline") else 0.0) + answers
    each = once + answers
    before = 0.0
    if pretraining.is_enabled(settings):
        yield {}
        model = architecture.pretraining_model(data.facts, settings).to(device).train()
        guessing, chosen = pretraining.MaskedLmTask(task, data.facts), pretraining.pretraining_spec(spec).settings
        before = _pretraining_seconds(guessing, model, data, chosen, device, pace.precision)
    yield figures | {
        "memory": round(_process_bytes(task, device, pace.precision) + own + kept * float(epoch.max())),
        "step_seconds": step_seconds,
        "precision": pace.precision,
        "threads": pace.threads,
        "seconds": before + first + steps * step_seconds + looks * each + final,
        "once": before + first + each + final,
    }


def _process_bytes(task: Task, device: str, precision: str) -> int:
    """Bytes that a run takes beside weights and batches, where these are: in the memory of the machine or of its GPU."""
    if device.startswith("cuda"):
        return CUDA_BYTES
    return PROCESS_BYTES_BY_HEAD.get(task.head, {}).get(precision, PROCESS_BYTES)


def _pretraining_seconds(
    task: Task, model: Any, data: Prepared, settings: Mapping, device: str, precision: str
) -> float:
    """Seconds of the epochs before the first step, from some of their steps."""
    apply_cpu_kernels(model, device)
    optimize, plan, spent = optimizer(model, settings), task.batch_indices(data.arrays["train"], settings, 0), []
    until = time.perf_counter() + PROBE_SECONDS / 2
    for indices in cycle(plan):
        begun = time.perf_counter()
        _probe_step(task, model, data, settings, device, precision, optimize, indices, weigh=False)
        spent.append(time.perf_counter() - begun)
        if len(spent) > 1 and time.perf_counter() > until:
            break
    return fmean(spent[1:]) * len(plan) * settings["epochs"]


def _probe_step(
    task: Any, model: Any, data: Any, settings: Any, device: str, precision: str, optimize: Any, indices: Any,
    weigh: bool = True,
) -> tuple[int, int]:  # fmt: skip
    """One real update; the bytes that it kept between its forward and its backward pass, if that is asked, and how large the
    batch was."""
    import torch

    held: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = to_device(device, task.batch(data.arrays["train"], indices, settings, 0))
    forward = Forward(model, task.head, settings, device, precision)
    inputs = {name: batch[name] for name in forward.inputs if name in batch}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor) if weigh else nullcontext():
        logits = forward.logits(inputs)
    forward.loss(logits, batch["labels"]).backward()
    torch.nn.utils.clip_grad_norm_(
        [weight for weight in model.parameters() if weight.requires_grad], settings["clip"] or math.inf
    )
    optimize.step()
    optimize.zero_grad(set_to_none=True)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    said = logits.numel() * LOGIT_BYTES if task.head == "causal-lm" else 0
    return sum(held.values()) + said, batch_numel(batch)
