"""The model worker: a process that holds models and answers requests, one JSON line each way.

Requests  {"id", "do": "ask", "folder", "task", "inputs", "cache"} | {"id", "do": "forecast", "spec", "cache"} | {"id", "do": "cancel"}
          | {"id", "do": "seen", "spec", "cache", "row"} | {"id", "do": "count", "spec", "cache"}
Replies   {"id", "block"} ... {"id", "done"} | {"id", "figures"} | {"id", "seen"} | {"id", "counted"} | {"id", "error"}
Requests take turns, a block each, so that a long text does not keep the next person waiting. What takes longer than that,
loading and converting a model or translating a sentence, is done in threads beside; cancelled, it ends at its next seam.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bigmodel.base_models import store as bases
from bigmodel.core import blocks, child_process
from bigmodel.core.blocks import Prose
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.store import registry
from bigmodel.inference.background import run_in_thread
from bigmodel.training import out_of_memory

if TYPE_CHECKING:
    from bigmodel.inference.engine import EngineCache


def main() -> None:
    """`python -m bigmodel.inference.worker [--home=HOME] [--memory=BYTES]`: with the data that people have brought to a
    home folder, and no more memory than that beside the libraries."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--memory", type=int, default=0)
    options = parser.parse_args()
    if options.home:
        registry.register_home(options.home)
        bases.register_bases(options.home)
    replies = child_process.reply_stream()
    requests: queue.Queue = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    from bigmodel.training.warm_up import import_libraries

    import_libraries()
    if options.memory:
        child_process.limit_memory(options.memory, exceeded=lambda: None)
    serve(requests, replies)


def _listen(source: IO[bytes], requests: queue.Queue) -> None:
    for line in source:
        requests.put(json.loads(line))
    requests.put(None)  # the server is gone


def serve(requests: queue.Queue, replies: IO[bytes]) -> None:
    """Until the requests end: take what has come, then give each open answer a turn."""
    from bigmodel.inference.engine import EngineCache

    engines = EngineCache()
    open_answers: dict[str, Iterator[dict | None]] = {}

    def reply(request: str, **what: object) -> None:
        replies.write(json.dumps({"id": request} | what, ensure_ascii=False).encode() + b"\n")
        replies.flush()

    while True:
        for request in _pending_requests(requests, wait=not open_answers):
            if request is None:
                for answer in open_answers.values():
                    answer.close()
                return
            if request["do"] == "cancel":
                answer = open_answers.pop(request["id"], None)
                if answer is not None:
                    answer.close()
                reply(request["id"], done=True)
                continue
            open_answers[request["id"]] = _handle_request(request, engines)
        for name, answer in list(open_answers.items()):
            _advance(name, answer, open_answers, reply)


def _pending_requests(requests: queue.Queue, wait: bool) -> Iterator[dict | None]:
    """What has come; waits for the first where there is nothing else to do."""
    if wait:
        yield requests.get()
    while True:
        try:
            yield requests.get_nowait()
        except queue.Empty:
            return


def _handle_request(request: dict, engines: EngineCache) -> Iterator[dict | None]:
    if request["do"] == "forecast":
        from bigmodel.core.spec import RunSpec
        from bigmodel.training.forecast import forecast

        for figures in forecast(RunSpec.check(request["spec"]), Path(request["cache"])):
            yield {"figures": figures} if figures else {}
        return
    if request["do"] in ("seen", "count"):
        yield from _handle_data_request(request)
        return
    cache = Path(request["cache"]) if request["cache"] else None
    engine = yield from engines.load(Path(request["folder"]), cache, request.get("task", ""))
    said = ""
    for block in engine.answer(blocks.unpack(request["inputs"]), run_in_thread):
        growing = isinstance(block, Prose) and not block.done
        if block is None or (growing and block.text == said):  # nothing new: a turn for the next
            yield None
            continue
        said = block.text if growing else said
        yield {"block": blocks.to_json(block)}


def _handle_data_request(request: dict) -> Iterator[dict]:
    """The rows as a model sees them."""
    from bigmodel.core.spec import RunSpec
    from bigmodel.data import model_view

    spec, cache = RunSpec.check(request["spec"]), Path(request["cache"])
    if request["do"] == "seen":
        yield {"seen": asdict(model_view.batch_view(spec, cache, request["row"]))}
        return
    for part in model_view.count_tokens(spec, cache):
        yield {"counted": part}


def _advance(name: str, answer: Iterator[dict | None], open_answers: dict, reply: Callable) -> None:
    try:
        part = next(answer)
        if part:
            reply(name, **part)
    except StopIteration:
        open_answers.pop(name)
        reply(name, done=True)
    except Refusal as refusal:
        open_answers.pop(name)
        reply(name, error=refusal.to_json())
    except (SystemExit, KeyboardInterrupt):  # the worker itself is told to leave
        raise
    except BaseException as error:  # of one request, also a panic in Rust: the others' answers go on
        open_answers.pop(name)
        if out_of_memory.is_out_of_memory(error):
            reply(name, error=_out_of_memory().to_json())
            return
        mark = child_process.log_traceback()
        what = _("This could not be computed.")
        why = _("Something went wrong inside; the log has it under {mark}.", mark=mark)
        if not isinstance(error, Exception):  # of tokenizers
            why = _("A library of this model gave up: {reason}. The log has it under {mark}.", reason=str(error)[:200], mark=mark)  # fmt: skip
        reply(name, error=Refusal(what, why, _("Try other values.")).to_json())


def _out_of_memory() -> Refusal:
    what = _("The memory was used up. This was being done: {phase}.", phase=_("Computing an answer"))
    return Refusal(what, do=_("Ask for less at once: a shorter input or answer, fewer beams, or a smaller model."))


if __name__ == "__main__":
    main()
