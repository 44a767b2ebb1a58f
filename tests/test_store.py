"""Run folders and the index over them: the folders are the truth, the index only makes them quick."""

import multiprocessing
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import HANG

from bigmodel.core import limits
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
from bigmodel.runs.folder import Folder
from bigmodel.runs.index import IndexWriter
from bigmodel.runs.lock import Lock, is_held
from bigmodel.runs.run import apply_event, build_run, empty_facts, fold
from bigmodel.runs.store import Store

SPEC = RunSpec("text-generation", "gpt", "classics-en", {"epochs": 2, "device": "auto"})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def state(name, time=0.0, **data):
    return Event("state", {"state": name, **data}, time=time)


def step(number, seconds, loss=1.0):
    return Event("step", {"step": number, "epoch": 0.1, "loss": loss, "seconds": seconds}, time=100 + seconds)


def story(*events):
    return fold("a-run", SPEC, [state(QUEUED, 1), state(STARTING, 2), state(RUNNING, 3), *events])


def index_of(store):
    index = IndexWriter(store.index_file)
    for id in store.ids():
        index.sync_run(store.folder(id))
    return index


def contents(store):
    with sqlite3.connect(store.index_file) as file:
        runs = file.execute("SELECT id, offset, state, number, spec, facts FROM runs ORDER BY id").fetchall()
        lines = "SELECT id, events.offset, kind, line FROM events JOIN runs ON run = key ORDER BY id, events.offset"
        return runs, file.execute(lines).fetchall()


# -- a run is a fold ------------------------------------------------------------------------------
def test_a_run_is_what_its_events_say():
    run = story(
        Event("plan", {"steps": 100}),
        step(10, 1.0, loss=2.5),
        Event("validation", {"step": 10, "metrics": {"loss": 2.4}}),
        Event("checkpoint", {"step": 10, "path": "checkpoints/step-10", "best": True}),
        state(FINISHED, 200, reason=_("Done.").to_json()),
        Event("result", {"step": 10, "metrics": {"loss": 2.3}}),
    )
    assert (run.state, str(run.reason), run.step, run.steps, run.loss) == (FINISHED, "Done.", 10, 100, 2.5)
    assert (run.best, run.best_step, run.result) == ({"loss": 2.4}, 10, {"loss": 2.3})


def test_illegal_transitions_change_nothing():
    run = story(state(CANCELLED), state(QUEUED), state("asleep"))
    assert run.state == RUNNING
    assert story(state(FINISHED), state(RUNNING), state(INTERRUPTED)).state == FINISHED


def test_events_without_their_numbers_change_nothing():
    run = story(
        step(5, 1.0), Event("step", {}), Event("validation", {"step": "x"}), Event("state", {}), Event("new", {})
    )
    assert (run.step, run.state) == (5, RUNNING)


def test_a_loss_that_is_no_number_is_not_zero():
    run = story(Event("step", {"step": 1, "loss": float("nan"), "seconds": 1.0}))
    assert run.loss != run.loss


def test_the_first_slow_step_is_not_in_the_eta():
    plan = Event("plan", {"steps": 102})
    assert story(plan, step(1, 60.0)).eta is None
    assert story(plan, step(1, 60.0), step(2, 60.1)).eta == pytest.approx(10.0, rel=0.01)


def test_steps_of_long_sentences_count_for_more_than_one_in_the_eta():
    """Fifty steps of twice the usual length have taken 10 s: fifty as usual will take 5."""
    long = [
        Event("step", one.data | {"work": 2.0 * one["step"]}) for one in (step(1, 0.2), step(25, 5.0), step(50, 10.0))
    ]
    assert story(Event("plan", {"steps": 100}), *long).eta == pytest.approx(5.0)
    assert story(Event("plan", {"steps": 100}), step(1, 0.2), step(25, 5.0), step(50, 10.0)).eta == pytest.approx(10.0)


