"""Resuming, branching and rolling back through the front desk: real workers, real deaths."""

import shutil

import pytest
from conftest import damage, digits, endless, holder, retold, wait_for

from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED, INTERRUPTED, QUEUED, RUNNING, STOPPED
from bigmodel.core.words import Words
from bigmodel.runs import supervisor
from bigmodel.studio import Studio
from bigmodel.training import resume_state


@pytest.fixture
def studio(home, monkeypatch):
    monkeypatch.setattr(supervisor, "RETRY_DELAYS", (0.2, 0.4, 0.6))
    one = Studio(home)
    one.serve()
    yield one
    for run in one.runs.all():
        one.runs.folder(run.id).request_stop()  # also for a worker that is only about to begin
        worker = holder(one.runs.folder(run.id).lock_file)
        if worker is not None:
            worker.kill()
    one.close()


def reach(studio, run, *states):
    return wait_for(lambda: (found := studio.runs.get(run)).state in states and found)


def kill(studio, run):
    holder(studio.runs.folder(run).lock_file).kill()


def validated(studio, run):
    return wait_for(lambda: studio.runs.checkpoints(run))


def steps(studio, run):
    return [event["step"] for event in studio.runs.events(run, kinds=("step",))[1]]


def died(studio, run, times=1):
    """How it ended the last time, once it has died so often: it goes on soon, so that nobody need see it dead."""
    events = wait_for(lambda: (found := _deaths(studio, run)) and len(found) == times and found)
    return events[-1]


def _deaths(studio, run):
    return [event for event in studio.runs.events(run, kinds=("state",))[1] if event["state"] == INTERRUPTED]


def noted(studio, run):
    return [str(Words.from_json(event["words"])) for event in studio.runs.events(run, kinds=("note",))[1]]


def frequent(**settings):
    spec = endless()
    return spec | {"settings": spec["settings"] | {"eval_every": 20} | settings}


def test_a_run_that_dies_goes_on_by_itself_from_its_checkpoint(studio):
    run = studio.runs.launch(frequent())
    validated(studio, run)
    kill(studio, run)
    died(studio, run)
    reach(studio, run, RUNNING)
    (resumed,) = wait_for(lambda: studio.runs.events(run, kinds=("resume",))[1])
    assert resumed["step"] >= 20
    wait_for(lambda: steps(studio, run)[-1] > resumed["step"] + 20)


def test_a_run_that_the_system_ends_goes_on_by_itself(studio):
    run = studio.runs.launch(frequent())
    wait_for(lambda: studio.runs.get(run).step > 5)
    holder(studio.runs.folder(run).lock_file).terminate()
    assert "The system ended" in str(Words.from_json(died(studio, run)["reason"])) and studio.runs.get(run).has_model
    (resumed,) = wait_for(lambda: studio.runs.events(run, kinds=("resume",))[1])
    told = studio.runs.events(run, kinds=("step", "resume"))[1]
    assert resumed["step"] >= told[[event.kind for event in told].index("resume") - 1]["step"]


def test_the_fourth_death_is_left_to_a_person_who_may_resume(studio):
    run = studio.runs.launch(frequent())
    validated(studio, run)
    for death in range(4):
        wait_for(lambda: holder(studio.runs.folder(run).lock_file) and studio.runs.get(run).state == RUNNING)
        kill(studio, run)
        died(studio, run, times=death + 1)
    told = [event.data for event in studio.runs.events(run, kinds=("state",))[1]]
    assert [event["again"] for event in told if "again" in event] == [1, 2, 3]
    wait_for(lambda: run in studio._supervisor._not_retried)
    studio.runs.resume(run)
    reach(studio, run, RUNNING)


def test_a_stopped_run_is_resumed_and_two_clicks_are_one(studio):
    run = studio.runs.launch(frequent())
    wait_for(lambda: studio.runs.get(run).step > 5)
    studio.runs.stop(run)
    stopped = reach(studio, run, STOPPED)
    studio.runs.resume(run)
    studio.runs.resume(run)
    wait_for(lambda: studio.runs.get(run).step > stopped.step)
    states = [event["state"] for event in studio.runs.events(run, kinds=("state",))[1]]
    assert states.count(QUEUED) == 2 and states.count(RUNNING) == 2


def test_a_resume_under_other_versions_says_what_differs_and_asks(studio):
    run = studio.runs.launch(frequent())
    validated(studio, run)
    studio.runs.stop(run)
    reach(studio, run, STOPPED)
    newest = resume_state.checkpoint_folders(studio.runs.folder(run).path)[0]
    retold(newest, versions=resume_state.read(newest)["versions"] | {"torch": "1.0"}, data="other")
    with pytest.raises(Refusal, match=r"torch was 1\.0 and is .*; the data, or how it is encoded, has changed"):
        studio.runs.resume(run)
    assert studio.runs.get(run).state == STOPPED
    studio.runs.resume(run, anyway=True)
    assert studio.runs.get(run).state != STOPPED
    notes = wait_for(lambda: [note for note in noted(studio, run) if "the same run, bit by bit" in note])
    assert "torch was 1.0" in notes[0] and "has changed" in notes[0]


def test_a_finished_run_is_continued_for_more_epochs_as_a_branch(studio):
    run = studio.runs.launch(digits(epochs=1, max_steps=0))
    done = reach(studio, run, FINISHED)
    with pytest.raises(Refusal, match="come to its end"):
        studio.runs.resume(run)
    more = studio.runs.branch(run, settings={"epochs": 2})
    assert reach(studio, more, FINISHED).plan["steps"] == 2 * done.steps
    assert done.steps < steps(studio, more)[0] <= done.steps + studio.runs.get(more).plan["log_every"]
    assert studio.runs.get(more).spec.parent == {"run": run, "step": done.steps}


def test_a_branch_outlives_its_parent_and_may_not_change_the_network(studio):
    run = studio.runs.launch(digits(epochs=1, max_steps=0))
    reach(studio, run, FINISHED)
    with pytest.raises(Refusal, match="cannot change 'channels'"):
        studio.runs.branch(run, settings={"channels": 64})
    with pytest.raises(Refusal, match="has no checkpoint"):
        studio.runs.branch(run, step=3)
    child = studio.runs.branch(run, settings={"epochs": 2, "learning_rate": 1e-4})
    shutil.rmtree(studio.runs.folder(run).path)
    assert reach(studio, child, FINISHED).result["accuracy"] > 0


def test_rolling_back_halves_the_learning_rate(studio):
    run = studio.runs.launch(frequent())
    validated(studio, run)
    studio.runs.stop(run)
    reach(studio, run, STOPPED)
    child = studio.runs.rollback(run)
    before, after = studio.runs.get(run).spec.settings, studio.runs.get(child).spec.settings
    assert after["learning_rate"] == before["learning_rate"] / 2
    assert studio.runs.get(child).spec.parent["step"] == studio.runs.get(run).best_step


def test_rolling_back_passes_over_what_is_damaged(studio):
    run = studio.runs.launch(frequent())
    validated(studio, run)
    studio.runs.stop(run)
    reach(studio, run, STOPPED)
    best, *others = sorted(studio.runs.checkpoints(run), key=lambda checkpoint: not checkpoint.best)
    damage(best.folder / resume_state.STATE_FILE)
    assert studio.runs.get(studio.runs.rollback(run)).spec.parent["step"] == others[0].step
    with pytest.raises(Refusal, match="is damaged"):
        studio.runs.branch(run, best.step)
    for other in others:
        damage(other.folder / "model.safetensors")
    assert studio.runs.get(studio.runs.rollback(run, token="again")).spec.parent is None
