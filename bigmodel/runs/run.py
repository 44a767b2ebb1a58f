"""A run as a fold over its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bigmodel.core.events import DAMAGED, ENDED, LIVE, QUEUED, RUNNING, TRANSITIONS, Event
from bigmodel.core.spec import NOT_COMPUTING, RunSpec
from bigmodel.core.words import Words, _

MIN_SPEED_SECONDS = 10.0  # of steps, after which a resumed process has a speed of its own
MAX_TIMINGS = 60  # step events whose timing is kept, evenly over the whole run
EVAL_STEP_COST = 0.4  # of a training step: a forward pass, until the first validation has been timed


@dataclass(frozen=True)
class Run:
    """What a person knows of a run. Times are wall clock and never run backwards."""

    id: str
    spec: RunSpec
    state: str
    reason: Words | None = None  # why it is in this state
    error: Mapping | None = None  # a Refusal's JSON when failed
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    step: int = 0
    steps: int = 0  # planned, 0 before the plan is known
    epoch: float = 0.0
    eta: float | None = None  # seconds left
    loss: float | None = None  # newest training loss
    validation: Mapping[str, float] = field(default_factory=dict)  # newest
    best: Mapping[str, float] = field(default_factory=dict)  # of the best checkpoint
    best_step: int = 0
    result: Mapping[str, float] = field(default_factory=dict)  # on the test split
    plan: Mapping[str, object] = field(default_factory=dict)
    phase: Words | None = None  # what it is doing before the first step
    baseline: Mapping[str, float] = field(default_factory=dict)  # of a base before anything was learnt, on validation
    pretraining: Mapping[str, object] = field(default_factory=dict)  # step and steps of what comes before it
    position: int = 0  # in the queue, 1 is next; 0 when not waiting
    has_model: bool = False
    number: int = 0  # in order of launch
    damaged: int = 0  # lines of its story that cannot be read and were set aside

    @property
    def live(self) -> bool:
        """Whether a worker has it."""
        return self.state in LIVE

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def decided(self, changes: Mapping[str, object] = MappingProxyType({})) -> dict[str, object]:
        """The settings that the run's probe has decided, to train again as it did; {} before it has, and where `changes`
        to its settings make other steps of them."""
        changed = {name for name, value in changes.items() if value != self.spec.settings.get(name)}
        if changed - NOT_COMPUTING or "device" in changed:
            return {}
        undecided = {"precision": "auto", "threads": 0}
        return {
            name: self.plan[name]
            for name, value in undecided.items()
            if self.spec.settings.get(name) == value and self.plan.get(name)
        }

    @property
    def damage(self) -> Words | None:
        """What is said of the lines that were set aside; None where all could be read."""
        if not self.damaged:
            return None
        return _("{count} lines of this run's story cannot be read and were set aside.", count=self.damaged)


Facts = dict  # the state of the fold, as JSON: kept in the index, so that only new events are folded


def fold(id: str, spec: RunSpec, events: Iterable[Event], position: int = 0, has_model: bool = False) -> Run:
    """The run that these events tell of."""
    facts = empty_facts()
    for event in events:
        apply_event(facts, event)
    return build_run(id, spec, facts, position, has_model)


def empty_facts() -> Facts:
    """The facts before the first event."""
    return {
        "state": "", "reason": None, "error": None, "created": 0.0, "started": 0.0, "ended": 0.0, "clock": 0.0,
        "step": 0, "epoch": 0.0, "loss": None, "recent": [], "since": 0, "lost": [0.0, 0.0], "anew": False, "plan": {},
        "phase": None, "validation": {}, "validated": -1, "looks": [0, 0.0], "answers": [-1, 0.0, 0, 0.0],
        "saves": [0, 0.0], "best": {}, "best_step": 0, "result": {},
        "number": 0, "token": "", "device": "", "deaths": 0, "pretraining": {},
        "baseline": {}, "damaged": 0, "gap": False,
    }  # fmt: skip


def apply_event(facts: Facts, event: Event) -> None:
    """Fold one event into `facts`. An illegal transition or a malformed event changes nothing."""
    handler = HANDLERS.get(event.kind)
    if handler is None:
        return
    facts["clock"] = max(facts["clock"], event.time)
    try:
        handler(facts, event.data)
    except (KeyError, TypeError, ValueError, AttributeError):  # malformed: skipped, as a torn line is
        return


AS_IN_FACTS = (
    "state", "error", "created", "started", "ended", "step", "epoch", "loss", "validation", "best", "best_step",
    "result", "plan", "pretraining", "baseline", "number", "damaged",
)  # fmt: skip


def build_run(id: str, spec: RunSpec, facts: Facts, position: int = 0, has_model: bool = False) -> Run:
    return Run(
        id=id,
        spec=spec,
        **{name: facts[name] for name in AS_IN_FACTS},
        steps=_planned_steps(facts),
        reason=Words.from_json(facts["reason"]) if facts["reason"] else None,
        phase=Words.from_json(facts["phase"]) if facts["phase"] else None,
        eta=eta(facts, spec.settings),
        position=position,
        has_model=has_model,
    )


def eta(facts: Facts, settings: Mapping) -> float | None:
    """Seconds left: the remaining steps at the speed of the newer half of those done, the validations to come, the test at
    the end. None where the speed is unknown. Speed is in units of work: a batch padded to twice the usual length is two
    steps.

    Timed between step events by the worker's monotonic clock, so neither a process's slow first step nor a wall clock
    that jumps counts. A few seconds are noise: a run that was just resumed keeps the speed it had before.
    """
    recent, steps = facts["recent"], _planned_steps(facts)
    since_resume = [timing for timing in recent if timing[0] >= facts["since"]]
    if since_resume and since_resume[-1][1] - since_resume[0][1] >= MIN_SPEED_SECONDS:
        recent = since_resume
    if facts["state"] != RUNNING or len(recent) < 2 or not steps:
        return None
    last, end, done = recent[-1]
    half = (recent[0][0] + last) / 2
    _first, start, before = next((timing for timing in reversed(recent[:-1]) if timing[0] <= half), recent[0])
    step_seconds = (end - start) / max(done - before, 1e-9)
    return max(steps - last, 0) * step_seconds + _eval_seconds(facts, settings, steps, step_seconds)


def _eval_seconds(facts: Facts, settings: Mapping, steps: int, step_seconds: float) -> float:
    """Seconds left of evaluation, pinned inputs and checkpoints, beside training."""
    if facts["result"]:
        return 0.0
    plan, (count, spent) = facts["plan"], facts["looks"]
    per_epoch, passes = _integer(plan, "steps_per_epoch") or steps, plan.get("passes") or {}
    validation, test = (float(passes.get(split) or 0.0) for split in ("validation", "test"))
    batch_seconds = step_seconds / max(_integer(settings, "accumulation"), 1)
    once = spent / max(count - 1, 1) if count else validation * _eval_pass_seconds(plan, batch_seconds)
    every = _integer(plan, "eval_every") or _integer(settings, "eval_every") or per_epoch
    done = max(facts["validated"], 0)
    due = -(-steps // every) - done // every if done < steps else 0  # the last step is always one of them
    saves, saved = facts["saves"]
    save = saved / max(saves - 1, 1)
    each = save * min(saves / count, 1.0) if count else save  # only what is better than before is kept
    _step, answers, asked, first = facts["answers"]
    if first and asked > 1:
        answers = (answers - first) * asked / (asked - 1)
    return due * (once + answers + each) + once * test / max(validation, 1e-9) + save


def _eval_pass_seconds(plan: Mapping, step: float) -> float:
    """Seconds of a forward pass of evaluation, before the first validation has been timed: as probed before the first
    step; without a probe a share of a step, corrected where training is bf16, since evaluation is always fp32."""
    probed = plan.get("pass_seconds")
    if isinstance(probed, float) and probed > 0:
        return probed
    seconds, threads = plan.get("probe_seconds") or {}, plan.get("threads")
    fp32, trained = (seconds.get(f"{precision}, {threads}") for precision in ("fp32", plan.get("precision")))
    return step * EVAL_STEP_COST * (fp32 / trained if fp32 and trained else 1.0)


def _planned_steps(facts: Facts) -> int:
    return _integer(facts["plan"], "steps")


def _integer(numbers: object, name: str) -> int:
    """An integer of a plan, 0 where there is none."""
    number = numbers.get(name) if isinstance(numbers, Mapping) else None
    return number if isinstance(number, int) else 0


def _state(facts: Facts, data: Mapping) -> None:
    state = data["state"]
    if state not in TRANSITIONS[facts["state"]] and not facts["gap"]:
        return
    facts["gap"], facts["created"] = False, facts["created"] or facts["clock"]
    if state == QUEUED:
        facts |= {"started": 0.0, "ended": 0.0, "phase": None, "device": ""}
        facts["number"] = data.get("number", facts["number"])
        facts["token"] = data.get("token", facts["token"])
        facts["deaths"] = int(data.get("again", 0))  # a person who asks for it begins to count anew
    if state == RUNNING:
        facts |= {"started": facts["clock"], "anew": True}
    if state in ENDED:
        facts |= {"ended": facts["clock"], "phase": None}
    facts["deaths"] += bool(data.get("died"))
    facts["device"] = data.get("device", facts["device"])
    facts |= {"state": state, "reason": data.get("reason"), "error": data.get("error")}


def _plan(facts: Facts, data: Mapping) -> None:
    if any(facts["plan"].get(name) != data.get(name) for name in ("device", "precision", "threads")):
        facts["recent"].clear()  # resumed at another speed
    facts["plan"] = dict(data)


def _phase(facts: Facts, data: Mapping) -> None:
    facts["phase"] = _words(data["words"])


def _step(facts: Facts, data: Mapping) -> None:
    step, seconds, work = int(data["step"]), float(data["seconds"]), float(data.get("work", data["step"]))
    recent = facts["recent"]
    if facts["anew"] or (recent and step <= recent[-1][0]):  # resumed in another process, from a checkpoint
        recent[:] = [timing for timing in recent if timing[0] < step]
        facts["validated"] = min(facts["validated"], step - 1)
        _at, known_seconds, known_work = recent[-1] if recent else (0, seconds, work)
        facts |= {"since": step, "lost": [seconds - known_seconds, work - known_work], "anew": False}
    lost = facts["lost"]
    timing = [step, seconds - lost[0], work - lost[1]]
    if len(recent) > 2 and timing[1] - recent[-2][1] < (timing[1] - recent[0][1]) * 2 / MAX_TIMINGS:
        recent.pop()  # too close to the one before; the newest is always kept
    recent.append(timing)
    if len(recent) > MAX_TIMINGS:
        del recent[1:-1:2]
    facts |= {"step": step, "epoch": float(data.get("epoch", 0.0)), "loss": float(data["loss"]), "phase": None}


def _pretraining(facts: Facts, data: Mapping) -> None:
    facts["pretraining"] = {name: data[name] for name in ("step", "steps", "epoch")}


def _validation(facts: Facts, data: Mapping) -> None:
    facts |= {"validation": dict(data["metrics"]), "validated": int(data["step"])}
    _record_duration(facts, "looks", float(data["seconds"]))


def _baseline(facts: Facts, data: Mapping) -> None:
    facts["baseline"] = dict(data["metrics"])
    _record_duration(facts, "looks", float(data["seconds"]))


def _record_duration(facts: Facts, what: str, seconds: float) -> None:
    """[count, seconds]; the first time, which loads libraries, counts only while there is no other."""
    count, spent = facts[what]
    facts[what] = [count + 1, seconds + (spent if count > 1 else 0.0)]


def _sample(facts: Facts, data: Mapping) -> None:
    """answers: [step, seconds of all pinned inputs at that step, their count, seconds of the very first of the run], of
    the newest step. The very first loads libraries, and is kept apart until there is another step."""
    step, seconds = int(data["step"]), float(data.get("seconds", 0.0))
    before, spent, asked, first = facts["answers"]
    if step == before:
        facts["answers"] = [step, spent + seconds, asked + 1, first]
    else:
        facts["answers"] = [step, seconds, 1, seconds if before == -1 else 0.0]


def _checkpoint(facts: Facts, data: Mapping) -> None:
    _record_duration(facts, "saves", float(data.get("seconds", 0.0)))
    if not data.get("best"):
        return
    facts["best_step"] = int(data["step"])
    if facts["validated"] == facts["best_step"]:
        facts["best"] = facts["validation"]


def _result(facts: Facts, data: Mapping) -> None:
    facts["result"] = dict(data["metrics"])


def _words(data: Mapping | str) -> dict:
    return {"text": data} if isinstance(data, str) else dict(data)


def _damaged(facts: Facts, data: Mapping) -> None:
    """A lost line may have been the state between two others: the next one is taken as it comes."""
    facts |= {"damaged": facts["damaged"] + data["lines"], "gap": True}


HANDLERS: Mapping[str, Callable[[Facts, Mapping], None]] = {
    "state": _state,
    "plan": _plan,
    "phase": _phase,
    "step": _step,
    "pretraining": _pretraining,
    "baseline": _baseline,
    "validation": _validation,
    "sample": _sample,
    "checkpoint": _checkpoint,
    "result": _result,
    DAMAGED: _damaged,
}