def test_what_is_only_looked_at_is_in_the_eta():
    """100 steps of 0.1 s, a validation of 4 s each 25, twice as much to do at the test; three answers, a checkpoint."""
    plan = Event("plan", {"steps": 100, "steps_per_epoch": 25, "passes": {"validation": 30, "test": 60.0}})
    looked = Event("validation", {"step": 25, "metrics": {"accuracy": 0.5, "loss": 1.0}, "seconds": 4.0})
    asked = [Event("sample", {"step": at, "seconds": seconds}) for at, seconds in ((0, 9.0), *[(25, 0.5)] * 3)]
    kept = Event("checkpoint", {"step": 25, "best": True, "seconds": 0.25})
    begun, half = [plan, step(24, 2.4), step(25, 2.5)], [step(49, 4.9), step(50, 5.0)]
    unknown = 30 * 0.1 * 0.4  # a pass without a way back
    assert story(*begun).eta == pytest.approx(7.5 + 4 * unknown + 2 * unknown)
    probed = {"precision": "bf16", "threads": 1, "probe_seconds": {"fp32, 1": 0.2, "fp32, 2": 0.1, "bf16, 1": 0.1}}
    hasty = Event("plan", plan.data | probed)
    assert story(hasty, *begun[1:]).eta == pytest.approx(7.5 + 6 * 2 * unknown), "it is measured in fp32"
    tried = Event("plan", plan.data | {"pass_seconds": 0.05})
    assert story(tried, *begun[1:]).eta == pytest.approx(7.5 + 6 * 30 * 0.05), "what was tried before the first step"
    assert story(*begun, looked).eta == pytest.approx(7.5 + 3 * 4 + 2 * 4)
    assert story(*begun, looked, *asked).eta == pytest.approx(7.5 + 3 * (4 + 1.5) + 2 * 4), "the newest answers count"
    cold = [Event("sample", {"step": 0, "seconds": seconds}) for seconds in (9.0, 0.5, 0.5)]
    assert story(*begun, looked, *cold).eta == pytest.approx(7.5 + 3 * (4 + 1.5) + 2 * 4), "the first loads libraries"
    worse = Event("validation", looked.data | {"step": 50})
    assert story(*begun, looked, kept, *half, worse).eta == pytest.approx(5.0 + 2 * (4 + 0.25 / 2) + 2 * 4 + 0.25)
    assert story(*begun, looked, kept).eta == pytest.approx(7.5 + 3 * 4.25 + 2 * 4 + 0.25), "and the model at the end"
    assert story(*begun, looked, *half).eta == pytest.approx(5.0 + 3 * 4 + 2 * 4), "the one at 50 is going on"
    ended = Event("validation", {"step": 100, "metrics": {"accuracy": 0.5, "loss": 1.0}, "seconds": 4.0})
    assert story(*begun, looked, *half, step(100, 10.0), ended).eta == pytest.approx(2 * 4), "the test"


def test_the_first_slow_measurement_is_not_in_the_eta_once_there_is_another():
    """Ten measurements, the first of 3 s and then of 0.1 s each; 100 steps of 0.1 s."""
    plan = Event("plan", {"steps": 100, "steps_per_epoch": 10, "passes": {"validation": 1, "test": 1.0}})
    looked = [
        Event("validation", {"step": at, "metrics": {"accuracy": 0.5, "loss": 1.0}, "seconds": seconds})
        for at, seconds in ((10, 3.0), (20, 0.1))
    ]
    begun = [plan, step(9, 0.9), step(10, 1.0)]
    assert story(*begun, looked[0]).eta == pytest.approx(9 + 9 * 3 + 3)
    assert story(*begun, looked[0], step(20, 2.0), looked[1]).eta == pytest.approx(8 + 8 * 0.1 + 0.1)


def test_a_few_slow_seconds_hardly_change_the_eta():
    plan, facts = Event("plan", {"steps": 10_000}), empty_facts()
    for event in (state(QUEUED, 1), state(STARTING, 2), state(RUNNING, 3), plan):
        apply_event(facts, event)
    for number in range(1, 1001):
        apply_event(facts, step(number, 0.1 * number + 0.9 * max(number - 980, 0)))
    assert build_run("a-run", SPEC, facts).eta == pytest.approx(900, rel=0.4), "at ten times the pace it were 9,000"
    assert len(facts["recent"]) <= 60 and facts["recent"][0][0] == 1


