"""Encoded data: what is kept beside them, what they cost a second time, and what becomes of them when room is wanted."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as parquet
import pytest
from conftest import digits, learn, small

from bigmodel.core import catalog, disk_space, fingerprints, limits
from bigmodel.core.events import FINISHED, INTERRUPTED, QUEUED, Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words
from bigmodel.data import cache_eviction, prepare
from bigmodel.data.prepare import PINNED, head, run_cache_key
from bigmodel.runs.supervisor import Supervisor
from bigmodel.studio import Studio

SPEC = small("image-classification", "cnn", "digits", max_steps=4, eval_every=2)
DAY = 86_400


def prepared(spec, cache):
    return prepare.prepare(spec.resolve(), cache)


# -- a second run ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("names", [("image-classification", "cnn", "digits"), ("dialogue", "gpt", "dialogue_en"),
                                   ("text-classification", "lstm", "verse_zh"), ("translation", "transformer", "en_zh")])  # fmt: skip
def test_a_second_run_does_not_read_the_rows_again(names, tmp_path, monkeypatch):
    spec = small(*names)
    first = prepared(spec, tmp_path)
    monkeypatch.setattr(prepare, "_head", lambda *_: pytest.fail("the rows were read again"))
    second = prepared(spec, tmp_path)
    assert first.pinned and second.pinned == first.pinned
    rows = [row for row in parquet.read_table(catalog.dataset(names[2]).path()).to_pylist() if row["split"] == "validation"]  # fmt: skip
    assert first.pinned == catalog.task(names[0]).pinned(rows[:40], spec.settings)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"PAR1, torn")])
def test_data_encoded_before_rows_were_kept_are_read_as_before(tmp_path, damage):
    first = prepared(SPEC, tmp_path)
    (kept,) = (tmp_path / "encoded").glob(f"*/{PINNED}")
    damage(kept)
    assert prepared(SPEC, tmp_path).pinned == first.pinned


def test_the_first_rows_of_a_split_are_those_of_the_file():
    rows = parquet.read_table(catalog.dataset("digits").path()).to_pylist()
    for split in ("train", "validation", "test", "nothing"):
        assert head(catalog.dataset("digits"), split, 300) == [row for row in rows if row["split"] == split][:300]


# -- fingerprints -----------------------------------------------------------------------------------------------------
@pytest.fixture
def file(home):
    fingerprints.set_cache_home(home)
    one = home / "rows.parquet"
    one.write_bytes(b"one")
    os.utime(one, (1, 1))
    yield one
    fingerprints._cache_home = None


def settled(monkeypatch):
    """Some seconds later."""
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(fingerprints.time, "time_ns", lambda: later)


def test_a_file_that_stays_as_it_is_is_hashed_once(file, monkeypatch):
    settled(monkeypatch)
    first = fingerprints.fingerprint(file)
    monkeypatch.setattr(fingerprints, "_hash", lambda _path: pytest.fail("hashed again"))
    assert fingerprints.fingerprint(file) == first


def test_other_bytes_of_the_same_length_and_time_are_noticed(file, monkeypatch):
    settled(monkeypatch)
    first = fingerprints.fingerprint(file)
    file.write_bytes(b"two")
    os.utime(file, (1, 1))  # as a copy that keeps times would
    assert file.stat().st_mtime == 1 and fingerprints.fingerprint(file) != first


def test_what_has_just_been_written_is_not_kept(file):
    fingerprints.fingerprint(file)
    assert not list((file.parent / "cache").rglob("*.json")), "it may change under the very same times"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"path": 1}'])
def test_a_damaged_note_is_written_anew(file, monkeypatch, damage):
    settled(monkeypatch)
    first = fingerprints.fingerprint(file)
    (kept,) = (file.parent / "cache" / "fingerprints").iterdir()
    kept.write_bytes(damage)
    assert fingerprints.fingerprint(file) == first and kept.read_bytes() != damage


# -- the cache is cleared -----------------------------------------------------------------------------------------------
def entry(cache, name, days, size=1000):
    """Encoded data of some size, last used so many days ago."""
    folder = cache / "encoded" / name
    folder.mkdir(parents=True)
    (folder / "train.tokens.npy").write_bytes(bytes(size))
    (folder / "facts.json").write_text("{}")
    os.utime(folder / "facts.json", (time.time() - days * DAY,) * 2)


def names(cache):
    return sorted(folder.name for folder in (cache / "encoded").iterdir())


def test_what_was_long_not_used_leaves_the_cache(tmp_path):
    for name, days in (("old", 91), ("older", 200), ("new", 89)):
        entry(tmp_path, name, days)
    assert cache_eviction.evict(tmp_path, lambda: {"older"}) == ["old"]
    assert names(tmp_path) == ["new", "older"]


def test_beyond_its_room_the_longest_unused_leaves_but_nothing_of_the_last_day(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ENCODED_BYTES", 2500)
    for name, days in (("a", 40), ("b", 30), ("c", 20), ("d", 0.5), ("e", 0.1)):
        entry(tmp_path, name, days)
    assert cache_eviction.evict(tmp_path, lambda: {"a"}) == ["b", "c"]
    assert names(tmp_path) == ["a", "d", "e"]


def test_nothing_is_asked_where_nothing_could_leave(tmp_path):
    entry(tmp_path, "new", 3)
    assert cache_eviction.evict(tmp_path, lambda: pytest.fail("asked")) == []
    assert cache_eviction.evict(tmp_path / "no-cache", lambda: pytest.fail("asked")) == []


def test_remainders_of_the_killed_leave_and_an_encoding_under_way_stays(tmp_path):
    for name in (".staging-dead", ".staging-busy", ".removed-half"):
        (tmp_path / "encoded" / name).mkdir(parents=True)
        (tmp_path / "encoded" / name / "train.npy").touch()
    for path in (tmp_path / "encoded" / ".staging-dead", tmp_path / "encoded" / ".staging-dead" / "train.npy"):
        os.utime(path, (1, 1))
    cache_eviction.evict(tmp_path, set)
    assert names(tmp_path) == [".staging-busy"]


def test_using_encoded_data_keeps_them(tmp_path):
    prepared(SPEC, tmp_path)
    (folder,) = (tmp_path / "encoded").iterdir()
    os.utime(folder / "facts.json", (1, 1))
    prepared(SPEC, tmp_path)
    assert cache_eviction.evict(tmp_path, set) == []


def test_a_run_that_waits_or_can_be_resumed_keeps_its_data_and_one_that_is_done_does_not(home):
    studio = Studio(home)
    specs = [digits(side=side) for side in ("32", "64", "96")]
    waits, stopped, done = (studio.runs.launch(spec) for spec in specs)
    for run, last in ((stopped, "stopped"), (done, "finished")):
        for state in ("starting", "running", last):
            studio.runs.folder(run).append(Event("state", {"state": state}))
    for spec in specs:
        entry(studio.runs.cache, run_cache_key(RunSpec.check(spec)), 100)
    supervisor = Supervisor(studio.runs)
    supervisor.executor.start = lambda path: None
    marks = supervisor._sync_index()
    cache_eviction.evict(studio.runs.cache, lambda: supervisor._needed_cache_keys(marks))
    assert names(studio.runs.cache) == sorted(run_cache_key(RunSpec.check(spec)) for spec in specs[:2])
    assert studio.runs.get(waits).state == QUEUED
    supervisor.close()


# -- room on the disk ---------------------------------------------------------------------------------------------------
def ended(folder, cache, spec=SPEC):
    last = learn(folder, cache, spec)[-1]
    return last["state"], str(Words.from_json(last["reason"]))


def test_without_room_for_the_encoded_data_a_run_is_interrupted_and_says_for_what(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(disk_space, "MARGIN", 2**60)
        state, reason = ended(tmp_path / "run", tmp_path)
    assert state == INTERRUPTED and "MB are missing for the encoded data" in reason
    assert not names(tmp_path), "nothing half written stays"
    assert ended(tmp_path / "run", tmp_path)[0] == FINISHED


def test_how_much_many_rows_will_take_is_known_from_a_few(tmp_path, monkeypatch):
    spec, told = small("text-generation", "lstm", "poetry_zh"), []
    real = disk_space.check
    monkeypatch.setattr(
        disk_space, "check", lambda folder, needed, wanted: told.append(needed) or real(folder, needed, wanted)
    )
    prepared(spec, tmp_path)
    (folder,) = (tmp_path / "encoded").iterdir()
    arrays = sum(file.stat().st_size for file in folder.glob("*.npy"))
    assert told[1] == pytest.approx(arrays, rel=0.2)


def small_disk(limit):
    """Only so many bytes can be written into one file; what the system says then is what a full disk says."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@pytest.fixture
