"""What a stranger's file may take: memory, computing, rows; and only what lies where it was looked for is read."""

import signal

import pytest

from bigmodel.core import child_process, limits
from bigmodel.core.errors import Refusal
from bigmodel.data.sandbox import cpu_seconds, run_in_sandbox

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
    assert "200 MiB of memory when it is opened" in refused.value.say("en") and "200 MiB" in refused.value.say("zh")


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
    with parquet.ParquetWriter(tmp_path / "a.parquet", pyarrow.schema({"text": pyarrow.string()})) as writer:
        for _group in range(40):
            writer.write_table(pyarrow.table({"text": texts}))
    with pytest.raises(Refusal, match="more than 200 times as large"):
        run_import(tmp_path / "a.parquet", tmp_path)


def test_rows_that_are_set_aside_count(tmp_path, monkeypatch):
    from bigmodel.importing.formats.bad_record import BadRecord
    from bigmodel.importing.formats.text_lines import NOT_TEXT
    from bigmodel.importing.store import parquet_writer

    monkeypatch.setattr(limits, "ROWS", 5)
    bad = (BadRecord(number, "", NOT_TEXT) for number in range(1, 100))
    with pytest.raises(Refusal, match="more than 5 rows"):
        parquet_writer.write(bad, tmp_path, {"text": "text"}, (0.1, 0.1), parquet_writer.ImportCounts())