def test_a_run_that_has_just_gone_on_has_the_speed_that_it_had_before():
    """1,000 steps of 0.1 s; killed after 400, it goes on from step 300, whose stopwatch reads what it had read then, and
    after a slow second; soon it takes 0.2 s a step."""
    plan, facts = Event("plan", {"steps": 1000, "device": "cpu", "precision": "bf16", "threads": 2}), empty_facts()

    def left():
        return build_run("a-run", SPEC, facts).eta

    for event in (state(QUEUED, 1), state(STARTING, 2), state(RUNNING, 3), plan):
        apply_event(facts, event)
    for number in range(1, 401):
        apply_event(facts, step(number, 0.1 * number))
    for event in (state(INTERRUPTED, 50), state(QUEUED, 51), state(STARTING, 52), state(RUNNING, 53), plan):
        apply_event(facts, event)
    for number in range(301, 311):
        apply_event(facts, step(number, 31.0 + 0.2 * (number - 300)))
    assert left() == pytest.approx(690 * 0.1, rel=0.1), "the few new steps hardly count yet"
    for number in range(311, 361):
        apply_event(facts, step(number, 31.0 + 0.2 * (number - 300)))
    assert left() == pytest.approx(640 * 0.2, rel=0.01), "by now they say how fast it is"
    for event in (state(INTERRUPTED, 80), state(QUEUED, 81), state(STARTING, 82), state(RUNNING, 83)):
        apply_event(facts, event)
    apply_event(facts, Event("plan", plan.data | {"device": "cuda"}))
    assert left() is None, "another device has another speed"


def test_a_clock_that_jumps_changes_neither_eta_nor_order():
    jumped = [
        Event("step", {"step": n, "loss": 1.0, "seconds": n * 0.5}, time=t) for n, t in ((1, 5), (2, 9e9), (3, 7))
    ]
    run = story(Event("plan", {"steps": 5}), *jumped)
    assert run.eta == pytest.approx(1.0)
    assert story(*jumped, state(FINISHED, time=2)).ended >= 9e9  # never before it began


# -- the kernel's lock ----------------------------------------------------------------------------
def _hold(path, ready):
    Lock(path).acquire()
    ready.set()
    time.sleep(HANG)


def test_a_lock_is_free_the_moment_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(HANG)
    assert is_held(tmp_path / "lock")
    assert not Lock(tmp_path / "lock").acquire()
    holder.kill()
    holder.join()
    assert not is_held(tmp_path / "lock")
    assert Lock(tmp_path / "lock").acquire()


