"""Row 4: checkpoints damaged on the disk, in every way a disk or a careless hand has."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import apart, home, launch, patched, spec, steady, step_of
from bigmodel.core.words import Words
from bigmodel.training import checkpoint, evaluator, resume_state

SPEC = spec("cnn", eval_every=4)
DIES = 6  # after this step; the best is that of step 4
ALL_OF_THEM = 10**9


def run(trials: int, place: Path) -> Outcome:
    """One run with a checkpoint after each step; each trial damages the newest or the best of them."""
    with steady(), patched((evaluator, "CHECKPOINT_SECONDS", -1.0), (evaluator, "KEPT", 3)):
        folder = launch(home(place / "home", place / "cache"), SPEC)
        apart(lambda: _die(folder.path, place / "cache"))
        told = apart(lambda: _mutations(trials, folder.path, place))
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(told["kinds"].items()))
    worst = f"{len(told['failures'])} of {trials} not detected"
    return Outcome(
        trials, told["failures"], worst, f"{kinds}; an eighth of them hit the best checkpoint, the others the newest"
    )


def _die(folder: Path, cache: Path) -> None:
    from bigmodel.training.loop import train

    for event in train(SPEC, folder, lambda: False, cache, "cpu"):
        if event.kind == "checkpoint" and event["step"] == DIES:
            return


def _mutations(trials: int, folder: Path, place: Path) -> dict:
    """In one process: damage, resume as a run would, look at what it said and took, repair."""
    from bigmodel.data.prepare import prepare
    from bigmodel.training.optimizers import optimizer

    session = SPEC.resolve()
    data = prepare(session, place / "cache")
    model = session.architecture.model(data.facts, SPEC.settings)
    chance, failures, kinds = random.Random(0), [], {}
    newest, before, *_older = resume_state.checkpoint_folders(folder)
    best = folder / "checkpoints" / f"step-{resume_state.best_step(newest)}"
    safe = place / "safe"
    shutil.copytree(folder / "checkpoints", safe)
    number = 0
    while sum(kinds.values()) < trials:
        number += 1
        hit = best if number % 8 == 7 else newest
        kind, damage = chance.choice(DAMAGES)
        file = chance.choice(sorted(hit.iterdir()))
        where = f"{kind} of {hit.name}/{file.name}"
        if damage(file, before, chance):
            kinds[kind] = kinds.get(kind, 0) + 1
            look = evaluator.Evaluator(session, model, optimizer(model, SPEC.settings), data, folder, lambda: False)
            try:
                wrong = _passed_over(look, newest, before) if hit is newest else _best_is_missed(look, best, newest)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            failures += [f"{where}: {wrong}"] if wrong else []
        _repair(hit, safe / hit.name)
    return {"failures": failures, "kinds": kinds}


def _passed_over(look: evaluator.Evaluator, newest: Path, before: Path) -> str:
    """The resume takes the one before and says so."""
    said = _resumed(look)
    if look.step != step_of(before):
        return f"resumed from step {look.step}"
    if not any(f"{newest.name} is damaged" in text for text in said):
        return "nothing was said"
    return "" if _weights_of(look.model, before) else "other weights than those of the one before"


def _best_is_missed(look: evaluator.Evaluator, best: Path, newest: Path) -> str:
    """The resume says that the best is lost, and so does a run that wants it at its end."""
    if not any("best so far" in text for text in _resumed(look)):
        return "the resume does not say that the best is lost"
    look.best_step = step_of(best)
    said = [str(Words.from_json(event["words"])) for event in look._load_best()]
    if not any("best so far" in text for text in said):
        return "nothing was said at the end"
    return "" if look.best_step == step_of(newest) and _weights_of(look.model, newest) else "damaged weights were taken"


def _resumed(look: evaluator.Evaluator) -> list[str]:
    from bigmodel.training.resume import restore

    events = list(restore(look, 90, ALL_OF_THEM))
    return [str(Words.from_json(event["words"])) for event in events if event.kind == "note"]


def _weights_of(model, place: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    kept, state = load_file(place / "model.safetensors"), model.state_dict()
    return all(torch.equal(state[name], value) for name, value in kept.items())


def _repair(place: Path, safe: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(safe, place)


# -- kinds of damage: each says whether the file is any other than before --------------------------------
def _flip_a_bit(file: Path, other: Path, chance: random.Random) -> bool:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return _written(file, bytes(data))


def _zero_the_tail(file: Path, other: Path, chance: random.Random) -> bool:
    data = file.read_bytes()
    length = chance.randint(1, len(data))
    return _written(file, data[:-length] + bytes(length))


def _cut(file: Path, other: Path, chance: random.Random) -> bool:
    data = file.read_bytes()
    return _written(file, data[: chance.randrange(len(data))])


def _append(file: Path, other: Path, chance: random.Random) -> bool:
    return _written(file, file.read_bytes() + chance.randbytes(chance.randint(1, 100)))


def _lose(file: Path, other: Path, chance: random.Random) -> bool:
    file.unlink()
    return True


def _swap(file: Path, other: Path, chance: random.Random) -> bool:
    """For the file of the same name of another checkpoint, or another file of the same one."""
    names = sorted(path for path in [other / file.name, *file.parent.iterdir()] if path.exists() and path != file)
    return _written(file, chance.choice(names).read_bytes())


def _written(file: Path, data: bytes) -> bool:
    """Zeros that become zeros, and a file that is the same in both checkpoints, are no damage."""
    if file.read_bytes() == data:
        return False
    file.write_bytes(data)
    return True


DAMAGES: list[tuple[str, Callable[[Path, Path, random.Random], bool]]] = [
    ("flipped bit", _flip_a_bit),
    ("zeroed tail", _zero_the_tail),
    ("truncation", _cut),
    ("foreign tail", _append),
    ("missing file", _lose),
    ("swapped file", _swap),
]


def _complete_without_hash(folder: Path) -> bool:
    """Sizes only."""
    try:
        manifest = json.loads((folder / checkpoint.MANIFEST).read_text("utf-8"))
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in manifest.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


ROW = Row(
    number=4,
    injected="checkpoints with flipped bits, zeroed, cut, longer, missing or swapped files",
    promise="every damage is detected, the run goes on from the one before, and says so",
    trials=1000,
    run=run,
    without={
        "the hash of each file": lambda: patched((checkpoint, "verify", _complete_without_hash)),
        "the manifest": lambda: patched((checkpoint, "verify", Path.exists)),
    },
    fewer=40,
)
