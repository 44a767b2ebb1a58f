"""A snapshot: everything that a run in another process needs to go on as if it had never been interrupted.

In a checkpoint's folder, beside the weights that plain transformers opens: `training.safetensors` (the optimizer's
memory, the states of the random generators) and `training.json` (all that is no tensor). Numbers in JSON keep every
bit: Python writes the shortest decimal that reads back as the same float.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bigmodel.core import checked_json, cpu
from bigmodel.core.checked_json import fields, is_number, is_object, is_text, object_of
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field
from bigmodel.core.spec import RunSpec, fields_for
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import cache_key
from bigmodel.training import checkpoint

TENSORS_FILE, STATE_FILE = "training.safetensors", "training.json"
TRAINED_WEIGHTS_FILE = "trained.safetensors"  # the weights of a network of which most are frozen
ORIGIN = "origin"  # in the folder of a run that was branched off: the checkpoint that it begins with
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """What a run must meet again to go on bit by bit. Loads no torch."""
    return {name: version(name) for name in LIBRARIES}


def read_newest(folder: Path) -> dict | None:
    """What is no tensor of the newest checkpoint in which it is undamaged, None where there is none. Cheap, for pages:
    no weights are read, nor torch loaded."""
    for place in checkpoint_folders(folder):
        with suppress(OSError, ValueError):
            if checkpoint.verify_file(place / STATE_FILE):
                return read(place)
    return None


def changes(before: Mapping, spec: RunSpec, device: str, processor: str) -> list[Words]:
    """What is no longer as it was when a snapshot was written: going on from it is then no longer the same run.
    `device`: cpu, cuda, mps; `processor`: which one, as numbers of another round otherwise. What an older snapshot does
    not tell is not compared. Loads no torch."""
    now = versions()
    told = [
        _("{library} was {before} and is {now}", library=name, before=was, now=now[name])
        for name, was in before.get("versions", {}).items()
        if now.get(name) not in (None, was)
    ]
    if before.get("device", device) != device:
        told.append(_("the device was {before} and is {now}", before=before["device"].upper(), now=device.upper()))
    elif not _same_processor(was := before.get("processor", processor), processor):
        told.append(_("the processor was {before} and is {now}", before=was, now=processor))
    try:
        then, session = RunSpec.check(before["spec"]), RunSpec.check(spec.to_json()).resolve()
        told += _changed_settings(then, session.spec, fields_for(session.task, session.architecture))
        same = cache_key(session) == before["data"]
    except (Refusal, OSError, ValueError, KeyError, TypeError):
        same = False
    return told if same else [*told, _("the data, or how it is encoded, has changed")]


def _same_processor(processor: str, other: str) -> bool:
    """A part of a GPU (MIG) is named by torch with its size, by NVIDIA's library without."""
    return processor.startswith(other) or other.startswith(processor)


def _changed_settings(then: RunSpec, now: RunSpec, fields: Sequence[Field]) -> list[Words]:
    return [
        _(
            "{setting} was {before} and is {now}",
            setting=field.label,
            before=str(was),
            now=str(now.settings[field.name]),
        )
        for field in fields
        if (was := then.settings.get(field.name)) != now.settings[field.name]
    ]


def write(folder: Path, optimize: Any, rest: Mapping) -> None:
    """Beside the weights in a checkpoint's staging folder."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    tensors, plain = {"random.cpu": torch.get_rng_state()}, {}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors |= {f"random.cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    for number, memory in optimize.state_dict()["state"].items():
        for name, value in memory.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{number}.{name}"] = value.detach().contiguous()
            else:
                plain[f"{number}.{name}"] = value
    kind, keys, *numbers = np.random.get_state()
    others = {"python": random.getstate(), "numpy": [kind, keys.tolist(), *numbers]}
    save_file(tensors, folder / TENSORS_FILE)
    device = next(weight for group in optimize.param_groups for weight in group["params"]).device
    where = {"device": device.type, "processor": processor_name(device)}
    rest = {**rest, "versions": versions(), **where, "optimizer": plain, "random": others}
    (folder / STATE_FILE).write_text(json.dumps(rest), "utf-8")


def processor_name(device: Any) -> str:
    """The name of a GPU, or of what this machine has for a CPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu.cpu_name()