def test_looking_at_a_lock_makes_no_file(tmp_path):
    assert not is_held(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


# -- launched -------------------------------------------------------------------------------------
def test_a_launched_run_is_seen_at_once(store):
    id = store.launch(SPEC)
    assert [(run.id, run.state, run.position) for run in store.all()] == [(id, QUEUED, 1)]
    assert store.get(id).spec == SPEC
    assert id.count("-") >= 4 and "gpt-classics-en" in id


def test_the_same_token_is_one_run(store):
    first = store.launch(SPEC, token="a click")
    assert store.launch(SPEC, token="a click") == first
    assert store.launch(SPEC, token="another click") != first
    assert store.launch(SPEC) != store.launch(SPEC)


def _launch(home, start, ids):
    start.wait()
    ids.put(Store(Path(home)).launch(SPEC, token="the same"))


def test_the_same_token_from_eight_processes_is_one_run(store):
    context = multiprocessing.get_context("spawn")
    start, ids = context.Event(), context.Queue()
    clients = [context.Process(target=_launch, args=(str(store.home), start, ids)) for _ in range(8)]
    for client in clients:
        client.start()
    start.set()
    assert len({ids.get(timeout=HANG) for _ in clients}) == 1
    assert len(store.all()) == 1
    for client in clients:
        client.join()


def test_a_token_with_the_same_ending_is_another_run(store):
    """Ids end in four characters of the token's hash; these two share them."""
    assert store.launch(SPEC, token="a") != store.launch(SPEC, token="b")
    first, second = _two_tokens_with_one_ending()
    assert store.launch(SPEC, token=first) != store.launch(SPEC, token=second)


def _two_tokens_with_one_ending():
    import hashlib

    seen = {}
    for number in range(10_000):
        ending = hashlib.sha256(str(number).encode()).hexdigest()[:4]
        if ending in seen:
            return seen[ending], str(number)
        seen[ending] = str(number)
    raise AssertionError("no two")


def test_the_queue_has_an_end(store, monkeypatch):
    monkeypatch.setattr(limits, "QUEUE_LENGTH", 2)
    store.launch(SPEC), store.launch(SPEC)
    with pytest.raises(Refusal, match="2 runs are waiting"):
        store.launch(SPEC)


def test_runs_stand_in_order_of_launch_whatever_the_clock_says(store, monkeypatch):
    clock = iter([2e9, 1e9, 1.5e9])
    monkeypatch.setattr(time, "time", lambda: next(clock, 1.7e9))
    ids = [store.launch(SPEC) for _ in range(3)]
    assert [run.id for run in store.all()] == ids[::-1]
    assert [run.position for run in store.all()] == [3, 2, 1]


# -- stopped, deleted ------------------------------------------------------------------------------
def test_a_waiting_run_is_cancelled_at_once(store):
    first, second = store.launch(SPEC), store.launch(SPEC)
    store.stop(first, _("Enough."))
    assert (store.get(first).state, str(store.get(first).reason)) == (CANCELLED, "Enough.")
    assert store.get(second).position == 1


def test_a_run_that_has_ended_cannot_be_stopped(store):
    id = store.launch(SPEC)
    store.stop(id, _("Enough."))
    with pytest.raises(Refusal, match="not running"):
        store.stop(id, _("Enough."))


def test_a_run_with_a_worker_is_not_deleted(store):
    id = store.launch(SPEC)
    store.folder(id).append(state(STARTING))
    with pytest.raises(Refusal, match="Stop it first"):
        store.delete(id)
    assert store.get(id).state == STARTING


def test_a_deleted_run_is_gone_from_list_and_disk(store):
    id = store.launch(SPEC)
    index = index_of(store)
    store.delete(id)
    assert store.all() == [] and not any(store.trash.iterdir())
    with pytest.raises(Refusal, match="There is no run"):
        store.get(id)
    index.close()


@pytest.mark.parametrize("id", ["", ".", "..", "../..", "/etc", "nothing", "a\0b", "~"])
def test_names_that_are_no_runs_are_refused(store, id):
    (store.home / "runs").mkdir()
    for act in (store.get, store.events, store.delete):
        with pytest.raises(Refusal, match="There is no run"):
            act(id)


# -- read, with and without the index ---------------------------------------------------------------
def fill(store, runs=5, steps=40):
    for number in range(runs):
        folder = store.folder(store.launch(SPEC))
        folder.append(state(STARTING, device="cpu"))
        folder.append(state(RUNNING))
        folder.append(Event("plan", {"steps": steps}))
        for n in range(1, steps + 1):
            folder.append(step(n, n * 0.1, loss=float("nan") if n == 7 else 1 / n))
        folder.append(state((FINISHED, FAILED, STOPPED)[number % 3]))


def test_an_index_deleted_and_built_again_is_the_same(store):
    fill(store)
    index_of(store).close()
    before, runs = contents(store), store.all()
    store.index_file.unlink()
    assert store.all() == runs  # from the folders alone
    index_of(store).close()
    assert contents(store) == before and store.all() == runs


def test_an_index_taken_in_bit_by_bit_equals_one_built_at_once(store):
    folder = store.folder(store.launch(SPEC))
    index = IndexWriter(store.index_file)
    for event in (
        state(STARTING),
        state(RUNNING),
        Event("plan", {"steps": 9}),
        step(1, 0.1),
        step(2, 0.2),
        state(FINISHED),
    ):
        folder.append(event)
        assert index.sync_run(folder)
        assert not index.sync_run(folder)
    bit_by_bit = contents(store)
    index.rebuild()
    index.sync_run(folder)
    assert contents(store) == bit_by_bit
    index.close()


def test_the_index_is_mended_when_it_is_deleted_or_broken_under_way(store):
    fill(store, runs=2)
    index = index_of(store)
    store.index_file.unlink()
    for id in store.ids():
        assert index.sync_run(store.folder(id))
    index.close()
    store.index_file.write_bytes(b"this is no database" * 1000)
    assert len(store.all()) == 2  # readers do not need it
    index_of(store).close()
    assert len(contents(store)[0]) == 2


def test_events_come_once_and_in_order_however_far_the_index_is(store):
    folder = store.folder(store.launch(SPEC))
    index = IndexWriter(store.index_file)
    seen, cursor = [], 0
    for n in range(1, 30):
        folder.append(step(n, n))
        if n % 7 == 0:
            index.sync_run(folder)
        cursor, fresh = store.events(folder.id, cursor, kinds=("step",))
        seen += [event["step"] for event in fresh]
    assert seen == list(range(1, 30))
    assert store.events(folder.id, cursor) == (cursor, [])
    assert [e["step"] for e in store.events(folder.id, 0, kinds=("step",))[1]] == seen
    index.close()


def test_numbers_that_are_not_finite_survive_the_index(store):
    fill(store, runs=1)
    index_of(store).close()
    (id,) = store.ids()
    losses = [event["loss"] for event in store.events(id, kinds=("step",))[1]]
    assert losses[6] != losses[6] and losses[5] == pytest.approx(1 / 6)


def test_half_a_line_waits_and_a_torn_line_is_passed_over(store):
    folder = store.folder(store.launch(SPEC))
    line = step(1, 0.1).line()
    with folder.events_file.open("ab", buffering=0) as file:
        file.write(line[:10])
        cursor, fresh = store.events(folder.id, kinds=("step",))
        assert fresh == []
        file.write(b"\n" + step(2, 0.2).line())
    assert [event["step"] for event in store.events(folder.id, cursor)[1]] == [2]
    index_of(store).close()
    assert store.get(folder.id).step == 2


def test_a_folder_that_cannot_be_read_is_left_out_and_says_why(store):
    good, bad = store.launch(SPEC), store.launch(SPEC)
    store.folder(bad).spec_file.write_text("{")
    (store.runs_folder / "just-a-folder").mkdir()
    (store.runs_folder / "just-a-file").write_text("")
    assert [run.id for run in store.all()] == [good]
    for id in (bad, "just-a-folder"):
        with pytest.raises(Refusal, match="cannot be read"):
            store.get(id)


def test_an_old_state_of_a_folder_put_back_is_read_anew(store):
    folder = store.folder(store.launch(SPEC))
    old = folder.events_file.read_bytes()
    folder.append(state(STARTING))
    index = index_of(store)
    folder.events_file.write_bytes(old)
    assert store.get(folder.id).state == QUEUED
    index.sync_run(folder)
    assert contents(store)[0][0][2] == QUEUED
    index.close()


def test_a_thousand_runs_are_listed_without_reading_one_of_them(store, monkeypatch):
    first = store.launch(SPEC).split("-", 2)
    template = store.folder("-".join(first))
    for event in (
        state(STARTING),
        state(RUNNING),
        Event("plan", {"steps": 9}),
        step(1, 1.0),
        step(2, 2.0),
        state(FINISHED),
    ):
        template.append(event)
    for number in range(999):
        copy = store.runs_folder / f"{first[0]}-{number:06d}-copy"
        copy.mkdir()
        for file in (template.spec_file, template.events_file):
            (copy / file.name).write_bytes(file.read_bytes())
    index = index_of(store)
    monkeypatch.setattr(Folder, "events", None)  # from the index alone: 1,000 small files take seconds
    monkeypatch.setattr(Folder, "spec", None)
    assert len(store.all(limit=1000)) == 1000
    index.close()


def test_branches_are_found_however_far_the_index_is(store):
    parent, other = store.launch(SPEC), store.launch(SPEC)
    index = IndexWriter(store.index_file)
    for id in (parent, other, store.launch(replace(SPEC, parent={"run": parent, "step": 1}))):
        index.sync_run(store.folder(id))
    newest = store.launch(replace(SPEC, parent={"run": parent, "step": 2}))
    assert [run.spec.parent["step"] for run in store.branches(parent)] == [2, 1]
    assert store.branches(parent)[0].id == newest and store.branches(other) == []


def test_a_home_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Refusal, match="BIGMODEL_HOME"):
        Store(tmp_path / "file")


def test_a_flood_of_output_does_not_fill_the_disk(store, monkeypatch):
    monkeypatch.setattr(limits, "LOG_BYTES", 64_000)
    folder = store.folder(store.launch(SPEC))
    with folder.log_file.open("ab", buffering=0) as worker:
        worker.write(b"x" * 99 + b"\n")
        folder.trim_log()
        assert folder.log_file.stat().st_size == 100, "a short log is left alone"
        for number in range(1000):
            worker.write(f"{number:099}\n".encode())
        folder.trim_log()
        worker.write(b"the last word\n")
    assert folder.log_file.stat().st_size < 5_000
    assert folder.log().startswith("[bigmodel: the log had grown too long") and folder.log().endswith("last word\n")
    assert f"{999:099}" in folder.log()
