"""The way in for files: a field to drop one on, and the route that takes it, in pieces, to the disk."""

from __future__ import annotations

from pathlib import Path

import anyio
import streamlit as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import LANGUAGES
from bigmodel.core.words import _ as words
from bigmodel.ui.language import _, current
from bigmodel.ui.state import studio

HERE = Path(__file__).parent
UPLOAD_URL = "/receive"
CSRF_HEADER = "x-bigmodel"  # a header that pages of other sites cannot send without asking, which is never granted

_field = st.components.v2.component(
    "bigmodel_receive",
    html='<label class="upload"><input type="file"><span class="button"></span><span class="hint"></span>'
    '<span class="bar" hidden><span></span></span><span class="said" aria-live="polite"></span>'
    '<span class="share"></span><button class="stop" type="button" hidden></button></label>',
    css=(HERE.parent / "image_upload.css").read_text(encoding="utf-8")
    + (HERE / "upload_progress.css").read_text(encoding="utf-8"),
    js=(HERE / "upload.js").read_text(encoding="utf-8"),
)


def upload_field(key: str, hint: str = "") -> str:
    """The id of the file that has just come, or the ids of several with commas between; '' before there is one. Streamlit's
    own field keeps files in memory. hint: what is asked for, where that is not data of any kind, but one file."""
    result = _field(
        key=key,
        data={
            "address": UPLOAD_URL,
            "language": current(),
            "choose": _("Choose a file"),
            "hint": hint
            or _("or drop it here: CSV, TSV, JSON, text, Markdown, Parquet, pictures as ZIP, PO, XLIFF, TMX"),
            "several": not hint,
            "limit": limits.IMPORT_BYTES,
            "tooLarge": _("This file is too large to be sent. Put it into a folder of the server, and name its path."),
            "cancel": _("Cancel"),
            "cancelled": _("Sending was stopped; nothing was kept."),
            "failed": _("The file could not be sent. Try again."),
        },
        on_parcel_change=lambda: None,
    )
    parcel = result.parcel
    return parcel if isinstance(parcel, str) and parcel.replace(",", "").isalnum() else ""


async def handle_upload(request: Request) -> JSONResponse:
    """A file as the body of a POST; {"parcel": id}, or what is wrong with it, in words."""
    asked = request.query_params.get("language", "")
    language = asked if asked in LANGUAGES else "en"
    if request.headers.get(CSRF_HEADER) != "file":  # see access.py for Host and Origin
        return JSONResponse({"error": words("This request did not come from a page of bigmodel.").text}, 403)
    try:
        parcel = await _save_stream(request)
    except Refusal as refusal:
        return JSONResponse({"error": refusal.say(language)}, 400)
    except OSError as error:
        what = words("The data could not be written: {reason}.", reason=error.strerror or str(error))
        refusal = Refusal(what, do=words("See that there is room on the disk, and try again."))
        return JSONResponse({"error": refusal.say(language)}, 507)
    except ClientDisconnect:
        return JSONResponse({"error": ""}, 499)
    return JSONResponse({"parcel": parcel})


async def _save_stream(request: Request) -> str:
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdigit() else 0
    name = request.query_params.get("name", "")[:4000]
    incoming = await anyio.to_thread.run_sync(studio().imports.open_upload, name, "upload", announced)
    with incoming:
        async for piece in request.stream():
            if piece:
                await anyio.to_thread.run_sync(incoming.write, piece)
        return (await anyio.to_thread.run_sync(incoming.finish)).id
