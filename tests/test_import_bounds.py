"""What a stranger's file may take: memory, computing, rows; and only what lies where it was looked for is read."""

import os
import signal
import threading

import pytest

from bigmodel.core import child_process, limits, safe_open
from bigmodel.core.errors import Refusal
from bigmodel.data.sandbox import cpu_seconds, run_in_sandbox
from bigmodel.studio import Studio

HANG = 120  # seconds after which something hangs
PLAN = {"format": "parquet", "roles": {"text": "text"}}


def run_import(path, tmp_path, plan=PLAN, log=None):
    (tmp_path / "out").mkdir(exist_ok=True)
    request = {"do": "import", "path": str(path), "plan": plan, "folder": str(tmp_path / "out")}
    return run_in_sandbox(request, seconds=HANG, log=log)


def with_settings(tmp_path, monkeypatch, lines):
    """Have children begin with these lines."""
    (tmp_path / "sitecustomize.py").write_text(lines, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{child_process.ROOT}")


LESS = "import bigmodel.core.limits as l; l.CHILD_BYTES = 200 * 2**20\n"


@pytest.fixture
def leap(tmp_path, monkeypatch):
    """A file of some kilobytes whose one batch of rows is one allocation of 320 MB: a long text, told forty times."""
    import pyarrow
    import pyarrow.parquet as parquet

    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 40, pyarrow.int32()), ["a" * 2**23])
    parquet.write_table(
        pyarrow.table({"text": text}), tmp_path / "leap.parquet", compression="zstd", store_schema=False
    )
    assert (tmp_path / "leap.parquet").stat().st_size < 2**20
    with_settings(tmp_path, monkeypatch, LESS)
    return tmp_path / "leap.parquet"


# -- memory ------------------------------------------------------------------------------------------------
def test_what_allocates_in_one_leap_is_refused_by_the_kernel(leap, tmp_path):
    with pytest.raises(Refusal) as refused:
        run_import(leap, tmp_path)
    assert "200 MB of memory when it is opened" in refused.value.say("en") and "200 MB" in refused.value.say("zh")


def test_without_the_kernels_bound_the_leap_is_never_seen(leap, tmp_path, monkeypatch):
    off = "import bigmodel.core.child_process as c; c.limit_memory = lambda *_: None\n"
    with_settings(tmp_path, monkeypatch, LESS + off)
    with pytest.raises(Refusal, match="It has more than 1000000 characters"):  # for which it has been in memory
        run_import(leap, tmp_path)


@pytest.mark.parametrize("last", ["memory allocation of 99 bytes failed", "what():  std::bad_alloc"])
def test_a_library_that_aborts_for_want_of_memory_is_told_from_one_that_is_damaged(last, tmp_path):
    log = tmp_path / "log"
    log.write_text(f"old\n{last}\n", "utf-8")
    assert child_process.died_of_memory(-signal.SIGABRT, log, 4)
    assert not child_process.died_of_memory(-signal.SIGABRT, log, child_process.log_size(log))
    assert child_process.died_of_memory(-signal.SIGKILL, None, 0), "the kernel's own choice"


# -- work --------------------------------------------------------------------------------------------------
def test_what_tells_of_progress_for_ever_is_ended_by_the_kernel_with_a_reason(tmp_path, monkeypatch):
    for_ever = (
        "import bigmodel.core.limits as l, bigmodel.importing.formats.parquet as p, itertools\n"
        "l.CHILD_CPU_SECONDS = 1\n"
        "p.records = lambda *_: ((n, {'text': f'text {n}'}) for n in itertools.count(1))\n"
    )
    with_settings(tmp_path, monkeypatch, for_ever)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(Refusal, match="more computing than files of its size may"):
        run_import(tmp_path / "a.parquet", tmp_path)


def test_computing_is_bounded_by_the_size_and_in_all():
    assert cpu_seconds(0) == limits.CHILD_CPU_SECONDS < cpu_seconds(2**30) < cpu_seconds(2**60)
    assert cpu_seconds(2**60) == limits.CHILD_CPU_SECONDS_IN_ALL


def test_rows_that_become_much_more_than_their_file_are_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    texts = [character * 900_000 for character in "abcd"]
    told_often = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 2, 3] * 40, pyarrow.int32()), texts)
    parquet.write_table(
        pyarrow.table({"text": told_often}), tmp_path / "a.parquet", compression="zstd", store_schema=False
    )
    with pytest.raises(Refusal, match="become more than 200 times as large"):
        run_import(tmp_path / "a.parquet", tmp_path)


def test_rows_that_are_set_aside_count(tmp_path, monkeypatch):
    from bigmodel.importing.formats.bad_record import BadRecord
    from bigmodel.importing.formats.text_lines import NOT_TEXT
    from bigmodel.importing.store import parquet_writer

    monkeypatch.setattr(limits, "ROWS", 5)
    bad = (BadRecord(number, "", NOT_TEXT) for number in range(1, 100))
    with pytest.raises(Refusal, match="more than 5 rows"):
        parquet_writer.write(bad, tmp_path, {"text": "text"}, (0.1, 0.1), parquet_writer.ImportCounts())


