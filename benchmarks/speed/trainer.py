"""The peer that most people would pick: transformers' Trainer as it comes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed.side import peer
from benchmarks.speed.training import let_go


def arguments(settings: Mapping, steps: int, folder: str, **more: Any) -> dict:
    """The settings of our run in the Trainer's words; everything that our settings do not name stays as it comes.

    Checkpoints are left out on both sides; what is measured is training.
    """
    from bigmodel.training.optimizers import BETAS

    schedules = {"constant": "constant"}
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": settings["batch_size"],
        "learning_rate": settings["learning_rate"],
        "weight_decay": settings["weight_decay"],
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_grad_norm": settings["clip"],
        "lr_scheduler_type": schedules[settings["schedule"]],
        "label_smoothing_factor": settings["label_smoothing"],
        "seed": settings["seed"],
        "use_cpu": settings["device"] == "cpu",
        "save_strategy": "no",
        **more,
    }


def measure(
    model: Any, dataset: Any, settings: Mapping, steps: int, warm: int, size: Callable[[int], int], **more: Any
) -> dict:
    """Units a second over `steps` steps after `warm` others. `size(step)`: the units of a step, from 0.

    `more`: other classes (trainer_class, arguments_class) and what the Trainer itself is given (data_collator ...).
    """
    peer("accelerate")
    import torch
    import transformers

    trainer_class = more.pop("trainer_class", transformers.Trainer)
    arguments_class = more.pop("arguments_class", transformers.TrainingArguments)
    own = more.pop("arguments", {})
    stamps: list[float] = []

    class Stamp(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if args.device.type == "cuda" and state.global_step in (warm, warm + steps):
                torch.cuda.synchronize()
            stamps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        given = arguments_class(**arguments(settings, warm + steps, folder, **own))
        trainer = trainer_class(model=model, args=given, train_dataset=dataset, callbacks=[Stamp()], **more)
        trainer.train()
        own_device = str(given.device)
    seconds = stamps[-1] - stamps[warm - 1]
    units = sum(size(step) for step in range(warm, warm + steps))
    losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    del trainer, model
    let_go(own_device)
    return {
        "rate": units / seconds,
        "step_seconds": seconds / steps,
        "threads": torch.get_num_threads(),
        "losses": losses,
    }
