"""Row 5: a short run stopped at every moment at which it asks whether to stop, and resumed."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from bigmodel.core.events import STOPPED
from bigmodel.core.spec import RunSpec
from bigmodel.runs.folder import Folder
from bigmodel.torture.row import Found, Row
from bigmodel.torture.trial import apart, differences, finish, home, launch, patched, spec, steady, told, work
from bigmodel.training import meter, snapshot

NETWORKS = ("gpt", "transformer", "vit")
STEPS = 6


def run(trials: int, place: Path) -> Found:
    """`trials`: moments of each kind of run at most; 0: all of them."""
    found, moments_of = Found(), {}
    with steady():
        for network, accumulation in itertools.product(NETWORKS, (1, 2)):
            one = spec(network, max_steps=STEPS, eval_every=4, accumulation=accumulation)
            name = f"{network} x{accumulation}"
            reference, moments = _undisturbed(one, place / name)
            moments_of[name] = moments
            for moment in _some(moments, trials):
                folder = launch(home(place / f"{name}-{moment}", place / "cache"), one)
                _stopped(folder, moment, found, f"{name} stopped at moment {moment}")
                finish(folder)
                found.trials += 1
                for part in differences(reference, told(folder)):
                    found.fail(f"{name} stopped at moment {moment}: {part} differ")
    found.worst = f"{len(found.failures)} differences"
    moments = ", ".join(f"{name} {count}" for name, count in moments_of.items())
    found.note = (
        f"moments at which a run asks, steps and passes of measurements, by network and accumulation: {moments}"
    )
    return found


def _some(moments: int, trials: int) -> list[int]:
    if not trials or trials >= moments:
        return list(range(moments))
    return sorted(random.Random(0).sample(range(moments), trials))


def _undisturbed(one: RunSpec, path: Path) -> tuple[dict, int]:
    """The story of the run that is never stopped, and how often it asks."""
    folder = launch(home(path, path.parent / "cache"), one)
    moments = apart(lambda: _asking(folder, -1), folder.log_file)
    return told(folder), moments


def _stopped(folder: Folder, moment: int, found: Found, where: str) -> None:
    apart(lambda: _asking(folder, moment), folder.log_file)
    found.expect(folder.facts()["state"] == STOPPED, f"{where}: the state is {folder.facts()['state']}")


def _asking(folder: Folder, moment: int) -> int:
    """Work, and answer 'stop' at one moment; how often it was asked. The worker's own questions while data is read
    are not counted."""
    from bigmodel.training import loop

    asked = itertools.count()
    train = loop.train

    def counting(spec, path, _stopped, cache, device):
        return train(spec, path, lambda: next(asked) >= moment >= 0, cache, device)

    with patched((loop, "train", counting)):
        work(folder)
    return next(asked)


ROW = Row(
    number=5,
    injected="stop at every moment of a short run: language model, encoder-decoder, image classifier; "
    "accumulation 1 and 2; dropout on",
    promise="the resumed run is, bit by bit, the one that was never stopped: loss curve, metrics, samples, weights",
    trials=0,
    run=run,
    without={
        "the random numbers put back": lambda: patched((snapshot, "load_random", lambda _folder: None)),
        "the optimizer's memory put back": lambda: patched((snapshot, "load_optimizer", lambda *_: None)),
        "what was counted since the last point of the curve": lambda: patched(
            (meter.Meter, "state", lambda _self: None)
        ),
    },
    fewer=1,
)
