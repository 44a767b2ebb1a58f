"""The server: Streamlit over bigmodel/ui/main.py; starts the supervisor with itself and stops it with itself.

    streamlit run app.py

The pages' script is another file so that the folder `pages/` does not stand beside it: Streamlit would
take the folder for its own and answer the first deep link without our frame.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # `streamlit run` may be called from any folder

import anyio  # noqa: E402
import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import FileResponse, JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

import bigmodel  # noqa: E402
from bigmodel.ui.data.upload import UPLOAD_URL, handle_upload  # noqa: E402
from bigmodel.ui.error_view import show_unexpected_error  # noqa: E402
from bigmodel.ui.models.welcome import prefetch_examples  # noqa: E402
from bigmodel.ui.runs.live_plot import PLOTLY_PATH, PLOTLY_URL  # noqa: E402
from bigmodel.ui.stale_fragments import drop_stale_reruns  # noqa: E402
from bigmodel.ui.state import studio  # noqa: E402

Message = MutableMapping[str, object]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # Streamlit's components are modules of text
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"geolocation=(), payment=(), usb=()"),
)


class SecurityHeaders:
    """Nothing is loaded from, sent to or framed by another site: said to the browser with every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Callable, send: Callable) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[dict]:
    """The supervisor lives as long as the server; runs go on without either."""
    await anyio.to_thread.run_sync(studio().serve)
    if os.environ.get("BIGMODEL_PREFETCH", "1") != "0":
        threading.Thread(target=prefetch_examples, name="bigmodel-warm", daemon=True).start()
    try:
        yield {}
    finally:
        await anyio.to_thread.run_sync(studio().close)


async def health(request: Request) -> JSONResponse:
    """Alive, and whether it may change anything."""
    return JSONResponse({"status": "ok", "version": bigmodel.__version__, "read_only": studio().read_only})


async def plotly(request: Request) -> FileResponse:
    """The plotly.min.js of the installed plotly; its version is part of the address, so it is kept for good."""
    return FileResponse(
        PLOTLY_PATH, media_type="text/javascript", headers={"cache-control": "public, max-age=31536000, immutable"}
    )


drop_stale_reruns()
app = st.App(
    HERE / "bigmodel" / "ui" / "main.py",
    lifespan=lifespan,
    routes=[Route("/healthz", health), Route(PLOTLY_URL, plotly), Route(UPLOAD_URL, handle_upload, methods=["POST"])],
    middleware=[Middleware(SecurityHeaders)],
    on_script_error=show_unexpected_error,
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    app.run()
