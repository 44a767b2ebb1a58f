"""What a run will take: a probe of the real network on a real batch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as default_field
from pathlib import Path
from typing import Any

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.data.prepare import prepare
from bigmodel.training.attention import by_products
from bigmodel.training.dropout import lean
from bigmodel.training.losses import LOSSES
from bigmodel.training.optimizers import optimizer
from bigmodel.training.precision import autocast, device_for

PROBE_SECONDS = 3.0
LONGEST_STEP = 1.0  # seconds; of a slower one only a part is tried
ROUNDS = 4
STATE_BYTES = {"adamw": 16, "adam": 16, "sgd": 12}  # a weight, its gradient and the optimizer's memory of it
PROCESS_BYTES = 700 * 2**20  # Python, torch and transformers before the first weight


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


def forecast(spec: RunSpec, cache: Path) -> Iterator[dict]:
    """Yields {} while it works and the figures last: parameters, memory (bytes), steps, seconds, step_seconds,
    device, rows. `seconds` is None where the network is too large to be tried on this machine."""
    import psutil
    import torch

    task, architecture, dataset = (
        catalog.task(spec.task),
        catalog.architecture(spec.architecture),
        catalog.dataset(spec.dataset),
    )
    settings, device = spec.settings, device_for(spec.settings["device"])
    data = prepare(task, architecture, dataset, settings, cache)
    yield {}
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in architecture.model(data.facts, settings).parameters())
    if parameters > limits.PARAMETERS:
        what = _("A network of {billions} billion parameters is too large.", billions=round(parameters / 1e9, 1))
        raise Refusal(what, do=_("Make it narrower or give it fewer layers."))
    plan = task.plan(data.arrays["train"], settings, 0)
    per_epoch = math.ceil(len(plan) / settings["accumulation"])
    steps = min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)
    figures = {
        "parameters": parameters,
        "memory": PROCESS_BYTES + parameters * STATE_BYTES[settings["optimizer"]],
        "steps": steps,
        "seconds": None,
        "step_seconds": None,
        "device": device,
        "rows": data.facts["rows"],
    }
    free = psutil.virtual_memory().available
    if figures["memory"] > free and device == "cpu":
        yield figures
        return
    yield {}
    model = architecture.model(data.facts, settings).to(device).train()
    lean(model)
    by_products(model, device)
    optimize = optimizer(model, settings)
    precisions = (
        ("fp32", "bf16")
        if settings["precision"] == "auto" and device != "mps"
        else (settings["precision"].replace("auto", "fp32"),)
    )
    few = plan[0][:2]  # a little of a batch says what all of it would need, before all of it is tried
    begun = time.perf_counter()
    held = _step(task, model, data, settings, device, precisions[0], optimize, few) * len(plan[0]) / len(few)
    if figures["memory"] + held > free and device == "cpu":
        yield figures | {"memory": round(figures["memory"] + held)}
        return
    yield {}
    guess = (time.perf_counter() - begun) * len(plan[0]) / len(few)
    tried = max(int(len(plan[0]) * min(1.0, LONGEST_STEP / guess)), len(few))  # rows of a batch, when all are too many
    spent: dict[str, list[float]] = {name: [] for name in precisions}
    until = time.perf_counter() + PROBE_SECONDS
    for turn in range(ROUNDS * len(precisions)):
        precision, indices = precisions[turn % len(precisions)], plan[turn % len(plan)]
        begun = time.perf_counter()
        kept = _step(task, model, data, settings, device, precision, optimize, indices[:tried])
        held = max(held, kept * len(plan[0]) / tried)
        spent[precision].append((time.perf_counter() - begun) * len(indices) / len(indices[:tried]))
        yield {}
        if all(spent.values()) and time.perf_counter() > until:
            break
    # the first step of each pays for allocations
    step_seconds = min(min(times[1:] or times) for times in spent.values()) * settings["accumulation"]
    validations = math.ceil(steps / (settings["eval_every"] or per_epoch))
    looks = len(task.plan(data.arrays["validation"], settings, None)) * step_seconds / settings["accumulation"] / 3
    yield figures | {
        "memory": round(figures["memory"] + held),
        "step_seconds": step_seconds,
        "seconds": steps * step_seconds + validations * looks,
    }


def _step(
    task: Any, model: Any, data: Any, settings: Any, device: str, precision: str, optimize: Any, indices: Any
) -> int:
    """One real update; the bytes that the forward pass kept for the backward pass."""
    import torch

    held: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = {name: value.to(device) for name, value in task.batch(data.arrays["train"], indices, settings, 0).items()}
    inputs = {name: batch[name] for name in HEADS[task.head].inputs if name in batch}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast(device, precision):
            logits = model(**inputs).logits
        loss = LOSSES[settings["loss"]](logits, batch["labels"], settings["label_smoothing"])
    loss.backward()
    optimize.step()
    optimize.zero_grad(set_to_none=True)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return sum(held.values())
