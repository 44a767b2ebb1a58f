"""A process that has torch and transformers loaded and forks the others from itself: one starts in milliseconds, not seconds.

What is loaded is shared, so a process takes only the memory of what it computes. The server is found by a socket that
only this user may open, named in the environment, so children of children find it too. It ends with the process that has
started it; what it has forked lives on. `python -m bigmodel.core.fork_server SOCKET MODULE:FUNCTION` is the server itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

VARIABLE = "BIGMODEL_FORK_SERVER"  # the path of the socket, or OFF
OFF = "off"
# what libraries read when they are imported: whoever wants another value needs a process of its own
READ_AT_IMPORT = (
    "HF_",
    "TRANSFORMERS_",
    "DATASETS_",
    "TOKENIZERS_",
    "TORCH",
    "OMP_",
    "MKL_",
    "PYTHON",
    "LD_",
    "LANG",
    "LC_",
)
PID_FILE = "pid"  # beside the socket
NUMBER = struct.Struct("!i")  # bytes of a request; pid, then exit code


# -- the asking side ---------------------------------------------------------------------------------
class ForkedProcess:
    """For a process of the fork server what `subprocess.Popen` is for a child of our own."""

    def __init__(self, connection: socket.socket, pid: int, stdin: IO[bytes] | None, stdout: IO[bytes] | None):
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._connection, self._mutex = connection, threading.Lock()
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._pidfd = -1

    def poll(self) -> int | None:
        return self._exit_code(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, of a signal its negative number. subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._exit_code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None and self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _exit_code(self, timeout: float | None) -> int | None:
        if self.returncode is None and _readable(self._connection.fileno(), timeout):
            with self._mutex:  # several threads may wait; the code comes once
                if self.returncode is None:
                    status = self._connection.recv(NUMBER.size, socket.MSG_WAITALL)
                    self.returncode = NUMBER.unpack(status)[0] if status else self._outlive(timeout)
        return self.returncode

    def _outlive(self, timeout: float | None) -> int | None:
        """The fork server was killed. Its children go on, but nobody hears how they end."""
        return -signal.SIGKILL if self._pidfd < 0 or _readable(self._pidfd, timeout) else None


def _readable(descriptor: int, timeout: float | None) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else 1000 * max(timeout, 0.0)))


def fork(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int], session: bool
) -> tuple[socket.socket, int] | None:
    """`python -m module arguments` as a fork of the server: (connection on which its exit code comes, pid). None where
    there is no server, or only one whose libraries were imported in another environment. Waits for one that is still
    importing them: it has begun before a process of its own would.

    descriptors: of its stdin, stdout and stderr. session: it has one of its own.
    """
    path = os.environ.get(VARIABLE, OFF)
    if not _is_ready(path):
        return None
    request = {"module": module, "arguments": arguments, "environment": dict(environment), "session": session}
    data = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    with suppress(OSError):  # it is just ending
        connection.connect(path)
        socket.send_fds(connection, [NUMBER.pack(len(data))], descriptors)
        connection.sendall(data)
        pid = NUMBER.unpack(connection.recv(NUMBER.size, socket.MSG_WAITALL).ljust(NUMBER.size, b"\0"))[0]
        if pid:
            return connection, pid
    connection.close()
    return None


def _is_ready(path: str) -> bool:
    """Whether a server listens there, or did so a moment ago. One that imports is waited for, however slow the disk."""
    while not os.path.exists(path):
        if not _is_alive(Path(path).with_name(PID_FILE)):
            return False
        time.sleep(0.02)
    return True


def _is_alive(pid_file: Path) -> bool:
    """Whether the process has not ended yet; one that nobody has waited for is no more than a number."""
    try:
        status = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text()
    except (OSError, ValueError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


# -- the server --------------------------------------------------------------------------------------
class _Server:
    def __init__(self, path: Path):
        self._path = path
        self._children: dict[int, socket.socket] = {}  # pid -> who waits for its exit code
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._imported = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)}

    def serve(self) -> None:
        """Until stdin ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the process that has started us decides
        wakeup, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_signal: None)
        staging = self._path.with_suffix(".new")  # under its name only once it is listened to
        self._listener.bind(str(staging))
        self._listener.listen(64)
        os.rename(staging, self._path)
        for source in (0, wakeup, self._listener.fileno()):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _events in self._selector.select():
                if key.fd == 0 and not os.read(0, 1):
                    return
                if key.fd == wakeup:
                    os.read(wakeup, 4096)
                    self._reap()
                if key.fd == self._listener.fileno():
                    self._answer(self._listener.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            connection.settimeout(5.0)
            size, descriptors, _flags, _address = socket.recv_fds(connection, NUMBER.size, 3)
            request = json.loads(connection.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL))
            if not self._fits(request["environment"]):
                connection.sendall(NUMBER.pack(0))
                return connection.close()
            pid = os.fork()
            if pid == 0:
                self._become(request, descriptors, connection)
            self._children[pid] = connection
            connection.sendall(NUMBER.pack(pid))
        except (OSError, ValueError, struct.error):
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fits(self, environment: Mapping[str, str]) -> bool:
        wanted = {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}
        return wanted == self._imported

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self._children.pop(pid)
            with suppress(OSError):  # whoever asked is gone
                connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
            connection.close()

    def _become(self, request: Mapping, descriptors: Sequence[int], connection: socket.socket) -> None:
        """Run the module as `python -m` would. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            self._selector.close()
            for ours in (self._listener, connection, *self._children.values()):
                ours.close()
            if request["session"]:
                os.setsid()
            os.environ.clear()
            os.environ.update(request["environment"])
            command = [request["module"], *request["arguments"]]
            if _cuda_is_lost():
                os.execv(sys.executable, [sys.executable, "-P", "-m", *command])
            sys.argv = command
            gc.unfreeze()
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            traceback.print_exc()
        finally:
            _leave(code)


def _leave(code: int) -> None:
    import atexit
    import threading

    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # as at the end of any interpreter: threads that are no daemons are waited for
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)


def _cuda_is_lost() -> bool:
    """Whether a library has asked the driver for devices when it was imported: a fork cannot use CUDA then."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.version.cuda is not None and torch.cuda._is_in_bad_fork()


def main(path: str, preload: str) -> None:
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # devices are counted without the driver, which a fork would lose
    server = _Server(Path(path))
    module, function = preload.split(":")
    getattr(importlib.import_module(module), function)()
    gc.collect()
    gc.freeze()  # pages that no collection touches stay shared
    try:
        server.serve()
    finally:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