IS_STATE = fields(
    {"epoch": is_number},
    {"versions": object_of(is_text), "device": is_text, "processor": is_text, "spec": is_object, "data": is_text},
)


def read(folder: Path) -> dict:
    """What is no tensor; OSError or ValueError where it cannot be read."""
    return checked_json.read_object(folder / STATE_FILE, IS_STATE)


def write_weights(folder: Path, model: Any) -> None:
    """The whole network as plain transformers opens it; of one that is mostly frozen only what changes, as the rest
    is where it began with."""
    from safetensors.torch import save_file

    if all(weight.requires_grad for weight in model.parameters()):
        model.save_pretrained(folder)
        return
    changing = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    state = {name: value for name, value in model.state_dict().items() if name not in frozen}  # statistics of norms too
    kept = {name: value for name, value in state.items() if name in changing or name in dict(model.named_buffers())}
    save_file({name: value.detach().contiguous() for name, value in kept.items()}, folder / TRAINED_WEIGHTS_FILE)


def load_weights(folder: Path, model: Any) -> None:
    """Into the model, by way of transformers: some networks bear other names in a file than in memory."""
    import torch

    if (folder / TRAINED_WEIGHTS_FILE).exists():
        from safetensors.torch import load_file

        _missing, unknown = model.load_state_dict(load_file(folder / TRAINED_WEIGHTS_FILE), strict=False)
        if unknown:
            raise ValueError(f"{folder.name} holds weights of another network: {unknown[:3]}")
        return
    kept = type(model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    model.load_state_dict(kept.state_dict())


def load_optimizer(folder: Path, optimize: Any) -> None:
    """The optimizer's memory; its groups with their settings stay as they are."""
    from safetensors.torch import load_file

    state: dict[int, dict] = {}
    for name, value in load_file(folder / TENSORS_FILE).items():
        kind, _dot, rest = name.partition(".")
        if kind == "optimizer":
            number, _dot, what = rest.partition(".")
            state.setdefault(int(number), {})[what] = value
    for name, value in read(folder)["optimizer"].items():
        number, _dot, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    optimize.load_state_dict(optimize.state_dict() | {"state": state})


def load_random(folder: Path) -> None:
    """Put all random generators where they were."""
    import numpy as np
    import torch
    from safetensors import safe_open

    others = read(folder)["random"]
    kind, numbers, gauss = others["python"]
    random.setstate((kind, tuple(numbers), gauss))
    np.random.set_state(tuple(others["numpy"]))
    with safe_open(folder / TENSORS_FILE, "pt") as file:
        torch.set_rng_state(file.get_tensor("random.cpu"))
        names = [name for name in file.keys() if name.startswith("random.cuda.")]  # noqa: SIM118 (it is no dict)
        if names and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([file.get_tensor(f"random.cuda.{i}") for i in range(len(names))])


def checkpoint_folders(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, newest first, whole or not."""
    found = [path for path in (folder / "checkpoints").glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def recover(folder: Path) -> None:
    """Put a run's folder in order after a death. Only for whoever holds its lock."""
    checkpoint.recover(folder)
    checkpoint.recover(folder / "checkpoints")


def is_valid(place: Path) -> bool:
    """Whether a run can go on from it: nothing is missing or damaged."""
    try:
        return bool(read(place)) and checkpoint.verify(place)
    except (OSError, ValueError):
        return False


def best_step(place: Path) -> int | None:
    """The step that was the best when this checkpoint was written; None where that cannot be read."""
    try:
        return read(place)["watch"]["best_step"] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def can_resume(folder: Path) -> bool:
    """Cheap, for pages: whether there is anything to go on from, not whether it is undamaged."""
    return any((place / STATE_FILE).exists() for place in checkpoint_folders(folder))
