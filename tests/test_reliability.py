"""Promises hold when things go wrong, and the trials notice when they do not; RELIABILITY.md says what was found."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import learn, small

from benchmarks.__main__ import main
from benchmarks.reliability import command, report
from benchmarks.reliability.row import Outcome, Row
from benchmarks.report import environment
from bigmodel.core import child_process
from bigmodel.core.events import Event
from bigmodel.runs import worker
from bigmodel.runs.store import Store
from bigmodel.training import checkpoint, evaluator, resume_state

ROOT = Path(__file__).parents[1]
FEW = {
    1: 3,
    2: 2,
    3: 2,
    4: 24,
    5: 1,
    6: 1,
    7: 1,
    8: 3,
    9: 14,
    11: 1,
    13: 8,
    14: 39,
    15: 24,
    16: 10,
}  # trials of each row
ALONE = {17}  # rows for the command alone: it waits for what loops; tests/test_isolated_worker.py has its kinds
WAITS = {7}  # rows that wait for minutes when a promise is switched off: that is for the command alone


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("row", sorted(command.MODULES.keys() - ALONE))
def test_a_promise_holds_and_its_trials_notice_when_it_does_not(row, tmp_path):
    options = [
        "--row",
        str(row),
        "--trials",
        str(FEW[row]),
        "--json",
        "--brief",
        *([] if row in WAITS else ["--without"]),
    ]
    log = tmp_path / "log"
    process = child_process.start("benchmarks", "reliability", "--dry", *options, log=log, preloaded=True)
    output = process.stdout.read()
    assert process.wait() == 0, log.read_text("utf-8")
    (found,) = json.loads(output).values()
    assert found["trials"] >= FEW[row] and found["failures"] == 0
    noticed = [one["failures"] > 0 for one in found.get("without", {}).values()]
    assert bool(noticed) != (row in WAITS) and all(noticed)


def test_figures_are_kept_row_by_row_and_what_was_switched_off_before_stays(tmp_path):
    kept = replace(report.REPORT, page=tmp_path / "RELIABILITY.md", folder=tmp_path)
    entry = {"injected": "a|b", "promise": "holds", "trials": 7, "usual": "40", "failures": 0, "worst": "none"}
    entry |= {"seconds": 1.0, "note": "a note", "load": 1.0, "environment": environment(report.PACKAGES)}
    report.save(4, entry | {"without": {"the hash": {"trials": 3, "failures": 2}}}, kept)
    report.save(4, entry | {"trials": 9, "failures": 1}, kept)
    report.save(2, entry, kept)
    assert [(number, each["trials"]) for number, each in kept.figures().items()] == [("2", 7), ("4", 9)]
    text = kept.page.read_text()
    assert "| 4 | the hash | 3 | 2 |" in text and "| 9 of 40 | **1** |" in text


def test_a_row_that_breaks_down_has_failed():
    def breaks(trials, place):
        raise ValueError("no ground to stand on")

    found, _seconds = command.run_row(Row(0, "", "", 3, breaks, {}), 3)
    assert found.failures == ["ValueError: no ground to stand on"] and found.trials == 3
    assert report.is_broken({"failures": 1}) and report.is_broken({"failures": 0, "without": {"x": {"failures": 0}}})
    assert not Outcome().failures


def test_a_row_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["reliability", "--row", "99"])
    assert leaving.value.code == 2 and "There is no row named 99" in capsys.readouterr().err


# -- what the trials have brought to light ------------------------------------------------------------
@pytest.fixture
def saved(tmp_path):
    """A saved folder, and what it was written with."""
    return checkpoint.save(tmp_path / "model", lambda staging: (staging / "a").write_text("old")), tmp_path


def test_a_death_between_the_two_renames_of_a_save_loses_nothing(saved, monkeypatch):
    folder, parent = saved
    monkeypatch.setattr(checkpoint.shutil, "rmtree", lambda *_args, **_more: None)
    checkpoint.save(folder, lambda staging: (staging / "a").write_text("new"))
    monkeypatch.undo()
    folder.rename(parent / ".model.staging")  # as it was a moment before
    checkpoint.recover(parent)
    assert (folder / "a").read_text() == "new" and [path.name for path in parent.iterdir()] == ["model"]


def test_a_save_that_was_not_finished_gives_way_to_the_one_before(saved):
    folder, parent = saved
    folder.rename(parent / ".model.removed")
    (parent / ".model.staging").mkdir()
    checkpoint.recover(parent)
    assert (folder / "a").read_text() == "old" and [path.name for path in parent.iterdir()] == ["model"]


def test_the_best_of_an_older_checkpoint_is_kept_as_long_as_that_one_is(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)
    learn(tmp_path, cache, small("image-classification", "cnn", "digits", max_steps=9, eval_every=2))
    steps = {int(folder.name[5:]) for folder in resume_state.checkpoint_folders(tmp_path)}
    assert {resume_state.best_step(folder) for folder in resume_state.checkpoint_folders(tmp_path)} - {None} <= steps


def test_a_launch_that_died_half_way_does_not_stand_in_the_way_of_the_next(home, monkeypatch):
    store, spec = Store(home), small("image-classification", "cnn", "digits")
    (home / "staging" / "taken" / "spec.json").mkdir(parents=True)
    monkeypatch.setattr(store, "_new_id", lambda _spec, _key: "taken")
    assert store.launch(spec) == "taken" and store.get("taken").state == "queued"


def test_a_state_is_written_into_the_room_kept_for_it(home, monkeypatch):
    store = Store(home)
    folder = store.folder(store.launch(small("image-classification", "cnn", "digits")))
    write = worker.os.write

    def full(file, data):
        if folder.reserve_file.exists() and data.startswith((b'{"kind"', b"\n")):
            raise OSError(28, "No space left on device")
        return write(file, data)

    with worker._event_writer(folder) as ledger:
        assert folder.reserve_file.stat().st_size == worker.RESERVE
        monkeypatch.setattr(worker.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ledger(Event("note", {"words": {"text": "lost"}}))
        ledger(Event("state", {"state": "starting", "device": "cpu"}))
    assert folder.facts()["state"] == "starting" and not folder.reserve_file.exists()
