"""Row 5: a short run stopped before every step and in its measurements, and resumed."""

from __future__ import annotations

import itertools
import random
import shutil
import sys
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import apart, differences, finish, home, launch, patched, spec, steady, told, work
from bigmodel.core.events import STOPPED
from bigmodel.core.spec import RunSpec
from bigmodel.data.interruptible import CancelCheck
from bigmodel.runs.folder import Folder
from bigmodel.training import resume_state, throughput

NETWORKS = ("gpt", "transformer", "vit")
STEPS = 6


def run(trials: int, place: Path) -> Outcome:
    """`trials`: moments of each kind of run, steps before measurements."""
    outcome, asked = Outcome(), {}
    with steady():
        for network, accumulation in itertools.product(NETWORKS, (1, 2)):
            one = spec(network, max_steps=STEPS, eval_every=4, accumulation=accumulation)
            name = f"{network} x{accumulation}"
            reference, moments = _undisturbed(one, place / name)
            asked[name] = len(moments)
            for moment in _some(moments, trials):
                folder = launch(home(place / f"{name}-{moment}", place / "cache"), one)
                _stopped(folder, moment, outcome, f"{name} stopped at moment {moment}")
                finish(folder)
                outcome.trials += 1
                for part in differences(reference, told(folder)):
                    outcome.fail(f"{name} stopped at moment {moment}: {part} differ")
                shutil.rmtree(folder.home)
    outcome.worst = f"{len(outcome.failures)} differences"
    counts = ", ".join(f"{name} {count}" for name, count in asked.items())
    outcome.note = (
        f"of each, {min(trials, STEPS)} of {STEPS} steps and {max(trials - STEPS, 0)} passes of a measurement; moments at "
        f"which a run asks, by network and accumulation: {counts}"
    )
    return outcome


def _some(moments: list[str], trials: int) -> list[int]:
    """Steps first, from the fourth on, by when there is something that could be forgotten; then measurements."""
    steps = [number for number, name in enumerate(moments) if name == "step"]
    others = sorted(set(range(len(moments))) - set(steps))
    chosen = (steps[3:] + steps[:3])[:trials]
    return sorted(chosen + random.Random(0).sample(others, min(max(trials - len(chosen), 0), len(others))))


def _undisturbed(one: RunSpec, path: Path) -> tuple[dict, list[str]]:
    """The story of the run that is never stopped, and when it asks."""
    folder = launch(home(path, path.parent / "cache"), one)
    moments = apart(lambda: _asking(folder, -1), folder.log_file)
    return told(folder), moments


def _stopped(folder: Folder, moment: int, outcome: Outcome, where: str) -> None:
    apart(lambda: _asking(folder, moment), folder.log_file)
    outcome.expect(folder.facts()["state"] == STOPPED, f"{where}: the state is {folder.facts()['state']}")


def _asking(folder: Folder, moment: int) -> list[str]:
    """Work, and answer 'stop' at one moment; whether each question came before a step or a pass of a measurement. Those
    of the worker itself, and those asked while the data are encoded, which is done once, are not counted."""
    from bigmodel.training import loop

    moments: list[str] = []
    train = loop.train

    def stopped() -> bool:
        asks = sys._getframe(1).f_code
        if asks is CancelCheck.__call__.__code__:
            return False
        moments.append("step" if asks is loop._run_steps.__code__ else "measurement")
        return len(moments) > moment >= 0

    def counting(spec, path, _stopped, cache, device, _end_now):
        return train(spec, path, stopped, cache, device)

    with patched((loop, "train", counting)):
        work(folder)
    return moments


ROW = Row(
    number=5,
    injected="stop before every step of a short run and in its measurements: language model, encoder-decoder, image classifier; "
    "accumulation 1 and 2; dropout on",
    promise="the resumed run is, bit by bit, the one that was never stopped: loss curve, metrics, samples, weights",
    trials=20,
    run=run,
    without={
        "the random numbers put back": lambda: patched((resume_state, "load_random", lambda _folder: None)),
        "the optimizer's memory put back": lambda: patched((resume_state, "load_optimizer", lambda *_: None)),
        "what was counted since the last point of the curve": lambda: patched(
            (throughput.Throughput, "state", lambda _self: None)
        ),
    },
    fewer=1,
    each=2 * len(NETWORKS),
)
