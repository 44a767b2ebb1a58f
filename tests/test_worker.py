"""One run in its own process: what it writes, how it stops, and what it says when it cannot."""

import json
import os
import signal
import time

import pytest
from conftest import HANG, digits, endless, wait_for

from bigmodel.core import child_process
from bigmodel.core.cpu import thread_count
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FAILED, FINISHED, INTERRUPTED, RUNNING, STARTING, STOPPED, STOPPING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.runs import supervisor
from bigmodel.runs.executors.local import LocalExecutor
from bigmodel.runs.store import Store


@pytest.fixture
def work(home):
    """Starts a worker on a spec; the folder and the process. What still runs at the end is killed."""
    store, processes = Store(home), []

    def start(spec, change=lambda folder: None):
        folder = store.folder(store.launch(RunSpec.check(spec)))
        folder.append(Event("state", {"state": STARTING, "device": "cpu"}))
        change(folder)
        processes.append(LocalExecutor().start(folder.path)._process)
        return folder, processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def kinds(folder):
    return [event.kind for _offset, event in folder.events()]


def states(folder):
    return [event["state"] for _offset, event in folder.events() if event.kind == "state"]


def last(folder):
    return [event for _offset, event in folder.events()][-1]


def test_a_run_writes_its_story_and_its_model(work):
    folder, process = work(digits())
    assert process.wait(HANG) == 0
    assert states(folder)[1:] == [STARTING, RUNNING, FINISHED]
    assert {"plan", "phase", "step", "validation", "sample", "checkpoint", "result"} <= set(kinds(folder))
    assert json.loads((folder.model / "bigmodel.json").read_text())["spec"]["dataset"] == "digits"
    assert not folder.alive()


def test_a_worker_holds_the_lock_in_a_session_of_its_own(work):
    folder, process = work(endless())
    wait_for(lambda: states(folder)[-1] == RUNNING)
    assert folder.alive()
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert not folder.lock().acquire()


@pytest.mark.parametrize("ask", ["message", "SIGINT", "SIGTERM", "message and SIGTERM"])
def test_stopping_keeps_the_weights(work, ask):
    folder, process = work(endless())
    wait_for(lambda: kinds(folder).count("step") > 2)
    if "message" in ask:
        folder.request_stop()
    if "SIG" in ask:
        process.send_signal(getattr(signal, ask.split()[-1]))
    begun = time.monotonic()
    assert process.wait(HANG) == 0
    print(json.dumps({"stopped by": ask, "seconds": time.monotonic() - begun}))
    assert states(folder)[-2:] == [STOPPING, INTERRUPTED if ask == "SIGTERM" else STOPPED]
    assert folder.has_model() and bool(last(folder).data.get("died")) == (ask == "SIGTERM")


def test_a_run_that_the_system_ends_before_it_has_begun_was_not_stopped_by_a_person(work):
    folder, process = work(endless())
    wait_for(lambda: kinds(folder)[-1] == "phase")
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG) == 0
    assert states(folder)[-1] == INTERRUPTED and "step" not in kinds(folder)
    assert supervisor.retry_delay(folder) == supervisor.RETRY_DELAYS[0]


def test_a_run_that_is_stopped_before_it_begins_loads_nothing(work, tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("modules")
    (place / "torch.py").write_text("raise AssertionError('torch is loaded')")
    monkeypatch.setenv("PYTHONPATH", str(place))
    folder, process = work(endless(), change=lambda folder: folder.request_stop())
    assert process.wait(HANG) == 0 and not folder.log()
    assert states(folder)[-2:] == [STARTING, STOPPED]


def test_a_run_that_is_stopped_while_its_data_is_read_does_not_train(work):
    folder, process = work(endless())
    wait_for(lambda: kinds(folder)[-1] == "phase")
    folder.request_stop()
    assert process.wait(HANG) == 0
    assert states(folder)[-1] == STOPPED and "step" not in kinds(folder)


def test_a_refusal_is_told_in_its_own_words(work):
    def forget_the_data(folder):
        spec = json.loads(folder.spec_file.read_text()) | {"dataset": "gone"}
        folder.spec_file.write_text(json.dumps(spec))

    folder, process = work(digits(), forget_the_data)
    assert process.wait(HANG) == 1
    error = last(folder)["error"]
    assert last(folder)["state"] == FAILED
    assert "named gone" in Refusal.from_json(error).say("en") and "digits" in Refusal.from_json(error).say("en")
    assert "Traceback" not in folder.log()


def test_a_bug_is_told_kindly_and_found_in_the_log_by_its_id(work):
    folder, process = work(digits(), change=lambda folder: (folder.path / "checkpoints").write_text("in the way"))
    assert process.wait(HANG) == 1
    error = last(folder)["error"]
    assert last(folder)["state"] == FAILED
    assert "Traceback" not in json.dumps(error) and "in bigmodel itself" in error["what"]["text"]
    assert f"[error {error['id']}]" in folder.log() and "Traceback" in folder.log()


def test_a_folder_that_is_gone_ends_the_worker_quietly(home):
    gone = str(home / "runs" / "gone")
    assert child_process.start("bigmodel.runs.worker", gone, log=home / "output", survive=True).wait(HANG) == 0
    assert (home / "output").read_bytes() == b"" and not (home / "runs").exists()


def test_only_the_run_folder_and_the_cache_are_written(work, home):
    folder, process = work(digits())
    assert process.wait(HANG) == 0
    assert {path.name for path in home.iterdir()} <= {"runs", "cache", "launch.lock", "staging"}
    assert [path.name for path in (home / "runs").iterdir()] == [folder.id]


def test_a_line_torn_by_a_full_disk_does_not_swallow_the_next(work):
    def tear(folder):
        with folder.events_file.open("ab") as file:
            file.write(b'{"kind": "state", "ti')

    folder, _process = work(endless(), tear)
    wait_for(lambda: states(folder)[-1] == RUNNING)
    folder.append(Event("note", {"words": {"text": "still read"}}))
    assert "note" in kinds(folder)


def test_threads_leave_a_core_for_the_browser(monkeypatch):
    for name in ("OMP_NUM_THREADS", "BIGMODEL_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for cores, wanted in ((1, "1"), (2, "2"), (8, "7")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        assert thread_count() == wanted
    monkeypatch.setenv("BIGMODEL_THREADS", "3")
    assert thread_count() == "3"
