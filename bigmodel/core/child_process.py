"""Child processes: started in one way, spoken with in lines of JSON, and gone when the server is unless they are to survive it.

The server's side is `start`, `call` for one request and its result, `wait_or_kill`; the child's side `serve`, or
`reply_stream` for one that answers many requests. A request is a line on stdin; replies are lines on stdout:
{"progress": {...}} ... {"result": ...} | {"error": refusal}.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bigmodel.core import fork_server
from bigmodel.core.cpu import thread_count
from bigmodel.core.disk_space import tolerate_full_log
from bigmodel.core.errors import Refusal
from bigmodel.core.fork_server import ForkedProcess
from bigmodel.core.jobs import Cancelled
from bigmodel.core.words import Words, _

ROOT = Path(__file__).parents[2]  # the folder that holds the package
POLL_SECONDS = 0.1  # between two looks at whether a request was cancelled or takes too long
MEMORY_POLL_SECONDS = 0.05
MEMORY_EXCEEDED = 86  # exit code of a process that took more memory than it may, where the kernel does not see to it
ADDRESS_SPACE_MARGIN = 3 * 2**30  # for stacks and arenas of threads and mapped files, which are reserved but not used
LAST_WORDS_BYTES = 2**16  # of the log, in which a library says why it aborts
# what Rust, C++, Python, its threads and the loader of libraries say when there is no memory
ALLOCATION_FAILED = re.compile(
    rb"[Mm]emory allocation (?:of \d+ bytes|still) failed|bad_alloc|MemoryError|[Oo]ut of memory|[Cc]annot allocate memory"
    rb"|can't start new thread|failed to map segment"
)

Process = subprocess.Popen | ForkedProcess


class Died(Exception):
    """A child ended without a last word. code: its exit code; of a signal its negative number. out_of_memory: whether
    that was since it wanted more than it may have."""

    def __init__(self, code: int, out_of_memory: bool = False):
        self.code, self.out_of_memory = code, out_of_memory
        super().__init__(f"exit code {code}")


class TimedOut(Exception):
    """A child took longer than it may, or made no headway. seconds: for which it ran."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(f"{seconds:.0f} seconds")


# -- the server's side -------------------------------------------------------------------------------------
def start(
    module: str,
    *arguments: str,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    survive: bool = False,
    preloaded: bool = False,
) -> Process:
    """A child that runs `python -P -m module`; its stdout is a pipe, its stderr is appended to `log`.

    survive: it has a session of its own and outlives this process; its stdout goes to `log`, too, and its stdin is
    empty.
    preloaded: it needs torch and transformers, and is forked with them loaded where there is a fork server.
    """
    variables = os.environ | _environment() | dict(environment or {})
    with open(log or os.devnull, "ab") as output:
        if preloaded and (forked := _fork(module, arguments, variables, output, survive)):
            return forked
        # -P: nothing is imported from the current folder
        command = [sys.executable, "-P", "-m", module, *arguments]
        options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        if survive:
            options = {"stdin": subprocess.DEVNULL, "stdout": output}
            if sys.platform == "win32":
                options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
            else:
                options["start_new_session"] = True
        return subprocess.Popen(command, cwd=ROOT, env=variables, stderr=output, **options)


def _fork(
    module: str, arguments: Sequence[str], variables: Mapping[str, str], output: IO[bytes], survive: bool
) -> ForkedProcess | None:
    """The same from the fork server; None where there is none for it."""
    pipes: list[int] = []
    if survive:
        with open(os.devnull, "rb") as empty:
            streams = (empty.fileno(), output.fileno(), output.fileno())
            forked = fork_server.fork(module, arguments, variables, streams, session=True)
    else:
        pipes = [*os.pipe(), *os.pipe()]
        streams = (pipes[0], pipes[3], output.fileno())
        forked = fork_server.fork(module, arguments, variables, streams, session=False)
    for end in pipes if forked is None else [*pipes[:1], *pipes[3:]]:  # the child's ends, or all
        os.close(end)
    if forked is None:
        return None
    if survive:
        return ForkedProcess(*forked, None, None)
    return ForkedProcess(*forked, os.fdopen(pipes[1], "wb"), os.fdopen(pipes[2], "rb"))


