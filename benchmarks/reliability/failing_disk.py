"""Row 2: death, an error of the disk, or a power failure at every single call that saving, replacing, deleting,
launching and changing a state make to the system."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.disk import DEATH, ERRORS, FAILURES, Disk, Platter
from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import Child, apart, good, home, launch, patched, spec
from bigmodel.core import files
from bigmodel.core.errors import Refusal
from bigmodel.core.events import QUEUED, RUNNING, STARTING, STOPPED, Event
from bigmodel.runs.folder import Folder
from bigmodel.runs.store import Store
from bigmodel.training import checkpoint, resume_state
from bigmodel.training.evaluator import Evaluator

SPEC = spec("cnn", max_steps=60)
STEPS = (10, 20, 30)  # of the checkpoints that are there; 10 is the best
NEXT = 40


def run(trials: int, place: Path) -> Outcome:
    """`trials`: of each scene and kind of fault at most; 0: at every call."""
    outcome, counted = Outcome(), {}
    watch = _prepared(place)
    for scene in SCENES:
        template = place / scene.name
        apart(lambda template=template: _template(watch, template))
        calls = _calls(scene, watch, template, place)
        counted[scene.name] = len([1 for verb, *_ in calls["done"] if verb != "mark"])
        faults = [(at, how) for at in range(calls["count"]) for how in ("death", *ERRORS)]
        for at, how in _some(faults, trials):
            _broken(scene, watch, template, place / "broken", at, how, outcome)
        _powerless(scene, template, calls["done"], place / "powerless", trials, outcome)
        shutil.rmtree(template)
    calls = ", ".join(f"{name} {count}" for name, count in counted.items())
    outcome.worst = f"{len(outcome.failures)} of {outcome.trials} places to fail"
    outcome.note = f"calls that change something, by scene: {calls}; at each: death, {', '.join(ERRORS)}, and four kinds of power failure"
    return outcome


def _some(faults: list, trials: int) -> list:
    if not trials or trials >= len(faults):
        return faults
    return sorted(random.Random(0).sample(faults, trials))


# -- the scenes --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """`act` does it; `holds` says what is wrong in a home in which it was begun, and done where `done`."""

    name: str
    act: Callable[[Store, Folder, Any, Callable[[str], None]], None]
    holds: Callable[[Store, bool], list[str]]


def _save(store: Store, folder: Folder, watch: Evaluator, mark: Callable[[str], None]) -> None:
    watch.step, watch.folder = NEXT, folder.path
    for event in watch.save_checkpoint():
        folder.append(event)
        mark("done")


def _save_holds(store: Store, done: bool) -> list[str]:
    (id,) = store.ids()
    path, there = store.runs_folder / id, good(store.runs_folder / id)
    wrong = []
    if not there or there[0] < (NEXT if done else max(STEPS)):
        wrong.append(f"the newest whole checkpoint is {there[:1]}")
    if min(STEPS) not in there:
        wrong.append("the best checkpoint is gone")
    for step in there:
        if resume_state.read(path / "checkpoints" / f"step-{step}")["step"] != step:
            wrong.append(f"the checkpoint of step {step} is not what was saved")
    return wrong


def _replace(store: Store, folder: Folder, watch: Evaluator, mark: Callable[[str], None]) -> None:
    watch.step, watch.folder = NEXT, folder.path
    watch._write_model(NEXT, {})
    mark("done")


def _replace_holds(store: Store, done: bool) -> list[str]:
    """The old model or the new one; what the supervisor does with a run that has died comes first."""
    (id,) = store.ids()
    resume_state.recover(store.runs_folder / id)
    model = store.runs_folder / id / "model"
    if not checkpoint.verify(model):
        return ["there is no whole model"]
    step = json.loads((model / "bigmodel.json").read_text())["step"]
    return [] if step in ((NEXT,) if done else (NEXT, max(STEPS))) else [f"the model is of step {step}"]


def _delete(store: Store, folder: Folder, watch: Evaluator, mark: Callable[[str], None]) -> None:
    if folder.id in store.ids():
        store.delete(folder.id)
    mark("done")


def _delete_holds(store: Store, done: bool) -> list[str]:
    wrong = []
    for id in store.ids():
        if done:
            wrong.append("the run is still there")
        path = store.runs_folder / id
        if store.get(id).state != STOPPED or good(path) != sorted(STEPS, reverse=True):
            wrong.append("half a run is left")
    return wrong


def _launch(store: Store, folder: Folder, watch: Evaluator, mark: Callable[[str], None]) -> None:
    store.launch(SPEC, token="again")
    mark("done")


def _launch_holds(store: Store, done: bool) -> list[str]:
    ids = store.ids()
    wrong = [f"there are {len(ids)} runs"] if len(ids) not in ((2,) if done else (1, 2)) else []
    for id in ids:
        if store.get(id).state not in (QUEUED, STOPPED) or store.folder(id).spec().to_json() != SPEC.to_json():
            wrong.append(f"the run {id} is not whole")
    return wrong


def _change(store: Store, folder: Folder, watch: Evaluator, mark: Callable[[str], None]) -> None:
    folder.request_stop()
    if folder.facts()["state"] == STOPPED:
        folder.resume()
    for state in (STARTING, RUNNING):
        folder.append(Event("state", {"state": state, "device": "cpu"}))
    mark("done")


def _change_holds(store: Store, done: bool) -> list[str]:
    (id,) = store.ids()
    state = store.get(id).state
    wrong = (
        [f"the state is {state!r}"]
        if state not in ((RUNNING,) if done else (STOPPED, QUEUED, STARTING, RUNNING))
        else []
    )
    steps = [event["step"] for event in store.events(id, kinds=("step",))[1]]
    return wrong + ([] if steps == [10, 20, 30] else [f"the story has lost steps: {steps}"])


SCENES = (
    Scene("save and rotate", _save, _save_holds),
    Scene("replace the model", _replace, _replace_holds),
    Scene("delete", _delete, _delete_holds),
    Scene("launch", _launch, _launch_holds),
    Scene("change the state", _change, _change_holds),
)


# -- a home to break ---------------------------------------------------------------------------------
def _prepared(place: Path) -> Evaluator:
    """A model with an optimizer's memory, made without computing a gradient: the process must stay without threads."""
    import torch

    from bigmodel.data.prepare import prepare
    from bigmodel.training.optimizers import optimizer

    session = SPEC.resolve()
    data = prepare(session, place / "cache")
    model = session.architecture.model(data.facts, SPEC.settings)
    optimize = optimizer(model, SPEC.settings)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimize.step()
    watch = Evaluator(session, model, optimize, data, place, lambda: False)
    told = {"spec": SPEC.to_json(), "data": "", "epoch": 1.0}
    watch.extra_state = lambda: told | {"step": watch.step, "watch": watch.state()}
    watch.best_step = min(STEPS)
    return watch


