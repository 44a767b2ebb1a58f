"""A process of the fork server is, for whoever started it, a process like any other."""

import json
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import HANG, wait_for

from bigmodel.core import child_process, fork_server

PROGRAM = """
import json, os, signal, sys, time
what = sys.argv[1]
if what == "exit":
    sys.exit(7)
if what == "raise":
    raise ValueError("a bug")
if what == "abort":
    os.abort()
if what == "facts":
    facts = {"argv": sys.argv[1:], "name": __name__, "loaded": "colorsys" in sys.modules, "session": os.getsid(0) == os.getpid()}
    print(json.dumps(facts | {"mark": os.environ.get("BIGMODEL_MARK"), "cwd": os.getcwd()}))
if what == "echo":
    for line in sys.stdin:
        print(line.upper(), end="")
if what == "sleep":
    print("asleep", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """Starts PROGRAM as a fork of a server that has imported colorsys."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "preload.py").write_text("def libraries():\n    import colorsys\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.delenv(fork_server.VARIABLE, raising=False)
        with child_process.preloading("preload:libraries"):
            wait_for(lambda: os.path.exists(os.environ[fork_server.VARIABLE]))

            def start(*arguments, **options):
                process = child_process.start("program", *arguments, preloaded=True, **options)
                assert isinstance(process, fork_server.ForkedProcess)
                return process

            yield start


def test_it_has_its_arguments_its_environment_and_what_was_imported_before(forked):
    process = forked("facts", "two words", environment={"BIGMODEL_MARK": "a mark"})
    facts = json.loads(process.stdout.read())
    assert facts == {
        "argv": ["facts", "two words"],
        "name": "__main__",
        "loaded": True,
        "session": False,
        "mark": "a mark",
        "cwd": str(child_process.ROOT),
    }
    assert process.wait(HANG) == 0


@pytest.mark.parametrize("what, code", [("exit", 7), ("raise", 1), ("abort", -signal.SIGABRT), ("facts", 0)])
def test_its_exit_code_is_that_of_a_process(forked, tmp_path, what, code):
    log = tmp_path / "log"
    process = forked(what, log=log, survive=True)
    assert process.wait(HANG) == code and process.poll() == code
    text = log.read_text()
    assert ("ValueError: a bug" in text) == (what == "raise") and ('"session": true' in text) == (what == "facts")


def test_its_input_ends_with_the_pipe_and_its_output_with_itself(forked):
    process = forked("echo")
    process.stdin.write(b"hello\n")
    process.stdin.close()
    assert process.stdout.read() == b"HELLO\n" and process.wait(HANG) == 0


def test_signals_reach_it_and_two_threads_may_wait_for_it(forked):
    process, codes = forked("sleep"), []
    assert process.stdout.readline() == b"asleep\n" and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    threads = [threading.Thread(target=lambda: codes.append(process.wait(HANG))) for _ in range(2)]
    for thread in threads:
        thread.start()
    process.terminate()
    for thread in threads:
        thread.join()
    process.kill()  # of one that has ended: nothing
    assert codes == [-signal.SIGTERM] * 2


def test_another_environment_for_the_libraries_starts_a_process_of_its_own(forked):
    process = child_process.start("program", "facts", preloaded=True, environment={"HF_HOME": "/elsewhere"})
    assert isinstance(process, subprocess.Popen) and not json.loads(process.stdout.read())["loaded"]
    assert process.wait(HANG) == 0


def test_what_was_forked_outlives_the_server_and_its_end_is_still_noticed(tmp_path, forked):
    with _another_server():
        process = forked("sleep")
        process.stdout.readline()
    assert process.poll() is None
    process.kill()
    assert process.wait(HANG) == -signal.SIGKILL


@contextmanager
def _another_server():
    before = os.environ.pop(fork_server.VARIABLE)
    try:
        with child_process.preloading("preload:libraries"):
            wait_for(lambda: os.path.exists(os.environ[fork_server.VARIABLE]))
            yield
    finally:
        os.environ[fork_server.VARIABLE] = before


def test_a_socket_that_nobody_listens_to_is_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv(fork_server.VARIABLE, str(tmp_path))
    process = child_process.start("this", preloaded=True)
    assert isinstance(process, subprocess.Popen) and b"Beautiful is better than ugly." in process.stdout.read()
    process.wait(HANG)


@pytest.fixture
def importing(tmp_path, monkeypatch):
    """A server that imports until a file is there: (its folder, the file)."""
    go = tmp_path / "go"
    libraries = (
        f"import os, time\ndef libraries():\n    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n"
    )
    (tmp_path / "slow.py").write_text(libraries)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv(fork_server.VARIABLE, raising=False)
    with child_process.preloading("slow:libraries"):
        yield Path(os.environ[fork_server.VARIABLE]).parent, go


def test_a_server_is_waited_for_as_long_as_it_imports(importing):
    folder, go = importing
    os.utime(folder, (0, 0))  # for ages
    threading.Timer(0.2, go.touch).start()
    process = child_process.start("this", preloaded=True)
    assert isinstance(process, fork_server.ForkedProcess) and process.wait(HANG) == 0


def test_a_server_that_has_died_while_it_imports_is_not_waited_for(importing):
    folder, _go = importing
    os.kill(int((folder / fork_server.PID_FILE).read_text()), signal.SIGKILL)
    process = child_process.start("this", preloaded=True)
    assert isinstance(process, subprocess.Popen) and process.stdout.read() and process.wait(HANG) == 0
