"""A disk that fails on purpose: every call to the system that touches a folder is counted, and one of them goes wrong.

Patched are the functions by which Python, its libraries and safetensors reach the system. What is done is written
down too, so that a power failure can be played back: what had not been flushed is then lost, in part or altogether.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability.trial import patched

ERRORS = ("ENOSPC", "EIO", "EACCES", "EDQUOT", "EFBIG")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DEATH = 86  # the exit code of a process that dies at its k-th call


@dataclass
class Disk:
    """Counts calls below `root`. The one numbered `at` goes wrong by `how`: an error's name, 'death', or not at all."""

    root: Path
    at: int = -1
    how: str = ""
    count: int = 0
    said: str = ""  # what the call that went wrong would have done
    done: list[tuple] = field(default_factory=list)  # what has been done: (verb, path, more)

    def call(self, verb: str, path: Path, half: Callable[[], None] = lambda: None) -> None:
        """Before each call; `half` is what a call that fails in the middle leaves behind."""
        number, self.count = self.count, self.count + 1
        if number != self.at:
            return
        self.said = f"{verb} {path.relative_to(self.root)}"
        half()
        if self.how == "death":
            os._exit(DEATH)
        code = getattr(errno, self.how)
        raise OSError(code, os.strerror(code), str(path))

    def mine(self, path: Any, folder: int | None = None) -> Path | None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
        path = Path(os.path.abspath(os.fsdecode(path)))
        return path if path.is_relative_to(self.root) else None

    def mark(self, words: str) -> None:
        """From here on something is promised."""
        self.done.append(("mark", words, None))

    # -- the calls ---------------------------------------------------------------------------------
    @contextmanager
    def watching(self) -> Iterator[None]:
        import safetensors.torch

        with ExitStack() as stack:
            for name in ("mkdir", "unlink", "remove", "rmdir"):
                stack.enter_context(patched((os, name, self._one_path(name, getattr(os, name)))))
            for name in ("rename", "replace", "link"):
                stack.enter_context(patched((os, name, self._two_paths(name, getattr(os, name)))))
            stack.enter_context(patched((os, "open", self._os_open(os.open)), (os, "write", self._os_write(os.write))))
            stack.enter_context(patched((os, "fsync", self._fsync(os.fsync))))
            opened = self._open(io.open)
            stack.enter_context(patched((io, "open", opened), (builtins, "open", opened)))
            serialize = self._serialize(safetensors.torch.serialize_file)
            stack.enter_context(patched((safetensors.torch, "serialize_file", serialize)))
            yield

    def _one_path(self, verb: str, real: Callable) -> Callable:
        def call(path, *more, dir_fd=None, **others):
            mine = self.mine(path, dir_fd)
            if mine is not None:
                self.call(verb, mine)
            result = real(path, *more, dir_fd=dir_fd, **others)
            if mine is not None:
                self.done.append(("unlink" if verb == "remove" else verb, mine, None))
            return result

        return call

    def _two_paths(self, verb: str, real: Callable) -> Callable:
        def call(source, target, **others):
            mine = self.mine(target) or self.mine(source)
            if mine is not None:
                self.call(verb, mine)
            real(source, target, **others)
            if mine is not None:
                self.done.append((verb, self.mine(source), mine))

        return call

    def _os_open(self, real: Callable) -> Callable:
        def call(path, flags, *more, dir_fd=None, **others):
            mine = self.mine(path, dir_fd)
            if mine is not None and not flags & os.O_DIRECTORY:
                self.call("open", mine)
            handle = real(path, flags, *more, dir_fd=dir_fd, **others)
            if mine is not None and flags & WRITING:
                self._written(mine)
            return handle

        return call

    def _os_write(self, real: Callable) -> Callable:
        def call(handle, data):
            mine = self.mine(handle)
            if mine is not None:
                self.call("write", mine, half=lambda: real(handle, bytes(data)[: len(data) // 2]))
            count = real(handle, data)
            if mine is not None:
                self._written(mine)
            return count

        return call

    def _fsync(self, real: Callable) -> Callable:
        def call(handle):
            mine = self.mine(handle)
            if mine is not None:
                self.call("fsync", mine)
                self.done.append(("fsync", mine, None))
            real(handle)

        return call

    def _open(self, real: Callable) -> Callable:
        def call(path, mode="r", *more, **others):
            mine = None if isinstance(path, int) else self.mine(path)
            if mine is None:
                return real(path, mode, *more, **others)
            self.call("open", mine)
            file = real(path, mode, *more, **others)
            if not set(mode) & set("wax+"):
                return file
            self._written(mine)
            return _File(file, mine, self)

        return call

    def _serialize(self, real: Callable) -> Callable:
        """safetensors writes by itself, in Rust; it says what the system says in an error of its own."""
        from safetensors import SafetensorError

        def call(tensors, path, *more, **others):
            mine = self.mine(path)

            def half() -> None:
                real(tensors, path, *more, **others)
                os.truncate(path, os.path.getsize(path) // 2)
                self._written(mine)

            try:
                self.call("open", mine)
                self.call("write", mine, half)
            except OSError as error:
                said = f"I/O error: {error.strerror} (os error {error.errno})"
                raise SafetensorError(f"Error while serializing: {said}") from error
            real(tensors, path, *more, **others)
            self._written(mine)

        return call

    def _written(self, path: Path) -> None:
        with _open(path, os.O_RDONLY) as file:
            self.done.append(("written", path, file.read()))


@contextmanager
def _open(path: Path, flags: int) -> Iterator[io.FileIO]:
    """Past the patched functions."""
    with io.FileIO(str(path), "r" if flags == os.O_RDONLY else "w") as file:
        yield file


class _File:
    """A file open for writing, whose writes and whose end are calls that may fail."""

    def __init__(self, file: Any, path: Path, disk: Disk):
        self._file, self._path, self._disk = file, path, disk

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._disk.call("write", self._path, half)
        count = self._file.write(data)
        self._file.flush()
        self._disk._written(self._path)
        return count

    def close(self) -> None:
        closed = self._file.closed
        self._file.close()
        if not closed:
            self._disk.call("close", self._path)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


# -- a power failure -----------------------------------------------------------------------------------
class Platter:
    """What a folder looks like in memory and what of it is on the platter: names and contents are flushed apart."""

    def __init__(self, root: Path):
        self.root = root
        self.top = self._read(root)

    def _read(self, path: Path) -> dict:
        if path.is_dir():
            names = {one.name: self._read(one) for one in path.iterdir() if not one.is_symlink()}
            return {"now": names, "safe": dict(names)}
        data = path.read_bytes()
        return {"now": data, "safe": data}

    def _at(self, path: Path) -> dict:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node["now"][part]
        return node

    def do(self, verb: str, path: Path, more: Any) -> None:
        """One call, as it was written down."""
        if verb in ("mark",):
            return
        if verb == "fsync":
            node = self._at(path)
            node["safe"] = dict(node["now"]) if isinstance(node["now"], dict) else node["now"]
            return
        names = self._at(path.parent)["now"]
        if verb == "mkdir":
            names[path.name] = {"now": {}, "safe": {}}
        elif verb == "written":
            names.setdefault(path.name, {"now": b"", "safe": b""})["now"] = more
        elif verb in ("unlink", "rmdir"):
            names.pop(path.name)
        else:  # rename, replace, link
            target = self._at(more.parent)["now"]
            target[more.name] = names[path.name] if verb == "link" else names.pop(path.name)

    def after_failure(self, place: Path, how: str, seed: int = 0) -> None:
        """What a machine finds when it starts again. `how`: which of names and contents that were not flushed have
        been lost: 'all', 'contents', 'names', or 'some' of either."""
        chance = random.Random(seed)
        shutil.rmtree(place, ignore_errors=True)
        self._write(self.top, place, how, chance)

    def _write(self, node: dict, place: Path, how: str, chance: random.Random) -> None:
        lost = {"all": True, "contents": isinstance(node["now"], bytes), "names": isinstance(node["now"], dict)}
        kept = node["safe"] if lost.get(how, chance.random() < 0.5) else node["now"]
        if isinstance(kept, bytes):
            place.write_bytes(kept)
            return
        place.mkdir()
        for name, one in kept.items():
            self._write(one, place / name, how, chance)


FAILURES = ("all", "contents", "names", "some")
