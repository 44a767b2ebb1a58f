"""The learning rate range test: some steps of the real training with a rate that grows, and the rate at which the loss falls fastest.

Smith 2015, 'Cyclical Learning Rates for Training Neural Networks', section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.9  # of the moving average over the loss
MIN_STEPS = 10  # before it may end early
EXPLODED = 3.0  # times the lowest loss, at which nothing is learnt from going on


@dataclass(frozen=True)
class RateCurve:
    """rates, losses: of each step, the loss as a moving average. suggested: 0.0 where the loss never fell."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float = 0.0


def find(spec: RunSpec, cache: Path) -> Iterator[dict]:
    """Yields {"step"} as it goes on, and the fields of a RateCurve last. Nothing is kept of what is learnt."""
    from bigmodel.data.prepare import prepare
    from bigmodel.training import out_of_memory
    from bigmodel.training.batch_sizes import accumulation_groups
    from bigmodel.training.determinism import enable_determinism, seed_generators
    from bigmodel.training.forward import Forward, apply_cpu_kernels
    from bigmodel.training.optimizers import optimizer
    from bigmodel.training.precision import resolve_device
    from bigmodel.training.step import TrainStep
    from bigmodel.training.throughput import Throughput

    endless = RunSpec.check(spec.to_json() | {"settings": {**spec.settings, "epochs": 10_000}})
    session, device = endless.resolve(), resolve_device(spec.settings["device"])
    enable_determinism(device)
    with out_of_memory.refuse_on_oom(_("Looking for a learning rate")):
        data = prepare(session, cache)
        yield {"step": 0}
        seed_generators(spec.settings["seed"])
        model = session.architecture.model(data.facts, session.settings).to(device)
        apply_cpu_kernels(model, device)
        model.train()
        optimize = optimizer(model, session.settings)
        forward = Forward(session, model, device, "bf16" if spec.settings["precision"] == "bf16" else "fp32")
        update = TrainStep(session, data, model, optimize, forward, Throughput(device, 1.0), 1)
        rates: list[float] = []
        losses: list[float] = []
        average = 0.0
        for step, (epoch, group) in enumerate(islice(accumulation_groups(session, data), STEPS), 1):
            rate = LOWEST * (HIGHEST / LOWEST) ** ((step - 1) / (STEPS - 1))
            for parameters in optimize.param_groups:
                parameters["lr"] = rate
            loss = float(update.gradients(group, epoch)[0].total)
            optimize.step()
            optimize.zero_grad(set_to_none=True)
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            smooth = average / (1 - SMOOTHING**step)  # without the bias towards the 0 that it began with
            if not math.isfinite(smooth):
                break
            rates.append(rate)
            losses.append(smooth)
            yield {"step": step}
            if step > MIN_STEPS and smooth > EXPLODED * min(losses):
                break
    yield {"rates": rates, "losses": losses, "suggested": suggest_rate(rates, losses)}


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Where the loss falls fastest over the logarithm of the rate, before it is lowest; two significant digits. 0.0 where
    it never falls."""
    import numpy as np

    lowest = int(np.argmin(losses)) if len(losses) else 0
    if lowest < 2:
        return 0.0
    slope = np.gradient(np.array(losses[: lowest + 1]), np.log(rates[: lowest + 1]))
    return float(f"{rates[int(np.argmin(slope))]:.2g}")