def _template(watch: Evaluator, path: Path) -> None:
    """A run that was stopped, with three checkpoints and a model."""
    store = home(path, path.parent / "cache")
    folder = launch(store, SPEC)
    for state in (STARTING, RUNNING):
        folder.append(Event("state", {"state": state, "device": "cpu"}))
    watch.folder = folder.path
    for step in STEPS:
        watch.step = step
        rest = dict.fromkeys(("epoch", "loss", "learning_rate", "gradient_norm", "rate", "seconds"), 1.0)
        folder.append(Event("step", {"step": step} | rest))
        for event in watch.save_checkpoint():
            folder.append(event)
    watch._write_model(max(STEPS), {})
    folder.append(Event("state", {"state": STOPPED, "reason": None}))


def _acted(scene: Scene, watch: Evaluator, path: Path, disk: Disk) -> str:
    """What came of it: 'done', or what it said."""
    store = Store(path)
    (id, *_more) = sorted(store.ids()) or ("",)
    folder = Folder(store.runs_folder / id)
    try:
        with disk.watching():
            scene.act(store, folder, watch, disk.mark)
    except Exception as error:  # whatever it is, it was said that it is not done
        return type(error).__name__
    return "done"


def _calls(scene: Scene, watch: Evaluator, template: Path, place: Path) -> dict:
    """All calls of a scene in which nothing goes wrong."""
    path = place / "calls"

    def act() -> dict:
        disk = Disk(path)
        assert _acted(scene, watch, path, disk) == "done"
        done = [(verb, str(one), _portable(more)) for verb, one, more in disk.done]
        (place / "calls.json").write_text(json.dumps({"count": disk.count, "done": done}))
        return {}

    shutil.copytree(template, path, symlinks=True)
    apart(act)
    shutil.rmtree(path)
    known = json.loads((place / "calls.json").read_text())
    known["done"] = [
        (verb, _moved(one, path, template), _restored(more, path, template)) for verb, one, more in known["done"]
    ]
    return known


