"""The server: Streamlit over bigmodel/ui/main.py; starts the supervisor with itself and stops it with itself.

    streamlit run app.py [-- --no-token]

The pages' script is another file so that the folder `pages/` does not stand beside it: Streamlit would
take the folder for its own and answer the first deep link without our frame.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
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
from bigmodel.core import files, limits  # noqa: E402
from bigmodel.core.words import LANGUAGES, say  # noqa: E402
from bigmodel.ui import access  # noqa: E402
from bigmodel.ui.data.upload import UPLOAD_URL, handle_upload  # noqa: E402
from bigmodel.ui.error_view import show_unexpected_error  # noqa: E402
from bigmodel.ui.models.welcome import prefetch_examples  # noqa: E402
from bigmodel.ui.runs.live_plot import PLOTLY_PATH, PLOTLY_URL  # noqa: E402
from bigmodel.ui.stale_fragments import drop_stale_reruns  # noqa: E402
from bigmodel.ui.state import studio  # noqa: E402


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[dict]:
    """The supervisor lives as long as the server; runs go on without either."""
    await anyio.to_thread.run_sync(studio().serve)
    access.access_token()  # its file is there before the server listens
    _print_address()
    if os.environ.get("BIGMODEL_PREFETCH", "1") != "0":
        threading.Thread(target=prefetch_examples, name="bigmodel-warm", daemon=True).start()
    try:
        yield {}
    finally:
        await anyio.to_thread.run_sync(studio().close)


def _print_address() -> None:
    """Where start.py, which waits until the server listens and opens a browser, does not."""
    if st.get_option("logger.hideWelcomeMessage"):
        return
    host, port, base_path = map(st.get_option, ("server.address", "server.port", "server.baseUrlPath"))
    address = access.own_address(host or "", port, base_path)
    for language in LANGUAGES:
        print(say(access.open_words(address), language), flush=True)


async def health(request: Request) -> JSONResponse:
    """Alive, and whether it may change anything."""
    return JSONResponse({"status": "ok", "version": bigmodel.__version__, "read_only": studio().read_only})


async def plotly(request: Request) -> FileResponse:
    """The plotly.min.js of the installed plotly; its version is part of the address, so it is kept for good."""
    return FileResponse(
        PLOTLY_PATH, media_type="text/javascript", headers={"cache-control": "public, max-age=31536000, immutable"}
    )


files.set_private_umask()
access.bound_header_time()
drop_stale_reruns()
app = st.App(
    HERE / "bigmodel" / "ui" / "main.py",
    lifespan=lifespan,
    routes=[Route("/healthz", health), Route(PLOTLY_URL, plotly), Route(UPLOAD_URL, handle_upload, methods=["POST"])],
    middleware=[Middleware(access.Access, token=access.access_token, body_limits={UPLOAD_URL: limits.IMPORT_BYTES})],
    on_script_error=show_unexpected_error,
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    app.run()
