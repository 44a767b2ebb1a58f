"""For all tests: one thread a process, a home of their own, and the smallest real runs."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

os.environ["LANG"] = (
    "C.UTF-8"  # of the fork server and of all who ask it: with another one they import the libraries anew
)
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported anywhere; two threads on a busy machine take 11x as long

import psutil
import pytest

from bigmodel import studio
from bigmodel.base_models import store as bases
from bigmodel.core import child_process
from bigmodel.importing import import_jobs

MAIN = sys.modules["__main__"]
for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
    if (
        signal.getsignal(number) is signal.SIG_IGN
    ):  # as in the background of a shell; what the tests start must not inherit it
        signal.signal(number, signal.default_int_handler)

LONGEST = (  # these begin first, so that no process is left alone with one of them at the end
    "test_reliability.py",
    "test_accessibility.py",
    "test_browser.py",
    "test_pretrained.py",
    "test_supervisor.py",
    "test_going_on.py",
    "test_cli.py",
    "test_bring.py",
    "test_one_new_file.py",
    "test_resume.py",
    "test_old_home.py",
)


def pytest_collection_modifyitems(items):
    last = len(LONGEST)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else last)


HANG = 240.0  # seconds after which what a test waits for never comes: that ends a hang and decides nothing else
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


def retold(place, **changed):
    """Let a checkpoint say something else of what is no tensor, as whole as it was."""
    from bigmodel.training import checkpoint, resume_state

    def write(staging):
        shutil.copytree(place, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns(checkpoint.MANIFEST))
        (staging / resume_state.STATE_FILE).write_text(json.dumps(resume_state.read(place) | changed))

    checkpoint.save(place, write)


@pytest.fixture(scope="session", autouse=True)
def fork_server():
    """Processes of all tests are forked from one that has the libraries loaded, as those of a server are."""
    with child_process.preloading(studio.LIBRARIES):
        yield


def damage(file):
    """One bit is another."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def wait_for(what):
    """The first true value of `what()`; fails when there never is one."""
    until = time.monotonic() + HANG
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


def end_workers(home):
    """What a home still trains would go on beside all tests that follow: it outlives its server."""
    for lock in home.glob("runs/*/lock"):
        if worker := holder(lock):
            worker.kill()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder of the test's own, for this process and all that it starts."""
    monkeypatch.setenv("BIGMODEL_HOME", str(tmp_path))
    bases.register_bases(tmp_path)
    monkeypatch.setattr(import_jobs, "PREVIEW_SECONDS", HANG)
    yield tmp_path
    end_workers(tmp_path)
    sys.modules["__main__"] = MAIN  # Streamlit's test bench puts a page there, which spawned processes would then run


SMALL = {
    "width": 32, "attention_heads": 2, "layers": 1, "embedding": 32, "units": 32, "channels": 8, "stages": 2, "blocks": 1,
    "block_size": 32, "sentence_length": 32, "text_length": 32, "vocabulary": 1000, "batch_size": 16, "dropout": 0.0,
    "max_steps": 60, "eval_every": 60, "learning_rate": 0.004, "schedule": "constant", "warmup": 0.0, "optimizer": "adam",
    "precision": "fp32", "device": "cpu", "label_smoothing": 0.0,
}  # fmt: skip


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Encoded data, shared by all tests: content makes its names."""
    return tmp_path_factory.mktemp("cache")


def small(task, architecture, dataset, **more):
    """A spec that is trained within seconds."""
    from bigmodel.core.spec import RunSpec

    names = set(RunSpec.check({"task": task, "architecture": architecture, "dataset": dataset}).settings)
    patient = {"max_steps": 200, "eval_every": 200} if architecture == "vit" or task == "text-classification" else {}
    if architecture == "bert":  # with its decay Adam, which mixes it into its steps, stands still
        patient |= {"optimizer": "adamw", "learning_rate": 0.002, "max_steps": 300, "eval_every": 300}
    settings = {name: value for name, value in (SMALL | patient | more).items() if name in names}
    return RunSpec.check({"task": task, "architecture": architecture, "dataset": dataset, "settings": settings})


FEW = {"train": 32, "validation": 8, "test": 8}  # rows, for what is the same however many there are


@pytest.fixture
def few_rows(monkeypatch):
    """Each split is its first rows and one sample is written: the moments between two steps are as many, and measuring
    the whole of a split takes most of a training. Under a fingerprint of their own, so that nobody else finds them."""
    from bigmodel.core.contracts import Dataset
    from bigmodel.data import prepare

    all_rows, whole = Dataset.rows, Dataset.fingerprint

    def first_rows(dataset):
        splits = all_rows(dataset)
        return type(splits)({name: rows.select(range(min(len(rows), FEW[name]))) for name, rows in splits.items()})

    monkeypatch.setattr(Dataset, "rows", first_rows)
    monkeypatch.setattr(Dataset, "fingerprint", lambda dataset: f"{whole(dataset)}, a few of them")
    monkeypatch.setattr(prepare, "PINNED_ROWS", 1)


def learn(folder, cache, spec, stopped=None, end_now=None) -> list:
    """The events of a run, trained in this process. Where `stopped` counts how often it is asked, that is of the training
    alone: the data are encoded before."""
    from bigmodel.data.prepare import prepare
    from bigmodel.training.loop import train

    if stopped is not None:
        prepare(spec.resolve(), cache)
    return list(train(spec, folder, stopped or (lambda: False), cache, "cpu", end_now))


@pytest.fixture(scope="session")
def trained(cache, tmp_path_factory):
    """The events and the folder of a small run of three names, trained once."""
    runs = {}

    def get(*names: str):
        if names not in runs:
            folder = tmp_path_factory.mktemp("-".join(names))
            runs[names] = learn(folder, cache, small(*names)), folder
        return runs[names]

    return get
