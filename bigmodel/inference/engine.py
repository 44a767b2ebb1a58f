"""An engine: a loaded model that answers with a generator of blocks."""

from __future__ import annotations

import json
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.blocks import Block, Note
from bigmodel.core.contracts import HEADS, Architecture, Head, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import check_inputs
from bigmodel.core.words import _
from bigmodel.inference.background import BackgroundJob, RunFunction, check_cancelled, drain, run_inline
from bigmodel.training import out_of_memory

MAX_LOADED_ENGINES = 3  # models held in memory; the least recently used leaves
MODEL_LOAD_LOCK = threading.RLock()  # loading by transformers and tracing by torch change global state


def load_model(folder: Path, architecture: Architecture, head: str) -> Any:
    """The model in a folder, in fp32, on the CPU; only safetensors are read and no code of the folder runs."""
    import torch
    import transformers

    architecture.register()
    with MODEL_LOAD_LOCK:
        check_cancelled()
        model = getattr(transformers, HEADS[head].auto_class).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    return model.eval()


class lazy_property:
    """A property that is computed once for each object. Before Python 3.12 functools.cached_property holds one lock for
    all objects of a class: an engine that is loading would deadlock with another that waits for it."""

    def __init__(self, make: Callable[[Any], Any]):
        self.compute, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)  # shadows this non-data descriptor from now on
        return value


class Engine:
    """A task's answers with one model; `task` where it is not that of its page, as with a base.

    With a cache, by CTranslate2 where it answers the same (see `conversion`); the model is then loaded in transformers
    only if somebody asks for it. Pictures are answered by a traced network.
    """

    def __init__(self, folder: Path, cache: Path | None = None, task: str = ""):
        from bigmodel.data.prepare import load_processor

        try:
            about = json.loads((folder / "bigmodel.json").read_text("utf-8"))
        except (OSError, ValueError):
            what = _("There is no model in {folder}.", folder=str(folder))
            raise Refusal(what, do=_("Choose another one."), field="model") from None
        self.folder, self.spec = folder, about["spec"] | ({"task": task} if task else {})
        self.loaded: dict[str, Any] = {}  # by precision
        self.lock = threading.Lock()
        self.task: Task = catalog.task(self.spec["task"])
        self.head: Head = HEADS[self.task.head]
        self.architecture = catalog.architecture(self.spec["architecture"])
        with load_errors_as_refusal(folder):
            self.processor = load_processor(folder)
        self.device = self._device()
        self.cache = cache
        self.load("float32")
        if self.device == "cpu" and self.conversion is not None:
            self.__dict__.pop("model", None)  # the conversion was compared with it; nobody needs it any more

    def answer(self, inputs: Mapping, run: RunFunction = run_inline) -> Iterator[Block | None]:
        """Blocks as they come; inputs are checked and filled up with defaults first. `run` does what takes
        long, in a thread where others are waiting; None comes while it lasts."""
        checked = check_inputs(self.task, inputs)
        precision = checked.get("precision", "float32")
        model = self.loaded.get(precision) or (yield from run(lambda: self.load(precision)))
        yield from self.task.answer(model, self.processor, checked)
        if precision == "int8":
            yield Note((yield from run(self._quantization_note)))

    @lazy_property
    def model(self) -> Any:
        """The model in transformers."""
        with load_errors_as_refusal(self.folder):
            return load_model(self.folder, self.architecture, self.task.head).to(self.device)

    @lazy_property
    def conversion(self) -> Any:
        """The model in CTranslate2, None where it has none or answers otherwise there."""
        from bigmodel.inference.conversion import get_or_convert

        if self.cache is None:
            return None
        return get_or_convert(self.folder, self.cache, self.task, self.spec, self._cpu_model, self.processor)

    def _cpu_model(self) -> Any:
        """The model to compare a conversion with."""
        return self.model if self.device == "cpu" else load_model(self.folder, self.architecture, self.task.head)

    def _device(self) -> str:
        """A GPU for a model that is large enough to be faster there, if there is memory left on it."""
        import torch

        size = sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))
        least = self.head.gpu_min_bytes
        if least is None or size < least or not torch.cuda.is_available():
            return "cpu"
        free, _total = torch.cuda.mem_get_info()
        return "cuda" if free > 2 * size else "cpu"

    def load(self, precision: str) -> Any:
        """What the task answers with, loaded once."""
        if precision not in self.loaded:
            with self.lock:
                if precision not in self.loaded:
                    self.loaded[precision] = self._load(precision)
        return self.loaded[precision]

    def _load(self, precision: str) -> Any:
        if (self.device == "cpu" or precision == "int8") and self.conversion is not None:
            return self.conversion.load(precision)
        if not self.head.tracer:
            return self.model
        with MODEL_LOAD_LOCK:
            return resolve_name(self.head.tracer)(self.model, self.processor)

    def _quantization_note(self) -> Any:
        from bigmodel.inference.conversion import quantization_note

        if self.conversion is None:
            return _("There is no 8-bit form of this network; it has answered as trained.")
        return quantization_note(self.conversion, self.task, self.spec, self.processor)


@contextmanager
def load_errors_as_refusal(folder: Path) -> Iterator[None]:
    """A model that cannot be read is refused; its libraries raise errors of many kinds for that."""
    what = _("The model in {folder} cannot be loaded.", folder=str(folder))
    try:
        yield
    except Exception as error:
        if out_of_memory.is_out_of_memory(error):
            raise Refusal(what, _("The memory is not enough."), _("Choose a smaller one."), field="model") from error
        traceback.print_exc()
        why = _("Its files are damaged or not complete.")
        raise Refusal(what, why, _("Choose another one, or train it anew."), field="model") from error


class EngineCache:
    """Engines by folder, a few at a time. Each is loaded in a thread of its own, once for all who wait for it, and given
    up where nobody waits any more."""

    def __init__(self) -> None:
        self.loaded: OrderedDict[tuple, Engine] = OrderedDict()
        self.loading: dict[tuple, BackgroundJob[Engine]] = {}

    def get(self, folder: Path, cache: Path | None = None, task: str = "") -> Engine:
        return drain(self.load(folder, cache, task))

    def load(self, folder: Path, cache: Path | None = None, task: str = "") -> Generator[None, None, Engine]:
        """None while it is being loaded."""
        metadata = folder / "bigmodel.json"
        mtime = metadata.stat().st_mtime_ns if metadata.exists() else 0  # a run that goes on writes a new model
        key = (folder, mtime, task)
        engine = self.loaded.get(key) or (yield from self._load(key, lambda: Engine(folder, cache, task)))
        self.loaded[key] = engine
        self.loaded.move_to_end(key)
        return engine

    def _load(self, key: tuple, load: Callable[[], Engine]) -> Generator[None, None, Engine]:
        job = self.loading.get(key)
        if job is None or not job.waiters:  # one that everybody has left is about to end
            while self.loaded and len(self.loaded) + len(self.loading) >= MAX_LOADED_ENGINES:
                self.loaded.popitem(last=False)  # before the next is loaded: never one more in memory
            job = self.loading[key] = BackgroundJob(load)
        try:
            return (yield from job.poll())
        finally:
            if not job.waiters and self.loading.get(key) is job:
                del self.loading[key]