@contextmanager
def preloading(entry: str) -> Iterator[None]:
    """Keep a fork server, for this process and its children, that has called `entry`, 'module:function', to import what
    they need. Only a child that is to be forked waits until it has. Linux alone; nothing happens elsewhere, or where a
    parent keeps one."""
    kept = os.environ.get(fork_server.VARIABLE, "")
    if sys.platform != "linux" or kept == fork_server.OFF or os.path.isdir(os.path.dirname(kept)):
        yield
        return
    folder = tempfile.mkdtemp(prefix="bigmodel-")  # of mode 0700
    path = os.path.join(folder, "fork-server")
    server = start(fork_server.__name__, path, entry)
    Path(folder, fork_server.PID_FILE).write_text(str(server.pid))
    os.environ[fork_server.VARIABLE] = path
    try:
        yield
    finally:
        del os.environ[fork_server.VARIABLE]
        for pipe in filter(None, (server.stdin, server.stdout)):
            pipe.close()
        wait_or_kill(server, seconds=0.0)
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """The package can be imported from any folder; a sensible number of threads."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": thread_count(),
    }


def send(process: Process, request: Mapping) -> None:
    """One line to its stdin. Nothing happens where it has just died: whoever reads its replies is told."""
    assert process.stdin  # a pipe: see `start`
    with suppress(OSError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()


def call(
    module: str,
    request: Mapping,
    tell: Callable[[dict], None] = lambda progress: None,
    cancelled: threading.Event | None = None,
    *,
    log: Path | None = None,
    seconds: float = 0.0,
    stall_seconds: float = 0.0,
    grace_seconds: float = 0.0,
    environment: Mapping[str, str] | None = None,
    preloaded: bool = False,
) -> dict:
    """The result of one request to a child of its own. `tell` gets each progress that differs from the one before.

    Refusal for what the child refuses, Cancelled when `cancelled` is set, TimedOut after `seconds` or so long without
    progress, else Died. However it ends, the child is gone when this returns: killed, or, with `grace_seconds`, told to
    clear away what it has half made and killed only then.
    """
    log_start = log_size(log)
    process = start(module, log=log, environment=environment, preloaded=preloaded)
    replies: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
    threading.Thread(target=_read_replies, args=(process, replies), name=module, daemon=True).start()
    begun = moved = time.monotonic()
    last: dict = {}
    try:
        send(process, request)
        while True:
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            now = time.monotonic()
            if (seconds and now - begun > seconds) or (stall_seconds and now - moved > stall_seconds):
                raise TimedOut(now - begun)
            try:
                reply = replies.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if reply is None:
                code = process.wait()
                raise Died(code, died_of_memory(code, log, log_start))
            if "error" in reply:
                raise Refusal.from_json(reply["error"])
            if "result" in reply:
                return reply["result"]
            if reply["progress"] != last:
                last, moved = reply["progress"], time.monotonic()
                tell(last)
    finally:
        if grace_seconds:
            process.terminate()
        wait_or_kill(process, seconds=grace_seconds)
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


def _read_replies(process: Process, replies: queue.SimpleQueue) -> None:
    assert process.stdout  # a pipe: see `start`
    with suppress(ValueError):  # closed: nobody waits for the rest
        for line in process.stdout:
            replies.put(json.loads(line))
    replies.put(None)


def wait_or_kill(*processes: Process | None, seconds: float) -> None:
    """Wait for children that were told to leave, that long for all of them together; then kill those still there."""
    until = time.monotonic() + seconds
    for process in processes:
        if process is None:
            continue
        try:
            process.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def death_refusal(what: Words, do: Words) -> Refusal:
    """Of a child that ended without a word: the kernel kills what takes more memory than there is."""
    return Refusal(what, _("Most often the memory was not enough."), do)


def log_size(log: Path | None) -> int:
    return log.stat().st_size if log and log.exists() else 0


def died_of_memory(code: int, log: Path | None, log_start: int) -> bool:
    """Whether a child that nobody here has killed died of its memory limit, or of the kernel's want of memory. Libraries
    that cannot go on without memory abort, and say so only in the log, of which its part begins at `log_start`."""
    if code in (MEMORY_EXCEEDED, -getattr(signal, "SIGKILL", 9)):
        return True
    if code == 0 or log is None or not log.exists():
        return False
    with log.open("rb") as written:
        written.seek(max(log_start, log_size(log) - LAST_WORDS_BYTES))
        return ALLOCATION_FAILED.search(written.read()) is not None


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or ALLOCATION_FAILED.search(str(error).encode("utf-8", "replace")) is not None


# -- the child's side --------------------------------------------------------------------------------------
def reply_stream() -> IO[bytes]:
    """Where replies go: stdout as it was. Whatever a library prints from now on goes to stderr and is no reply."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tolerate_full_log()
    return replies