def _portable(more: Any) -> Any:
    return {"bytes": more.hex()} if isinstance(more, bytes) else {"path": str(more)} if more is not None else None


def _restored(more: Any, path: Path, template: Path) -> Any:
    if more is None:
        return None
    return bytes.fromhex(more["bytes"]) if "bytes" in more else _moved(more["path"], path, template)


def _moved(one: str, path: Path, template: Path) -> Any:
    return template / Path(one).relative_to(path) if one.startswith(str(path)) else one


def _broken(scene: Scene, watch: Evaluator, template: Path, path: Path, at: int, how: str, outcome: Outcome) -> None:
    """Once with the fault, then again without it: the second time it must be done, with nothing left lying about."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(template, path, symlinks=True)
    disk = Disk(path, at, how)

    def act() -> list[str]:
        came = _acted(scene, watch, path, disk)
        return [came, disk.said]

    outcome.trials += 1
    where = f"{scene.name}, {how} at call {at}"
    child = Child(lambda _tell: act())
    if child.wait() not in (0, DEATH):
        outcome.fail(f"{where}: ended with {child.status}")
        return
    came, said = child.result() or ("died", "")
    where = f"{where} ({said or 'death'}, {came})"
    wrong = apart(lambda: _wrong(scene, path, came == "done"))
    again = apart(lambda: [_acted(scene, watch, path, Disk(path)), _swept(path), _wrong(scene, path, True)])
    if again[0] != "done":
        wrong.append(f"it cannot be done again: {again[0]}")
    wrong += again[2] + [f"left lying about: {one}" for one in again[1]]
    if wrong:
        outcome.fail(f"{where}: {'; '.join(wrong)}")


def _wrong(scene: Scene, path: Path, done: bool) -> list[str]:
    try:
        return scene.holds(Store(path), done)
    except (Refusal, OSError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


def _swept(path: Path) -> list[str]:
    """What is left lying about after the next start has cleared away."""
    store = Store(path)
    for id in store.ids():
        resume_state.recover(store.runs_folder / id)
    return [str(one.relative_to(path)) for one in (path / "runs").rglob(".*")]


def _powerless(scene: Scene, template: Path, done: list, path: Path, trials: int, outcome: Outcome) -> None:
    """After every call, the power fails; four ways to lose what was not flushed."""
    platter, promised = Platter(template), False
    faults = set(_some([(at, how) for at in range(len(done)) for how in FAILURES], trials))
    for at, (verb, one, more) in enumerate(done):
        promised = promised or verb == "mark"
        platter.do(verb, one if verb == "mark" else Path(one), more)
        for number, how in enumerate(FAILURES):
            if (at, how) not in faults:
                continue
            platter.after_failure(path, how, seed=at * len(FAILURES) + number)
            outcome.trials += 1
            wrong = _wrong(scene, path, promised)
            if wrong:
                outcome.fail(f"{scene.name}, power failure ({how} lost) after call {at} ({verb}): {'; '.join(wrong)}")


# -- what can be switched off ------------------------------------------------------------------------
def _save_in_place(folder: Path, write: Callable[[Path], None]) -> Path:
    """As it would be without staging folder and rename."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {path.name: {"bytes": path.stat().st_size, "sha256": checkpoint._hash(path)} for path in files}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    return folder


def _fsync_nothing() -> Any:
    return patched((checkpoint, "fsync", lambda _path: None), (files, "fsync", lambda _path: None))


ROW = Row(
    number=2,
    injected=f"death, {', '.join(ERRORS)} or a power failure at every call to the system in: "
    + ", ".join(scene.name for scene in SCENES),
    promise="what was said to be done is done, what was there before is there, what was begun can be done again, "
    "and nothing stays behind",
    trials=0,
    run=run,
    without={
        "the flush to the disk": _fsync_nothing,
        "the staging folder and the rename": lambda: patched((checkpoint, "save", _save_in_place)),
        "the putting in order after a death": lambda: patched((checkpoint, "recover", lambda _parent: None)),
    },
    fewer=12,
)
