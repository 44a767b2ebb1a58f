"""People who watch a run, without their browsers: each a WebSocket that asks and reads as the page's script does.

A browser draws for itself; what is left here is what a session costs the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from statistics import median

from benchmarks.speed.side import Failed, peer

PATIENCE = 60.0  # seconds for the first whole page


class Watcher:
    """One session on one page. Fragments that redraw themselves are asked for again, as the page's script does."""

    def __init__(self, address: str, page: str, query: str, words: str):
        self.address, self.page, self.query = address, page, query
        self.words, self.seen = words.encode(), False  # what the page must show
        self.hash = ""
        self.drawn = asyncio.Event()  # the whole page, once
        self.runs: list[float] = []  # seconds from asking to the end of the script
        self.timers: dict[str, asyncio.Task] = {}
        self.asked = 0.0

    async def live(self) -> None:
        """Until it is cancelled."""
        websockets = peer("websockets")
        place = self.address.replace("http", "ws") + "/_stcore/stream"
        async with websockets.connect(
            place, origin=self.address, subprotocols=["streamlit"], max_size=None, ping_interval=None
        ) as self.line:
            await self.ask()
            try:
                async for data in self.line:
                    await self._take(data)
            finally:
                self._forget()

    async def ask(self, fragment: str = "", auto: bool = False) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.fragment_id, state.is_auto_rerun = self.query, fragment, auto
        state.page_script_hash, state.page_name = self.hash, "" if self.hash else self.page
        state.context_info.timezone, state.context_info.locale = "UTC", "en-US"
        state.context_info.url = f"{self.address}/{self.page}?{self.query}"
        self.asked = time.perf_counter()
        await self.line.send(message.SerializeToString())

    async def _take(self, data: bytes) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        self.seen = self.seen or self.words in data
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.hash = message.new_session.page_script_hash
            if not message.metadata.run.fragment_ids:  # the whole page begins anew
                self._forget()
        elif kind == "navigation":  # which page it has become
            self.hash = message.navigation.page_script_hash
        elif kind == "auto_rerun":
            self._every(message.auto_rerun.interval, message.auto_rerun.fragment_id)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self._stop(fragment)
        elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
            raise Failed(f"the page shows an exception: {message.delta.new_element.exception.message}")
        elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            if not self.seen:
                raise Failed(f"the page {self.page} does not show {self.words.decode()!r}")
            self.runs.append(time.perf_counter() - self.asked)
            self.drawn.set()

    def _every(self, interval: float, fragment: str) -> None:
        if fragment not in self.timers:
            self.timers[fragment] = asyncio.create_task(self._again(interval, fragment))

    async def _again(self, interval: float, fragment: str) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.ask(fragment, auto=True)

    def _stop(self, fragment: str) -> None:
        if timer := self.timers.pop(fragment, None):
            timer.cancel()

    def _forget(self) -> None:
        for fragment in list(self.timers):
            self._stop(fragment)


async def watch(address: str, page: str, query: str, words: str, count: int) -> None:
    """`count` sessions until stdin ends; says when all of them see the page, and at the end how often each was redrawn."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    watchers = [Watcher(address, page, query, words) for _one in range(count)]
    lives = [asyncio.create_task(watcher.live()) for watcher in watchers]
    first = asyncio.gather(*(watcher.drawn.wait() for watcher in watchers))
    done, _pending = await asyncio.wait([first, *lives], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if first not in done:
        first.cancel()
        _say(lives)
        seen = sum(watcher.drawn.is_set() for watcher in watchers)
        raise Failed(f"{seen} of {count} sessions saw the page within {PATIENCE:.0f} s")
    print(json.dumps({"first": max(watcher.runs[0] for watcher in watchers)}), flush=True)
    begun = time.perf_counter()
    over = asyncio.create_task(ended.wait())
    done, _pending = await asyncio.wait([over, *lives], return_when=asyncio.FIRST_COMPLETED)
    if over not in done:
        over.cancel()
        _say(lives)
        raise Failed("the server closed a session")
    seconds = time.perf_counter() - begun
    later = [took for watcher in watchers for took in watcher.runs[1:]]
    told = {
        "redraws": len(later) / seconds / count,
        "median": median(later) if later else None,
        "worst": max(later, default=None),
    }
    print(json.dumps(told), flush=True)


def _say(lives: Sequence[asyncio.Task]) -> None:
    """Raise what ended a session, if something did."""
    for life in lives:
        if life.done() and not life.cancelled() and life.exception() is not None:
            raise life.exception()


def main(arguments: Sequence[str]) -> None:
    address, page, query, words, count = arguments
    try:
        asyncio.run(watch(address, page, query, words, int(count)))
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


if __name__ == "__main__":
    main(sys.argv[1:])
