"""Training a language model: ours beside transformers' Trainer and a loop written by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed import trainer
from benchmarks.speed.report import compared
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import OURS, fresh_model, let_go, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

TRAINER = "benchmarks.speed.language_model:trainer_side"
BARE = "benchmarks.speed.language_model:bare_side"
LOG_EVERY = 10  # steps between two looks of the bare loop at its loss, as in nanoGPT


def gpt_spec(device: str = "cpu") -> RunSpec:
    """11.5 million parameters, as in nanoGPT's 'baby GPT'."""
    shape = {"layers": 6, "width": 384, "attention_heads": 6, "block_size": 256, "batch_size": 4, "vocabulary": 2048}
    return spec_of("text-generation", "gpt", "classics_en", device, **shape, dropout=0.0, learning_rate=1e-3)


def char_gpt_spec(device: str = "cpu", **more: object) -> RunSpec:
    """nanoGPT's settings for a laptop: 4 layers, 128 wide, block 64, batch 12, characters."""
    shape = {"layers": 4, "width": 128, "attention_heads": 4, "block_size": 64, "batch_size": 12, "vocabulary": 300}
    given = {**shape, "tokenizer": "characters", "dropout": 0.0, "learning_rate": 1e-3, **more}
    return spec_of("text-generation", "gpt", "classics_en", device, **given)


def gpt(rounds: int, device: str = "cpu", steps: int = 12, warm: int = 4) -> list[dict]:
    spec = gpt_spec(device).to_json()
    task = {"spec": spec, "steps": steps, "warm": warm}
    found = alternate({"ours": Side(OURS, **task), "trainer": Side(TRAINER, **task)}, rounds)
    work = "GPT, 11.5 M parameters, 256 tokens x 4"
    return [compared(work, found["ours"], "HF Trainer", found["trainer"], "tokens/s", ">= 1.9")]


def char_gpt(rounds: int, device: str = "cpu", steps: int = 150, warm: int = 30) -> list[dict]:
    """Beside the Trainer as both come; beside the bare loop with everything equal, which leaves what the loop costs."""
    task = {"spec": char_gpt_spec(device).to_json(), "steps": steps, "warm": warm}
    equal = {"spec": char_gpt_spec(device, precision="fp32").to_json(), "steps": steps, "warm": warm}
    one = {"OMP_NUM_THREADS": "1"}
    found = alternate(
        {
            "ours": Side(OURS, **task),
            "trainer": Side(TRAINER, **task),
            "bare": Side(BARE, **task),
            "ours, equal": Side(OURS, one, **equal),
            "bare, equal": Side(BARE, one, **equal),
        },
        rounds,
    )
    work = "small char-GPT, 0.8 M parameters, 64 tokens x 12"
    overhead = ">= 0.952 (overhead <= 5 %)"
    return [
        compared(work, found["ours"], "HF Trainer", found["trainer"], "tokens/s", ">= 1.35"),
        compared(work, found["ours"], "bare PyTorch loop", found["bare"], "tokens/s", overhead),
        compared(
            f"{work}, fp32, 1 thread",
            found["ours, equal"],
            "bare PyTorch loop",
            found["bare, equal"],
            "tokens/s",
            overhead,
        ),
    ]


# -- the peers ----------------------------------------------------------------------------------------
class Windows:
    """Texts cut into blocks as the Trainer wants them: input_ids, and labels that the model shifts itself.

    `aligned` hands over our labels instead, one further on and none of them lost, for a loss that is equal to ours.
    """

    def __init__(self, spec: RunSpec, tokens: Any, aligned: bool = False):
        import numpy as np

        task = catalog.task(spec.task)
        self.starts = np.concatenate(task.batch_indices({"tokens": tokens}, spec.settings, 0))
        self.tokens, self.block, self.aligned = tokens, spec.settings["block_size"], aligned

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict:
        import numpy as np
        import torch

        start = self.starts[index]
        cut = torch.from_numpy(self.tokens[start : start + self.block + 1].astype(np.int64))
        one = {"input_ids": cut[:-1], "labels": cut[:-1]}
        return one | {"shift_labels": cut[1:]} if self.aligned else one


def trainer_side(spec: Mapping, steps: int, warm: int, aligned: bool = False, **own: Any) -> Callable[[], dict]:
    """`own`: arguments of the Trainer in the place of those that it comes with."""
    asked = spec_from(spec)
    data = prepared(asked)
    units = asked.settings["batch_size"] * asked.settings["block_size"]

    def measure() -> dict:
        dataset = Windows(asked, data.arrays["train"]["tokens"], aligned)
        model = fresh_model(asked, data)
        return trainer.measure(model, dataset, asked.settings, steps, warm, lambda step: units, arguments=own)

    return measure


def bare_side(spec: Mapping, steps: int, warm: int, precision: str = "fp32") -> Callable[[], dict]:
    asked = spec_from(spec)
    data = prepared(asked)

    def measure() -> dict:
        return bare_loop(asked, data, steps, warm, precision)

    return measure


def bare_loop(spec: RunSpec, data: Any, steps: int, warm: int, precision: str = "fp32", compiled: bool = False) -> dict:
    """What people write by hand, after nanoGPT's train.py: no events, no checks, no stop."""
    from contextlib import nullcontext

    import numpy as np
    import torch
    from torch.nn import functional

    from bigmodel.training.optimizers import optimizer

    settings, tokens = spec.settings, data.arrays["train"]["tokens"]
    device, block, size = settings["device"], settings["block_size"], settings["batch_size"]
    model = fresh_model(spec, data).to(device)
    optimize = optimizer(model, settings)  # fused AdamW, weights decayed and biases not, as nanoGPT has it
    called = torch.compile(model) if compiled else model
    starts = np.concatenate(catalog.task(spec.task).batch_indices({"tokens": tokens}, settings, 0))
    cast = torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    losses, begun = [], 0.0
    for step in range(warm + steps):
        if step == warm:
            wait_for(device)
            begun = time.perf_counter()
        chosen = starts[np.arange(step * size, (step + 1) * size) % len(starts)]
        x = torch.stack([torch.from_numpy(tokens[i : i + block].astype(np.int64)) for i in chosen])
        y = torch.stack([torch.from_numpy(tokens[i + 1 : i + 1 + block].astype(np.int64)) for i in chosen])
        x, y = (part.pin_memory().to(device, non_blocking=True) if device == "cuda" else part for part in (x, y))
        with cast:
            logits = called(input_ids=x).logits
            loss = functional.cross_entropy(logits.view(-1, logits.size(-1)).float(), y.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
        optimize.step()
        optimize.zero_grad(set_to_none=True)
        if step % LOG_EVERY == 0 or steps <= LOG_EVERY:
            losses.append(loss.item())
    wait_for(device)
    seconds = time.perf_counter() - begun
    del model, optimize, called, logits, loss
    let_go(device)
    return {
        "rate": steps * size * block / seconds,
        "step_seconds": seconds / steps,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "losses": losses,
    }


def wait_for(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
