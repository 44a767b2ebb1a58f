"""For all tests: one thread a process, a home of their own, and the smallest real runs."""

import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported anywhere; two threads on a busy machine take 11x as long

import psutil
import pytest

SMALLEST = {"epochs": 1, "max_steps": 3, "batch_size": 32, "channels": 4, "precision": "fp32"}


def digits(name="", **settings):
    """A spec that is trained within a second."""
    chosen = SMALLEST | settings
    return {
        "task": "image-classification",
        "architecture": "cnn",
        "dataset": "digits",
        "name": name,
        "settings": chosen,
    }


def endless(**settings):
    """A spec that goes on until it is stopped."""
    return digits(epochs=10_000, max_steps=0, eval_every=1_000_000, **settings)


def wait_for(what, seconds=90.0):
    """The first true value of `what()`; fails when there is none in time."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


def holder(path):
    """The process that holds the lock on a file, None where nobody does."""
    inode = path.stat().st_ino if path.exists() else None
    for line in Path("/proc/locks").read_text().splitlines():
        parts = line.split()
        if parts[5].endswith(f":{inode}") and "->" not in parts:
            return psutil.Process(int(parts[4]))
    return None


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder of the test's own, for this process and all that it starts."""
    monkeypatch.setenv("BIGMODEL_HOME", str(tmp_path))
    monkeypatch.delenv("BIGMODEL_SPARE", raising=False)
    return tmp_path
