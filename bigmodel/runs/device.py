"""What runs are trained on, found without torch: the machine's own word on its processors and memory."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bigmodel.core import cpu
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _


@dataclass(frozen=True)
class Device:
    """What runs are trained on, now. `used` and `total` share their names; memory is in bytes."""

    name: str  # 'NVIDIA H100', 'CPU'
    kind: str  # cuda, mps, cpu
    used: Mapping[str, float] = field(default_factory=dict)
    total: Mapping[str, float] = field(default_factory=dict)


def resolve(asked: str) -> str:
    """The device that a run's setting means on this machine: two runs with the same key wait for each other."""
    if asked == "auto":
        return best()
    return "cuda:0" if asked == "cuda" else asked


def best() -> str:
    if gpu_count():
        return "cuda:0"
    return "mps" if has_apple_gpu() else "cpu"


def check(asked: str) -> None:
    """Refusal for a device that this machine has not."""
    present = {"auto": True, "cpu": True, "cuda": gpu_count() > 0, "mps": has_apple_gpu()}
    if present.get(asked, False):
        return
    options = ", ".join(name for name, there in present.items() if there)
    what = _("This machine has no {device} device.", device=asked)
    raise Refusal(what, do=_("Choose one of: {options}.", options=options), field="device")


def processor_name(kind: str) -> str:
    """The name of what computes on a device of this kind."""
    if kind != "cuda":
        return cpu.cpu_name()
    nvml = _nvml()
    return nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(_first_visible()))


def current_device() -> Device:
    """The device of the next run, and how busy it is: read once a second, however many ask."""
    return _read_device(int(time.monotonic()))


@lru_cache(maxsize=1)
def _read_device(second: int) -> Device:
    import psutil

    memory = psutil.virtual_memory()
    used = {"cpu_percent": _cpu_percent(), "memory": float(memory.total - memory.available)}
    total = {"cpu_percent": 100.0, "memory": float(memory.total)}
    if not gpu_count():
        return Device("Apple GPU" if has_apple_gpu() else "CPU", best(), used, total)
    nvml = _nvml()
    gpu = nvml.nvmlDeviceGetHandleByIndex(_first_visible())
    held = nvml.nvmlDeviceGetMemoryInfo(gpu)
    used["gpu_memory"], total["gpu_memory"] = float(held.used), float(held.total)
    with suppress(nvml.NVMLError):  # a part of a GPU (MIG) does not tell
        used["gpu_percent"], total["gpu_percent"] = float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu), 100.0
    return Device(processor_name("cuda"), "cuda", used, total)


def _cpu_percent() -> float:
    """Percent of all cores since the last look; the first look waits a moment."""
    import psutil

    global _sampled_before
    first, _sampled_before = not _sampled_before, True
    return psutil.cpu_percent(interval=0.1 if first else None)


_sampled_before = False


@cache
def has_apple_gpu() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


@cache
def gpu_count() -> int:
    """NVIDIA GPUs that the installed torch can use. None for a torch that was built for the CPU only."""
    if not _torch_has_cuda():
        return 0
    nvml = _nvml()
    return nvml.nvmlDeviceGetCount() if nvml and _first_visible() >= 0 else 0


def _first_visible() -> int:
    """The number of the first GPU that torch may see; -1 where it may see none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return 0
    first = visible.split(",")[0].strip()
    return int(first) if first.isdigit() else -1 if first in ("", "-1") else 0


def _torch_has_cuda() -> bool:
    """Read from torch's version file: importing torch takes seconds and hundreds of MB."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    file = Path(found.origin).with_name("version.py")
    return not file.exists() or re.search(r"^cuda\b.*=\s*None", file.read_text("utf-8"), re.MULTILINE) is None


@cache
def _nvml() -> Any:
    """NVIDIA's library, ready for use; None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