class Replies:
    """Writes replies, a line each, from whatever thread."""

    def __init__(self) -> None:
        self._stream, self._lock = reply_stream(), threading.Lock()

    def __call__(self, **reply: object) -> None:
        with self._lock:
            self._stream.write(json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._stream.flush()

    def progress(self, **progress: object) -> None:
        self(progress=progress)


def serve(
    handle: Callable[[dict, Replies], dict],
    explain: Callable[[Exception], Refusal],
) -> int:
    """Answer the one request on stdin; the exit code. `handle(request, replies)` gives the result; `explain` says what
    went wrong, or raises again what shall end the child with a traceback. The child leaves when its parent does."""
    replies = Replies()
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        replies(result=handle(request, replies))
        return 0
    except Refusal as refusal:
        replies(error=refusal.to_json())
    except Exception as error:
        replies(error=explain(error).to_json())
    return 1


def _exit_with_parent() -> None:
    """stdin ends with the parent. As by SIGTERM, so that a child with a handler clears away what it has half made."""
    while os.read(sys.stdin.fileno(), 1):  # unbuffered: a lock of the buffer would be held when the interpreter exits
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def limit_memory(most_bytes: int, exceeded: Callable[[], None]) -> None:
    """Bound what this process may take beside what it has. On Linux the kernel refuses the allocation that would be too
    much, however large; elsewhere, where it counts no private memory, the resident set is polled, and beyond the bound
    `exceeded()` is called and the process exits."""
    import psutil

    process = psutil.Process()
    taken = process.memory_info()
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        address_space = taken.vms + most_bytes + ADDRESS_SPACE_MARGIN
        with suppress(ValueError, OSError):  # macOS knows no bound below what it maps for everybody
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    if sys.platform == "linux":
        # RLIMIT_DATA: private memory that can be written to; of what is only reserved, or mapped from files, nothing
        resource.setrlimit(resource.RLIMIT_DATA, (taken.data + most_bytes, taken.data + most_bytes))
        return

    def watch() -> None:
        while process.memory_info().rss <= taken.rss + most_bytes:
            time.sleep(MEMORY_POLL_SECONDS)
        exceeded()
        os._exit(MEMORY_EXCEEDED)

    threading.Thread(target=watch, daemon=True).start()


def limit_work(cpu_seconds: int, file_bytes: int) -> None:
    """Bound this process: a signal ends it after so many seconds of computing, whatever progress it tells of; no file that
    it writes grows larger. Where the system knows such bounds: not on Windows."""
    if sys.platform == "win32":
        return
    import resource

    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + cpu_seconds, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def log_traceback() -> str:
    """Print the traceback of the exception at hand to stderr; the mark under which the log has it."""
    mark = uuid.uuid4().hex[:8]
    print(f"[{mark}] {traceback.format_exc()}", file=sys.stderr, flush=True)
    return mark


def exit_process(code: int) -> None:
    """At once: all is written, and taking libraries apart takes seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
