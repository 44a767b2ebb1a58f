"""Runs are started in order, one a device, and found again whatever is killed: real processes, real signals."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from conftest import HANG, digits, endless, holder, wait_for

from bigmodel.core import child_process, fork_server
from bigmodel.core.errors import Refusal
from bigmodel.core.events import (
    CANCELLED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    STARTING,
    STOPPED,
    Event,
)
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.runs import supervisor as module
from bigmodel.runs.executors.local import WorkerProcess, cause
from bigmodel.runs.folder import Folder
from bigmodel.runs.lock import is_held
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor, ensure_supervisor
from bigmodel.studio import Studio
from bigmodel.training import checkpoint

SERVER = """
import sys, time
from pathlib import Path
from bigmodel.studio import Studio
studio = Studio(Path(sys.argv[1]))
studio.serve()
print("serving", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(home):
    return Store(home)


@pytest.fixture
def supervise(store, monkeypatch):
    """Starts supervisors; stops them and what they train at the end. What died stays so."""
    monkeypatch.setattr(module, "RETRY_DELAYS", (HANG,) * 3)
    started = []

    def start(**options):
        started.append(Supervisor(store, **options))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()
    for id in store.ids():
        end(store.folder(id))


@pytest.fixture
def server(home):
    """Starts servers as processes; all they leave is killed at the end."""
    started = []

    def start(**variables):
        environment = os.environ | variables
        command = [sys.executable, "-c", SERVER, str(home)]
        one = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[1])
        started.append(one)
        assert one.stdout.readline() == b"serving\n"
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()
    for id in Store(home).ids():
        end(Folder(home / "runs" / id))


def gone(pid):
    """Ended, whether or not anybody has asked how."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def end(folder):
    one = holder(folder.lock_file)
    if one is not None:
        one.kill()
        wait_for(lambda: not folder.alive())


def launch(store, spec=None):
    return store.launch(RunSpec.check(spec or endless()))


def states(store, id):
    return [event["state"] for event in store.events(id, kinds=("state",))[1]]


def reach(store, id, *wanted):
    return wait_for(lambda: (run := store.get(id)).state in wanted and run)


# -- the queue ------------------------------------------------------------------------------------
def test_runs_go_one_after_the_other_in_order_and_a_cancelled_one_never(store, supervise):
    first, second, third = (launch(store, digits()) for _ in range(3))
    store.stop(second, _("Enough."))
    supervise()
    runs = [reach(store, id, FINISHED) for id in (first, third)]
    assert runs[0].ended <= runs[1].started
    assert states(store, second) == [QUEUED, CANCELLED]
    assert states(store, first) == [QUEUED, STARTING, RUNNING, FINISHED]


def test_the_queue_outlives_the_supervisor(store, supervise):
    first = launch(store)
    second = launch(store, digits())
    one = supervise()
    reach(store, first, RUNNING)
    one.stop()
    assert (store.get(first).state, store.get(second).position) == (RUNNING, 1)
    supervise()
    store.folder(first).request_stop()
    reach(store, first, STOPPED)
    reach(store, second, FINISHED)
    assert states(store, first).count(RUNNING) == 1


def test_a_folder_that_cannot_be_read_holds_nobody_up(store, supervise):
    broken, empty, good = launch(store), launch(store), launch(store, digits())
    store.folder(broken).spec_file.write_text("{")
    store.folder(empty).events_file.write_bytes(b"\0" * 100)
    (store.runs_folder / "nothing").mkdir()
    (store.runs_folder / "a-file").touch()
    supervise()
    reach(store, good, FINISHED)


@pytest.mark.parametrize("rest", ["{", "{}", '{"versions": 1}'], ids=["torn", "empty", "nonsense"])
def test_a_run_that_died_with_a_damaged_checkpoint_holds_nobody_up(store, supervise, rest):
    dead, good = launch(store), launch(store, digits())
    for event in (
        Event("state", {"state": STARTING}),
        Event("state", {"state": RUNNING}),
        Event("plan", {"steps": 9}),
        Event("state", {"state": INTERRUPTED, "died": True}),
    ):
        store.folder(dead).append(event)
    place = store.folder(dead).path / "checkpoints" / "step-4"
    if "1" in rest:  # written so
        checkpoint.save(place, lambda staging: (staging / "training.json").write_text(rest))
    else:
        place.mkdir(parents=True)
        (place / "training.json").write_text(rest)
    supervise()
    reach(store, good, FINISHED)


def test_a_headless_supervisor_works_the_queue_off_and_leaves(store):
    id = launch(store, digits())
    ensure_supervisor(store)
    wait_for(lambda: is_held(store.supervisor_lock))
    ensure_supervisor(store)  # the second has nothing to do
    reach(store, id, FINISHED)
    wait_for(lambda: not is_held(store.supervisor_lock))


class Clerk:
    """An executor whose workers have nothing to learn: they take the lock, say so, and are done."""

    WORK = """
