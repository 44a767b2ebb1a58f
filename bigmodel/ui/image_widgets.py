"""Pictures from a person: chosen among examples, drawn, or uploaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path

import streamlit as st
from PIL import Image

from bigmodel.core import limits
from bigmodel.ui.language import _

HERE = Path(__file__).parent
PEN_WIDTH = 22  # of 280 pixels: at 28 x 28 a line a little over two pixels wide, as the digits have

_board = st.components.v2.component(
    "bigmodel_draw",
    html='<div class="board"><canvas width="280" height="280" role="img" tabindex="0"></canvas>'
    '<button type="button"></button></div>',
    css=(HERE / "draw.css").read_text(encoding="utf-8"),
    js=(HERE / "draw.js").read_text(encoding="utf-8"),
)
_upload = st.components.v2.component(
    "bigmodel_upload",
    html='<label class="upload"><input type="file" accept="image/png,image/jpeg,image/webp,image/gif">'
    '<span class="button"></span><span class="hint"></span><span class="said" aria-live="polite"></span></label>',
    css=(HERE / "image_upload.css").read_text(encoding="utf-8"),
    js=(HERE / "image_upload.js").read_text(encoding="utf-8"),
)
_gallery = st.components.v2.component(
    "bigmodel_gallery",
    html='<div class="gallery" role="group"></div>',
    css=(HERE / "gallery.css").read_text(encoding="utf-8"),
    js=(HERE / "gallery.js").read_text(encoding="utf-8"),
)


def upscale(picture: bytes, pixels: int = 96) -> bytes:
    """A small picture with every pixel as a square, as a browser's smoothing hides what the model sees."""
    with Image.open(io.BytesIO(picture)) as small:
        times = pixels // max(small.size)
        if times < 2:
            return picture
        buffer = io.BytesIO()
        small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST).save(buffer, "PNG")
        return buffer.getvalue()


def thumbnail(picture: bytes | None, pixels: int = 96) -> bytes:
    """A PNG that is no larger than it is shown; a sign in the place of a picture that cannot be read."""
    if picture is None:
        return _placeholder(pixels)
    with Image.open(io.BytesIO(picture)) as whole:
        if max(whole.size) <= 2 * pixels:
            return upscale(picture, pixels)
        buffer = io.BytesIO()
        small = whole.convert("RGB" if whole.mode not in ("L", "RGBA") else whole.mode)
        small.thumbnail((2 * pixels, 2 * pixels))  # twice, for screens with fine dots
        small.save(buffer, "PNG")
        return buffer.getvalue()


def pad_to_square(picture: bytes) -> bytes:
    """A PNG with nothing at its sides, where a table would cut off what is wider than high."""
    with Image.open(io.BytesIO(picture)) as whole:
        side, (width, height) = max(whole.size), whole.size
        square = Image.new("RGBA", (side, side))
        square.paste(whole, ((side - width) // 2, (side - height) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _placeholder(pixels: int) -> bytes:
    """A grey square with a stroke through it."""
    square = Image.new("L", (pixels, pixels), 200)
    for place in range(pixels):
        square.putpixel((place, pixels - 1 - place), 90)
    buffer = io.BytesIO()
    square.save(buffer, "PNG")
    return buffer.getvalue()


def draw(key: str) -> bytes | None:
    """A board to draw on; the PNG of what is on it, None while it is empty."""
    drawn = st.session_state.get(key, {}).get("drawn", "")
    result = _board(
        key=key,
        data={
            "alt": _("A black board to draw on in white"),
            "clear": _("Wipe the board"),
            "pen": PEN_WIDTH,
            "drawn": drawn,
        },
        width="content",
        on_drawn_change=lambda: None,
    )
    return _decode_data_url(result.drawn)


def upload(key: str) -> bytes | None:
    """A file from the person's disk as it is, unchecked; None before there is one. Streamlit's own speaks only English."""
    given = st.session_state.get(key, {}).get("file") or {}
    maximum = limits.UPLOAD_BYTES // 2**20
    result = _upload(
        key=key,
        data={
            "choose": _("Choose a picture"),
            "hint": _("or drop it here: PNG, JPEG, WebP or GIF, at most {maximum} MB", maximum=maximum),
            "tooLarge": _("This picture is too large: at most {maximum} MB.", maximum=maximum),
            "limit": limits.UPLOAD_BYTES,
            "name": str(given.get("name", ""))[:200],
        },
        on_file_change=lambda: None,
    )
    return _decode_data_url((result.file or {}).get("data"))


def _decode_data_url(address: object) -> bytes | None:
    """The bytes of a data address; what is none of ours, or too long, is taken for nothing."""
    head, _comma, body = address.partition(",") if isinstance(address, str) else ("", "", "")
    if not head.endswith(";base64") or len(body) > limits.UPLOAD_BYTES * 4 / 3 + 4:
        return None
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        return None


def gallery(
    pictures: Sequence[bytes], names: Sequence[str], *, key: str, label: str, chosen: int | None = None,
    captions: Sequence[str] = (),
) -> int | None:  # fmt: skip
    """The number of the picture that was clicked just now. With captions they stand below, and the pictures are larger."""
    shown = [
        {"src": "data:image/png;base64," + base64.b64encode(picture).decode(), "alt": name, "caption": caption}
        for picture, name, caption in zip_longest(pictures, names, captions, fillvalue="")
    ]
    result = _gallery(
        key=key,
        data={"pictures": shown, "label": label, "chosen": -1 if chosen is None else chosen},
        on_picked_change=lambda: None,
    )
    return result.picked
