"""A run as a fold over its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bigmodel.core.events import ENDED, LIVE, QUEUED, RUNNING, TRANSITIONS, Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words

MIN_SPEED_SECONDS = 10.0  # seconds of steps after which a process that goes on with a run knows its own speed
MAX_TIMINGS = 60  # step events of which is remembered how long they took, evenly over the whole run
EVAL_STEP_COST = 0.4  # of a step: a pass over a batch without a way back, before the first validation has been timed


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

    @property
    def live(self) -> bool:
        """Whether a worker has it."""
        return self.state in LIVE

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


Facts = dict  # what the events so far say, as JSON: kept in the index, so that only new events are folded


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
        "baseline": {},
    }  # fmt: skip


def apply_event(facts: Facts, event: Event) -> None:
    """Add one event. What makes no sense (an illegal transition, a line without its numbers) changes nothing."""
    handler = HANDLERS.get(event.kind)
    if handler is None:
        return
    facts["clock"] = max(facts["clock"], event.time)
    try:
        handler(facts, event.data)
    except (KeyError, TypeError, ValueError, AttributeError):  # not written by us: passed over as a torn line is
        return


def build_run(id: str, spec: RunSpec, facts: Facts, position: int = 0, has_model: bool = False) -> Run:
    plain = (
        "state",
        "error",
        "created",
        "started",
        "ended",
        "step",
        "epoch",
        "loss",
        "validation",
        "best",
        "best_step",
    )
    return Run(
        id=id,
        spec=spec,
        **{name: facts[name] for name in plain},
        result=facts["result"],
        plan=facts["plan"],
        pretraining=facts.get("pretraining") or {},
        baseline=facts.get("baseline") or {},
        steps=_planned_steps(facts),
        reason=Words.from_json(facts["reason"]) if facts["reason"] else None,
        phase=Words.from_json(facts["phase"]) if facts["phase"] else None,
        eta=eta(facts, spec.settings),
        position=position,
        has_model=has_model,
        number=facts["number"],
    )


def eta(facts: Facts, settings: Mapping) -> float | None:
    """Seconds left: the steps at the speed of the newer half of those done, the validations still to come, the
    test at the end. None where the speed is not known. The speed counts work: a step whose batch is padded to twice the
    usual length is two.

    Measured between two step events by the worker's own stopwatch: neither the slow first step of a process nor a wall
    clock that jumps is in it. The speed of a few seconds is that of whatever else the machine does just then, so that
    of a run that has just gone on is the one that it had before.
    """
    recent, steps = facts["recent"], _planned_steps(facts)
    own = [mark for mark in recent if mark[0] >= facts["since"]]
    if own and own[-1][1] - own[0][1] >= MIN_SPEED_SECONDS:
        recent = own
    if facts["state"] != RUNNING or len(recent) < 2 or not steps:
        return None
    last, until, done = recent[-1]
    half = (recent[0][0] + last) / 2
    _first, since, before = next((mark for mark in reversed(recent[:-1]) if mark[0] <= half), recent[0])
    pace = (until - since) / max(done - before, 1e-9)
    return max(steps - last, 0) * pace + _eval_seconds(facts, settings, steps, pace)


def _eval_seconds(facts: Facts, settings: Mapping, steps: int, pace: float) -> float:
    """Seconds in which the model will be measured, asked and saved, and not trained."""
    if facts["result"]:
        return 0.0
    plan, (count, spent) = facts["plan"], facts["looks"]
    per_epoch, passes = _integer(plan, "steps_per_epoch") or steps, plan.get("passes") or {}
    validation, test = (float(passes.get(split) or 0.0) for split in ("validation", "test"))
    once = (
        spent / max(count - 1, 1)
        if count
        else validation * _eval_pass_seconds(plan, pace / (settings.get("accumulation") or 1))
    )
    every, done = settings.get("eval_every") or per_epoch, max(facts["validated"], 0)
    due = -(-steps // every) - done // every if done < steps else 0  # the last step is always one of them
    saves, saved = facts["saves"]
    save = saved / max(saves - 1, 1)
    each = save * min(saves / count, 1.0) if count else save  # only what is better than before is kept
    _step, answers, asked, first = facts["answers"]
    if first and asked > 1:
        answers = (answers - first) * asked / (asked - 1)
    return due * (once + answers + each) + once * test / max(validation, 1e-9) + save


def _eval_pass_seconds(plan: Mapping, step: float) -> float:
    """Seconds of a pass of a measurement, before the first validation has been timed: as tried before the first step;
    of a run that has not tried it, by a step, dearer where that is in bf16, as a measurement is always in fp32."""
    tried = plan.get("pass_seconds")
    if isinstance(tried, float) and tried > 0:
        return tried
    seconds, threads = plan.get("probe_seconds") or {}, plan.get("threads")
    exact, taken = (seconds.get(f"{precision}, {threads}") for precision in ("fp32", plan.get("precision")))
    return step * EVAL_STEP_COST * (exact / taken if exact and taken else 1.0)


def _planned_steps(facts: Facts) -> int:
    return _integer(facts["plan"], "steps")


def _integer(numbers: object, name: str) -> int:
    """A whole number of a plan, 0 where there is none."""
    number = numbers.get(name) if isinstance(numbers, Mapping) else None
    return number if isinstance(number, int) else 0


def _state(facts: Facts, data: Mapping) -> None:
    state = data["state"]
    if state not in TRANSITIONS[facts["state"]]:
        return
    if state == QUEUED:
        facts |= {"started": 0.0, "ended": 0.0, "phase": None, "device": ""}
        facts["created"] = facts["created"] or facts["clock"]
        facts["number"] = data.get("number", facts["number"])
        facts["token"] = data.get("token", facts["token"])
        facts["deaths"] = int(data.get("again", 0))  # a person who asks for it begins to count anew
    if state == RUNNING:
        facts |= {"started": facts["clock"], "anew": True}
    if state in ENDED:
        facts |= {"ended": facts["clock"], "phase": None}
    facts["deaths"] = facts.get("deaths", 0) + bool(data.get("died"))
    facts["device"] = data.get("device", facts["device"])
    facts |= {"state": state, "reason": data.get("reason"), "error": data.get("error")}


def _plan(facts: Facts, data: Mapping) -> None:
    if any(facts["plan"].get(one) != data.get(one) for one in ("device", "precision", "threads")):
        facts["recent"].clear()  # it goes on at another speed
    facts["plan"] = dict(data)


def _phase(facts: Facts, data: Mapping) -> None:
    facts["phase"] = _words(data["words"])


def _step(facts: Facts, data: Mapping) -> None:
    step, seconds, work = int(data["step"]), float(data["seconds"]), float(data.get("work", data["step"]))
    recent = facts["recent"]
    if facts["anew"] or (recent and step <= recent[-1][0]):  # it goes on in another process, from a checkpoint
        recent[:] = [mark for mark in recent if mark[0] < step]
        facts["validated"] = min(facts["validated"], step - 1)
        _before, told, done = recent[-1] if recent else (0, seconds, work)
        facts |= {"since": step, "lost": [seconds - told, work - done], "anew": False}
    lost = facts["lost"]
    mark = [step, seconds - lost[0], work - lost[1]]
    if len(recent) > 2 and mark[1] - recent[-2][1] < (mark[1] - recent[0][1]) * 2 / MAX_TIMINGS:
        recent.pop()  # the newest is always there
    recent.append(mark)
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
    """How often something was done and how long that took; the first time, which loads libraries, counts only while there is
    no other."""
    count, spent = facts[what]
    facts[what] = [count + 1, seconds + (spent if count > 1 else 0.0)]


def _sample(facts: Facts, data: Mapping) -> None:
    """[step, how long the answers to all pinned inputs took there, how many these are, how long the very first took]: the
    newest time. The very first, which loads libraries, is told apart while there is no other time."""
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
}