import sys, time
from pathlib import Path
from bigmodel.core.events import Event
from bigmodel.runs.folder import Folder
folder = Folder(Path(sys.argv[1]))
lock = folder.lock()
assert lock.acquire(240)
if folder.facts()["state"] == "starting":
    folder.append(Event("state", {"state": "running"}))
    time.sleep(0.01)
    folder.append(Event("state", {"state": "finished"}))
"""

    def start(self, folder):
        return WorkerProcess(
            subprocess.Popen([sys.executable, "-c", self.WORK, str(folder)], cwd=Path(__file__).parents[1])
        )

    def prepare(self):
        pass

    def close(self):
        pass


def _client(home, number, commands):
    store, dice = Store(Path(home)), random.Random(number)
    for command in range(commands):
        token = f"{number}-{command}"
        ids = {store.launch(RunSpec.check(digits(name=token)), token=token) for _ in range(3)}
        assert len(ids) == 1
        if dice.random() < 0.2:
            with suppress(Refusal):  # it has ended already
                store.stop(ids.pop(), _("Enough."))


def test_many_clients_at_once_get_each_run_once_in_order_and_alone(store, supervise):
    clients, commands = 4, 5
    supervise(executor=Clerk())
    context = multiprocessing.get_context("spawn")
    started = time.monotonic()
    processes = [context.Process(target=_client, args=(str(store.home), n, commands)) for n in range(clients)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    wait_for(lambda: not store.all(states=(QUEUED, STARTING, RUNNING)))
    runs = store.all(limit=1000)
    ran = sorted((run for run in runs if run.state == FINISHED), key=lambda run: run.number)
    overlaps = sum(after.started < before.ended for before, after in pairwise(ran))
    starts = [store.folder(run.id).facts()["started"] for run in ran]
    inversions = sum(after < before for before, after in pairwise(starts))
    doubles = sum(states(store, run.id).count(RUNNING) != 1 for run in ran)
    names = {run.spec.name for run in runs}
    figures = {
        "commands": clients * commands * 3,
        "runs": len(runs),
        "finished": len(ran),
        "seconds": time.monotonic() - started,
    }
    print(json.dumps(figures | {"overlaps": overlaps, "inversions": inversions, "doubles": doubles}))
    assert len(runs) == len(names) == clients * commands
    assert (overlaps, inversions, doubles) == (0, 0, 0)
    assert {run.state for run in runs} <= {FINISHED, CANCELLED, INTERRUPTED, STOPPED}


# -- workers that die -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "memory"),
        (signal.SIGSEGV, "crashed"),
        (signal.SIGABRT, "crashed"),
        (signal.SIGHUP, "ended from outside"),
    ],
)
def test_a_worker_that_is_killed_is_interrupted_and_the_next_one_starts(store, supervise, number, words):
    first, second = launch(store), launch(store)
    supervise()
    reach(store, first, RUNNING)
    os.kill(holder(store.folder(first).lock_file).pid, number)
    assert words in str(reach(store, first, INTERRUPTED).reason)
    reach(store, second, RUNNING)


def test_a_worker_killed_in_the_middle_of_training_leaves_its_curve(store, supervise):
    id = launch(store)
    supervise()
    wait_for(lambda: store.get(id).step > 20)
    holder(store.folder(id).lock_file).kill()
    run = reach(store, id, INTERRUPTED)
    assert run.step > 20 and run.eta is None and "killed" in str(run.reason)


def test_exit_codes_are_told_in_words():
    assert "exit code 3" in str(cause(3))
    assert "memory" in str(cause(-9)) and "signal 11" in str(cause(-11)) and "signal 15" in str(cause(-15))


def test_a_worker_that_cannot_start_is_told_in_words(store, supervise, monkeypatch):
    monkeypatch.setenv(fork_server.VARIABLE, fork_server.OFF)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    id = launch(store)
    supervise()
    assert "could not be started" in str(reach(store, id, FAILED).error)


# -- servers that die -----------------------------------------------------------------------------
def test_a_run_goes_on_when_the_server_is_killed_and_is_found_again(home, store, server):
    one = server()
    id = launch(store)
    wait_for(lambda: store.get(id).step > 5)
    one.kill()
    one.wait()
    worker, step = holder(store.folder(id).lock_file).pid, store.get(id).step
    wait_for(lambda: store.get(id).step > step)  # nobody serves, it goes on
    studio = Studio(home)
    studio.serve()
    assert studio.runs.get(id).state == RUNNING and not studio.read_only, "found at the first look"
    step = studio.runs.get(id).step
    wait_for(lambda: studio.runs.get(id).step > step)
    studio.runs.stop(id)
    run = reach(store, id, STOPPED)
    steps = [event["step"] for event in studio.runs.events(id, kinds=("step",))[1]]
    studio.close()
    assert steps == sorted(set(steps)), "a curve without gap or double"
    assert run.has_model and len(store.all()) == 1 and states(store, id).count(RUNNING) == 1
    wait_for(lambda: gone(worker))


def test_a_run_that_died_with_its_server_is_interrupted(store, server, supervise):
    one = server()
    id = launch(store)
    reach(store, id, RUNNING)
    one.kill()
    one.wait()
    holder(store.folder(id).lock_file).kill()
    supervise()
    assert "is gone" in str(reach(store, id, INTERRUPTED).reason)


def test_a_run_whose_worker_never_came_is_interrupted_after_a_while(store, supervise, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", HANG)
    id = launch(store)
    store.folder(id).append(Event("state", {"state": STARTING, "device": "cpu"}))
    one = supervise()
    wait_for(lambda: id in one._missing_since)
    assert store.get(id).state == STARTING
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    assert "before the training had begun" in str(reach(store, id, INTERRUPTED).reason)


def test_a_worker_that_comes_too_late_leaves_the_run_alone(store):
    id = launch(store)
    for state in (STARTING, INTERRUPTED):
        store.folder(id).append(Event("state", {"state": state}))
    before = store.folder(id).events_file.read_bytes()
    folder = store.folder(id)
    late = child_process.start("bigmodel.runs.worker", str(folder.path), log=folder.log_file, survive=True)
    assert late.wait(HANG) == 0
    assert store.folder(id).events_file.read_bytes() == before


def test_the_second_server_only_looks_and_takes_over_when_the_first_is_gone(home, store, server):
    one = server()
    id = launch(store)
    studio = Studio(home)
    studio.serve()
    assert studio.read_only and studio.runs.get(id)
    acts = {
        studio.runs.launch: (digits(),),
        **dict.fromkeys((studio.runs.stop, studio.runs.resume, studio.runs.delete, studio.runs.branch), (id,)),
        studio.runs.rollback: (id,),
        **dict.fromkeys((studio.imports.paste, studio.imports.open_upload, studio.imports.add_path), ("text",)),
        studio.imports.add_hub_dataset: ({}, "default", ["train"], 10),
        studio.imports.begin: ("parcel", {}),
        **dict.fromkeys((studio.versions.begin, studio.versions.derive), ("digits", [])),
        **dict.fromkeys((studio.data.set_newest, studio.data.delete), ("mine",)),
        **dict.fromkeys((studio.base_models.fetch, studio.base_models.delete), ("poet",)),
    }
    for act, arguments in acts.items():
        with pytest.raises(Refusal, match="Another bigmodel server"):
            act(*arguments)
    assert len(store.all()) == 1
    one.kill()
    one.wait()
    wait_for(lambda: not studio.read_only)
    studio.runs.stop(id)
    reach(store, id, STOPPED, CANCELLED)
    studio.close()


# -- the fork server ------------------------------------------------------------------------------
def fork_servers(process):
    children = (child for child in psutil.Process(process.pid).children() if not gone(child.pid))
    return [child for child in children if fork_server.__name__ in child.cmdline()]


def test_a_run_is_forked_with_its_libraries_and_outlives_the_server_and_its_fork_server(store, server):
    one = server(BIGMODEL_FORK_SERVER="")
    (process,) = wait_for(lambda: fork_servers(one))
    socket = Path(process.cmdline()[-2])
    wait_for(socket.exists)
    launch(store, digits())
    wait_for(lambda: store.all()[0].state == FINISHED)  # the data is cached, as on a server in use
    begun, id = time.time(), launch(store, endless())
    wait_for(lambda: store.get(id).loss is not None)
    print(json.dumps({"first loss": store.events(id, kinds=("step",))[1][0].time - begun}))
    worker = holder(store.folder(id).lock_file)
    assert not _libraries(worker) - _libraries(process), "none is loaded between the click and the first loss"
    assert worker.ppid() == process.pid and os.getsid(worker.pid) == worker.pid
    assert os.readlink(f"/proc/{worker.pid}/fd/2") == str(store.folder(id).log_file)
    one.kill()
    one.wait()
    wait_for(lambda: gone(process.pid) and not socket.parent.exists())
    step = store.get(id).step
    wait_for(lambda: store.get(id).step > step)


def _libraries(process):
    return {part.path for part in process.memory_maps() if ".so" in part.path}
