"""Memory that a training step frees stays for the next one, and goes back when training is over."""

import subprocess
import sys

import pytest

from bigmodel.training.kernels import malloc

PROGRAM = """
import resource, sys
from contextlib import nullcontext
import psutil, torch
from bigmodel.training.kernels import malloc

PAGE, BYTES = 4096, 40 * 2**20

def faults(times=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(BYTES // 4).add_(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times

torch.ones(BYTES // 4)
with malloc.retain_freed_memory() if sys.argv[1] == "kept" else nullcontext():
    faults(2)
    each = faults()
    held = psutil.Process().memory_info().rss
print(each / (BYTES / PAGE), (held - psutil.Process().memory_info().rss) / BYTES)
"""


def measured(way):
    """(share of the pages of a tensor that each new one asks the system for, tensors' worth given back at the end)"""
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
    return map(float, done.stdout.split())


@pytest.mark.skipif(malloc._glibc() is None, reason="another C library than glibc")
def test_pages_are_asked_for_once_and_given_back_at_the_end():
    share, back = measured("kept")
    assert share < 0.4 and back > 0.9
    share, _back = measured("as it comes")
    assert share > 0.9  # else there is nothing to keep, and bigmodel.training.kernels.malloc may go


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(malloc, "_glibc", lambda: None)
    with malloc.retain_freed_memory():
        malloc.trim()