def short():
    yield small_disk
    small_disk(-1)


def test_a_disk_that_fills_up_while_data_are_encoded_says_what_that_needs(tmp_path, short, monkeypatch):
    (tmp_path / "run").mkdir()
    free = iter([2**40] * 3)  # whenever it is looked at before the first array is written, and nothing afterwards
    with monkeypatch.context() as patch:
        patch.setattr(disk_space.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=next(free, 0)))
        short(20_000)
        state, reason = ended(tmp_path / "run", tmp_path)
        short(-1)
    assert state == INTERRUPTED and "MB are missing for the encoded data" in reason
    assert not names(tmp_path), "nothing half written stays"
    assert ended(tmp_path / "run", tmp_path)[0] == FINISHED


def test_without_room_for_the_model_a_run_is_interrupted_and_makes_it_when_resumed(tmp_path, cache, monkeypatch):
    real = disk_space.check
    with monkeypatch.context() as patch:
        patch.setattr(disk_space, "check", lambda folder, needed, wanted: real(folder, needed + 2**60 * (wanted == disk_space.MODEL), wanted))  # fmt: skip
        state, reason = ended(tmp_path, cache)
    assert state == INTERRUPTED and "for the trained model" in reason
    assert not (tmp_path / "model").exists()
    assert ended(tmp_path, cache)[0] == FINISHED and (tmp_path / "model" / "bigmodel.json").exists()


@pytest.mark.parametrize("array", [np.asarray(7), np.zeros((0, 3), np.uint8), np.arange(12.0).reshape(3, 4).T, np.ones(3, bool)])  # fmt: skip
def test_arrays_are_written_as_numpy_writes_them(tmp_path, array):
    prepare._save(tmp_path / "ours.npy", array)
    read = np.load(tmp_path / "ours.npy", mmap_mode=None)
    assert read.dtype == array.dtype and read.shape == array.shape and (read == array).all()