# -- paths -------------------------------------------------------------------------------------------------
ROWS = "".join(f"{number} a text of some words,{'good' if number % 2 else 'bad'}\n" for number in range(40)).encode()
SECRET = ROWS.replace(b"text", b"SECRET")


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    """(studio, a folder of two tables in a folder that may be read, a file outside)"""
    (tmp_path / "allowed" / "data").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for name in "ab":
        (tmp_path / "allowed" / "data" / f"{name}.csv").write_bytes(b"text,label\n" + ROWS)
        (tmp_path / "outside" / f"{name}.csv").write_bytes(b"text,label\n" + SECRET)
    monkeypatch.setenv("BIGMODEL_DATA_ROOTS", str(tmp_path / "allowed"))
    studio = Studio(tmp_path / "home")
    yield studio, tmp_path / "allowed" / "data", tmp_path / "outside"
    studio.close()


def swap(path, links, stop):
    """Put what each of `links` makes in the place of `path` by turns, until `stop`."""
    while not stop.is_set():
        for make in links:
            make(path.with_suffix(".new"))
            os.rename(path.with_suffix(".new"), path)


def test_a_link_that_is_swapped_in_while_a_folder_is_read_is_never_followed(inbox, tmp_path):
    _studio, folder, outside = inbox
    stop, read, refused = threading.Event(), set(), 0
    swapper = threading.Thread(target=swap, args=(folder / "a.csv", (
        lambda new: new.write_bytes(ROWS), lambda new: new.symlink_to(outside / "a.csv")), stop))  # fmt: skip
    swapper.start()
    try:
        for _time in range(3000):
            try:
                with safe_open.open_source(folder / "a.csv") as file:
                    read.add(file.read())
            except Refusal:
                refused += 1
    finally:
        stop.set()
        swapper.join()
    assert refused and any(read) and SECRET not in read, "an open by name reads it"


def test_a_folder_that_becomes_a_link_after_it_was_checked_is_not_read(inbox):
    studio, folder, outside = inbox
    upload = studio.imports.add_path(str(folder))
    folder.rename(folder.with_name("before"))
    folder.symlink_to(outside)
    with pytest.raises(Refusal, match="is a link now"):
        studio.imports.preview(upload.id)
    folder.unlink()
    folder.with_name("before").rename(folder)
    assert studio.imports.preview(upload.id).rows == 80


def test_a_link_in_the_place_of_a_file_that_was_checked_is_not_read(inbox):
    studio, folder, outside = inbox
    upload = studio.imports.add_path(str(folder / "a.csv"))
    plan = studio.imports.preview(upload.id).plan
    (folder / "a.csv").unlink()
    (folder / "a.csv").symlink_to(outside / "a.csv")
    job = studio.imports.begin(upload.id, plan, wait=True)
    assert not job.name and "is a link now" in job.error.say("en") and not list(studio.data.registry.values())


def test_a_link_to_a_file_of_the_same_folder_is_read_and_one_that_leads_out_is_left_out(inbox):
    studio, folder, outside = inbox
    (folder / "b.csv").unlink()
    (folder / "b.csv").symlink_to("a.csv")
    (folder / "c.csv").symlink_to(outside / "a.csv")
    assert studio.imports.preview(studio.imports.add_path(str(folder)).id).rows == 80


@pytest.mark.parametrize("trusted", [False, True])
def test_a_hard_link_from_elsewhere_is_refused_with_the_reason(inbox, trusted):
    studio, folder, outside = inbox
    (folder / "b.csv").unlink()
    os.link(outside / "b.csv", folder / "b.csv")
    with pytest.raises(Refusal) as refused:
        studio.imports.add_path(str(folder), trusted)
    assert "b.csv" in refused.value.say("en") and "hard link" in refused.value.say("en")
    assert "硬链接" in refused.value.say("zh")


def test_a_hard_link_that_comes_after_the_check_is_refused_too(inbox):
    studio, folder, outside = inbox
    upload = studio.imports.add_path(str(folder))
    (folder / "b.csv").unlink()
    os.link(outside / "b.csv", folder / "b.csv")
    with pytest.raises(Refusal, match="hard link"):
        studio.imports.preview(upload.id)


def test_what_was_taken_in_before_is_no_hard_link_from_elsewhere(inbox):
    studio, folder, _outside = inbox
    for _time in range(2):
        upload = studio.imports.add_path(str(folder))
        job = studio.imports.begin(upload.id, studio.imports.preview(upload.id).plan, wait=True)
        assert job.name, job.error
    assert (folder / "a.csv").stat().st_nlink == 2


def test_a_second_name_is_never_given_to_what_a_link_leads_to(inbox, tmp_path):
    _studio, folder, outside = inbox
    (folder / "c.csv").symlink_to(outside / "a.csv")
    for keep in (safe_open.link_nofollow, safe_open.link_or_copy):
        with pytest.raises(Refusal):
            keep(folder / "c.csv", tmp_path / "kept")
        assert not (tmp_path / "kept").exists()
