"""What a run will take: a probe of the real network on a real batch."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from bigmodel.core import limits
from bigmodel.core.contracts import HEADS, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec, Session
from bigmodel.core.split_size import small_split_words
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import Prepared, prepare
from bigmodel.training import out_of_memory, pretraining, time_limit
from bigmodel.training.batch_sizes import batch_numel, count_steps, sample_batch_sizes
from bigmodel.training.determinism import enable_determinism
from bigmodel.training.eval_cost import answer_seconds, measure_eval_cost
from bigmodel.training.forward import Forward, apply_cpu_kernels
from bigmodel.training.kernels import malloc
from bigmodel.training.optimizers import optimizer
from bigmodel.training.precision import ComputePlan, compute_plan_file, probe, resolve_device
from bigmodel.training.time_limit import Cost, Schedule

PROBE_SECONDS = 2.0
PROBE_DEADLINE_SECONDS = 3.5  # after which no more steps are tried, once there is one: with what follows, five in all
MAX_STEP_SECONDS = 0.5  # seconds; of a slower one only a part is tried
MIN_TIMED_STEPS = 4
MEMORY_STEPS = 3  # steps of which it is counted what they keep
CUDA_BYTES = 600 * 2**20  # what is held on a GPU before the first weight: its context, and the libraries' work space
STATE_BYTES = {"adamw": 16, "adam": 16, "sgd": 12}  # a weight, its gradient and the optimizer's memory of it
MIN_TEXTS = (
    10_000  # to classify: of fewer a network that begins at random learned no more than TF-IDF (docs/benchmarks)
)
FROZEN_BYTES = 4  # of a weight that is not trained
PROCESS_BYTES = 690 * 2**20  # Python, torch and transformers before the first weight, tokenizers and metrics


@dataclass(frozen=True)
class Forecast:
    """What a run will take, from a probe of the real network on real batches."""

    parameters: int
    memory: int  # bytes at the peak
    steps: int
    seconds: float | None = None  # the whole run; None where the network is too large to be tried here
    step_seconds: float | None = None
    device: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    trainable: int = 0  # of the parameters
    once: float = 0.0  # seconds that even a run of a few steps takes beside them: measuring, answering
    precision: str = ""
    threads: int = 0
    epochs: float = 0.0  # that the steps come to
    limited: float = 0.0  # minutes of the time limit, where that allows fewer steps than were asked for
    enough_seconds: float = 0.0  # of the shortest run that can teach the network something, where this one is shorter
    head: str = ""
    few_texts: int = 0  # rows for training, where they are too few for a network that begins at random

    def warnings(self) -> list[Words]:
        """What a person should know before the start: that the time is too short, that splits are too small."""
        short = [_more_time_words(math.ceil(self.enough_seconds / 60))] if self.enough_seconds else []
        few = [_few_texts_words(self.few_texts)] if self.few_texts else []
        head = HEADS.get(self.head)
        answers = head and (head.classifies or head.encoder_decoder)  # of a language model each token is one
        return [*short, *few, *(small_split_words(self.rows, head.classifies) if answers else [])]

    def limit_words(self) -> Words | None:
        """What the time limit leaves of the run."""
        if not self.limited:
            return None
        minutes, epochs = f"{self.limited:g}", f"{self.epochs:.3g}"
        return _("The time limit of {minutes} min is enough for {epochs} epochs.", minutes=minutes, epochs=epochs)


def _more_time_words(minutes: int) -> Words:
    return _(
        "More time is needed: before about {minutes} min this network says little about these data. Raise the time limit, make the network smaller, or fine-tune a pretrained one.",
        minutes=minutes,
    )


def _few_texts_words(rows: int) -> Words:
    return _(
        "{rows} rows are few for a network that begins at random: counting their words (TF-IDF) can do better, and more time does not help. Fine-tune a pretrained one, or bring more rows.",
        rows=f"{rows:,}",
    )


def forecast(spec: RunSpec, cache: Path) -> Iterator[dict]:
    """Yields {} while it works, and the fields of a Forecast last. Refusal where the network is too large for us, or
    memory runs out."""
    with out_of_memory.refuse_on_oom(_("Trying a few steps for the forecast")), malloc.retain_freed_memory():
        yield from _forecast(spec.resolve(), cache)


def _forecast(session: Session, cache: Path) -> Iterator[dict]:
    """Size, then memory, then time: each is tried only where what came before it fits this machine."""
    settings, device = session.settings, resolve_device(session.settings["device"])
    enable_determinism(device)
    data = prepare(session, cache)
    yield {}
    deadline = time.perf_counter() + PROBE_DEADLINE_SECONDS
    batches = session.task.batch_indices(data.arrays["train"], settings, 0)
    size, free = _size(session, data, len(batches), device), _free_bytes(device)
    if size.memory > free:
        yield asdict(size)
        return
    yield {}
    probing = _Probe(session, data, session.architecture.model(data.facts, settings), device)
    few = batches[0][:2]  # a little of a batch tells what all of it would need, before all of it is tried
    at_least = size.memory + probing.step(few, size.precision)[0] * len(batches[0]) / len(few)
    if at_least > free:
        yield asdict(replace(size, memory=round(at_least)))
        return
    yield {}
    plan = probe(session, probing.model, data, device, compute_plan_file(cache, session, data, device))
    yield {}
    numel = sample_batch_sizes(session, data, batches)
    yield {}
    kept, seconds = yield from _try_steps(probing, plan, batches, deadline)
    found = replace(
        size,
        memory=round(
            _process_bytes(session.task, device, plan.precision)
            + _state_bytes(size, settings)
            + kept * float(numel.max())
        ),
        # By how large the batches are, as they differ. What disturbs here will disturb the run as well.
        step_seconds=seconds * float(numel.mean()) * settings["accumulation"],
        precision=plan.precision,
        threads=plan.threads,
    )
    before = 0.0
    if pretraining.is_enabled(settings):
        yield {}
        before = _pretraining_seconds(session, data, device, plan.precision)
    found, cost = _with_seconds(found, probing, len(batches), before)
    time_limit.write_cost(time_limit.cost_file(compute_plan_file(cache, session, data, device)), cost)
    yield asdict(found)


def _size(session: Session, data: Prepared, batches: int, device: str) -> Forecast:
    """Weights, and the memory of them with gradients and optimizer, before any step is tried."""
    import torch

    settings = session.settings
    with torch.device("meta"):
        weights = list(session.architecture.model(data.facts, settings).parameters())
    parameters = sum(weight.numel() for weight in weights)
    if parameters > limits.PARAMETERS:
        what = _("A network of {billions} billion parameters is too large.", billions=round(parameters / 1e9, 1))
        raise Refusal(what, do=_("Make it narrower or give it fewer layers."))
    precision = "fp32" if settings["precision"] == "auto" else settings["precision"]
    size = Forecast(
        parameters=parameters,
        memory=_process_bytes(session.task, device, precision),
        steps=count_steps(settings, batches)[1],
        device=device,
        rows=data.facts["rows"],
        head=session.task.head,
        few_texts=_few_texts(session, data.facts["rows"]["train"]),
        trainable=sum(weight.numel() for weight in weights if weight.requires_grad),
        precision=precision,
    )
    return replace(size, memory=size.memory + _state_bytes(size, settings))


def _few_texts(session: Session, rows: int) -> int:
    reads = {session.dataset.columns[name].kind for name in session.task.required_columns}
    return rows if reads == {"text", "class"} and rows < MIN_TEXTS and not session.architecture.fine_tunes else 0


def _state_bytes(size: Forecast, settings: Mapping) -> int:
    """Bytes of weights, gradients and optimizer state."""
    frozen = size.parameters - size.trainable
    return size.trainable * STATE_BYTES[settings["optimizer"]] + frozen * FROZEN_BYTES


def _free_bytes(device: str) -> int:
    import psutil
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else psutil.virtual_memory().available


def _process_bytes(task: Task, device: str, precision: str) -> int:
    """Bytes that a run takes beside weights and batches, where these are: in the memory of the machine or of its GPU."""
    if device.startswith("cuda"):
        return CUDA_BYTES
    return HEADS[task.head].process_bytes.get(precision, PROCESS_BYTES)


class _Probe:
    """The real network, on which real updates are tried."""

    def __init__(self, session: Session, data: Prepared, model: Any, device: str):
        self.session, self.data, self.model, self.device = session, data, model.to(device).train(), device
        apply_cpu_kernels(self.model, device)
        self.optimizer = optimizer(self.model, session.settings)

    def step(self, indices: Sequence, precision: str, weigh: bool = True) -> tuple[int, int]:
        """One update; (bytes that it kept between its forward and its backward pass if `weigh`, elements of the batch)."""
        import torch

        task, settings, device = self.session.task, self.session.settings, self.device
        held: dict[int, int] = {}
        weights = {weight.untyped_storage().data_ptr() for weight in self.model.parameters()}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        batch = task.batch(self.data.arrays["train"], indices, settings, 0)
        forward = Forward(self.session, self.model, device, precision)
        inputs, targets = forward.to_device(batch)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor) if weigh else nullcontext():
            outputs = forward.outputs(inputs, targets)
        forward.loss(outputs, targets).total.backward()
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        torch.nn.utils.clip_grad_norm_(trained, settings["clip"] or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return sum(held.values()) + outputs.logits.numel() * HEADS[task.head].logit_bytes, batch_numel(batch)


def _try_steps(
    probing: _Probe, plan: ComputePlan, batches: Sequence, deadline: float
) -> Generator[dict, None, tuple[float, float]]:
    """(bytes that a step keeps for its backward pass, seconds of a step), both by element of its batch."""
    rows = max(int(len(batches[0]) * min(1.0, MAX_STEP_SECONDS / plan.step_seconds)), 1)  # of a batch that is too slow
    weighed = MEMORY_STEPS if time.perf_counter() + MEMORY_STEPS * MAX_STEP_SECONDS < deadline else 1
    kept, spent, worked = 0.0, [], 0
    until = time.perf_counter() + PROBE_SECONDS
    for number, indices in enumerate(islice(cycle(batches), 1, None)):
        begun = time.perf_counter()
        held, numel = probing.step(indices[:rows], plan.precision, weigh=number < weighed)
        if number < weighed:  # weighing takes time: these do not count
            kept = max(kept, held / numel)
            yield {}
            continue
        worked += numel
        spent.append(time.perf_counter() - begun)
        yield {}
        now = time.perf_counter()
        if now > deadline or (len(spent) > MIN_TIMED_STEPS and now > until):
            return kept, sum(spent) / worked


def _with_seconds(found: Forecast, probing: _Probe, batches: int, before: float) -> tuple[Forecast, Cost]:
    """The steps that fit into the time, and the seconds of the whole run: steps, measurements and answers, after `before`
    seconds of pretraining."""
    session, data, settings = probing.session, probing.data, probing.session.settings
    eval_cost, answers = measure_eval_cost(session, probing.model, data), answer_seconds(session, probing.model, data)
    validation = eval_cost.seconds(session, data, "validation")
    final = eval_cost.seconds(session, data, "test") + answers
    first = (validation if settings.get("baseline") else 0.0) + answers
    cost = Cost(found.step_seconds, validation + answers, before + first + final)
    (per_epoch, most), limit = count_steps(settings, batches), settings.get("max_minutes", 0)
    schedule = time_limit.schedule(settings, per_epoch, most, cost)
    enough = time_limit.enough_steps(session.architecture, per_epoch, most)
    found = replace(
        found,
        steps=schedule.steps,
        seconds=_run_seconds(cost, schedule),
        once=cost.once + cost.validation,
        epochs=schedule.steps / per_epoch,
        limited=limit if schedule.steps < most else 0.0,
        enough_seconds=_run_seconds(cost, replace(schedule, steps=enough)) if schedule.steps < enough else 0.0,
    )
    return found, cost


def _run_seconds(cost: Cost, schedule: Schedule) -> float:
    validations = math.ceil(schedule.steps / schedule.eval_every)
    return cost.once + schedule.steps * cost.step + validations * cost.validation


def _pretraining_seconds(session: Session, data: Prepared, device: str, precision: str) -> float:
    """Seconds of the epochs before the first step, from some of their steps."""
    model = session.architecture.pretraining_model(data.facts, session.settings)
    probing = _Probe(pretraining.pretraining_session(session, data.facts), data, model, device)
    settings = probing.session.settings
    batches, spent = probing.session.task.batch_indices(data.arrays["train"], settings, 0), []
    until = time.perf_counter() + PROBE_SECONDS / 2
    for indices in cycle(batches):
        begun = time.perf_counter()
        probing.step(indices, precision, weigh=False)
        spent.append(time.perf_counter() - begun)
        if len(spent) > 1 and time.perf_counter() > until:
            return fmean(spent[1:]) * len(batches) * settings["epochs"]
