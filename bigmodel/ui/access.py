"""Who is let in: an ASGI middleware before every route checks Host, Origin and a token, and bounds what is sent."""

from __future__ import annotations

import asyncio
import html
import os
import re
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn.config
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from bigmodel.core import limits
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.studio import home

Message = MutableMapping[str, object]
App = Callable[[Message, Callable, Callable], Awaitable[None]]

TOKEN_FILE = "token"  # in the home folder, so that a restart does not log out who has the pages open
TOKEN_BYTES = 32
NO_TOKEN_VARIABLE, NO_TOKEN_OPTION = "BIGMODEL_NO_TOKEN", "--no-token"
COOKIE_SECONDS = 30 * 86_400
HEADER_SECONDS = 10.0  # from the first byte of a request, or the connection, to the end of its headers
BODY_SECONDS = 60.0  # without a byte of a body that was announced

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
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"geolocation=(), payment=(), usb=()"),
)

NO_TOKEN = _("This address lacks the token that lets you in.")
WHERE_TOKEN = _(
    "Open the whole address that was printed in the terminal when bigmodel was started; it ends in {end}. The token also "
    "lies in the file '{file}' of the home folder of bigmodel, which only its owner can read.",
    end="?token=...", file=TOKEN_FILE,
)  # fmt: skip
FOREIGN = _("This request comes from another site, or asks for this server under a name that is not its own.")
OWN_PAGES_ONLY = _("Only pages of this bigmodel server are let in. Open its own address.")


# -- the token ---------------------------------------------------------------------------------------------
def token_required() -> bool:
    switched_off = os.environ.get(NO_TOKEN_VARIABLE, "0").lower() not in ("", "0", "false", "no")
    return not (switched_off or NO_TOKEN_OPTION in sys.argv[1:])


@cache
def access_token() -> str:
    """The token of this server's home, made where there is none; '' where it is switched off."""
    return _read_or_make(home() / TOKEN_FILE) if token_required() else ""


def _read_or_make(file: Path) -> str:
    for _attempt in range(2):
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            known = file.read_text("ascii", "replace").strip()
            if re.fullmatch(r"[\w-]{32,}", known, re.ASCII):
                file.chmod(0o600)
                return known
            file.unlink()  # cut short, or not ours
        else:
            with os.fdopen(handle, "w") as opened:
                token = secrets.token_urlsafe(TOKEN_BYTES)
                opened.write(token)
            return token
    return secrets.token_urlsafe(
        TOKEN_BYTES
    )  # another server is writing the file over and over: hold for this one only


def own_address(host: str, port: int, base_path: str = "") -> str:
    """What a person opens. Not `localhost`, which another user's server may answer to on ::1."""
    reached = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "localhost": "127.0.0.1", "::": "[::1]"}.get(host, host)
    address = f"http://{reached}:{port}/" + (f"{base_path.strip('/')}/" if base_path.strip("/") else "")
    return f"{address}?token={access_token()}" if access_token() else address


def open_words(address: str) -> Words:
    return _("Open {address}   (whoever has this address is let in)", address=address)


# -- the middleware ----------------------------------------------------------------------------------------
class Access:
    """Lets in the app's own pages, with the token; tells the browser to load, send and frame nothing elsewhere."""

    def __init__(self, app: App, token: Callable[[], str], body_limits: Mapping[str, int]):
        """body_limits: the bytes that a body may have, by path; elsewhere UPLOAD_BYTES and a little more."""
        self.app, self.token, self.body_limits = app, token, body_limits

    async def __call__(self, scope: Message, receive: Callable, send: Callable) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = _with_security_headers(send)
        response = self._refuse(scope)
        if response is None:
            await self.app(scope, _bounded(receive, self._body_limit(scope)), send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the client reads 403
        else:
            await response(scope, receive, send)

    def _refuse(self, scope: Message) -> Response | None:
        """The answer to who is not let in, or has to come again without the token in the address."""
        headers = Headers(scope=scope)
        if not _is_own(scope, headers):
            return _refusal_page(headers, 403, FOREIGN, OWN_PAGES_ONLY)
        token = self.token()
        known = not token or _has_cookie(headers, token)
        given = _token_parameters(scope)
        if given and (known or any(_equal(value, token) for value in given)):
            return _without_token(scope, headers, "" if known else token)
        if not known:
            return _refusal_page(headers, 401, NO_TOKEN, WHERE_TOKEN)
        announced, limit = headers.get("content-length", "0"), self._body_limit(scope)
        if announced.isdigit() and int(announced[:20]) > limit:
            return _refusal_page(
                headers, 413, _("What is being sent is larger than {maximum} MB.", maximum=limit // 2**20), None
            )
        return None

    def _body_limit(self, scope: Message) -> int:
        path = str(scope["path"])
        known = next((limit for end, limit in self.body_limits.items() if path.endswith(end)), None)
        return known or limits.UPLOAD_BYTES + 2**20


def _is_own(scope: Message, headers: Headers) -> bool:
    """Whether a request is made to this server's name, and by nobody else's page. Pages on other ports of this machine
    are other sites' pages, whatever cookies and SameSite make of them."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or len(origins) > 1 or not is_host_allowed(hosts[0]):
        return False
    if origins:
        try:
            origin = urlsplit(origins[0])
        except ValueError:
            return False
        return origin.scheme in ("http", "https") and origin.netloc.lower() == hosts[0].lower()
    if scope["type"] == "websocket":  # browsers always say where a websocket comes from
        return False
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return True
    is_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_page and scope["method"] in ("GET", "HEAD")  # a link from elsewhere is followed


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _cookie_name(headers: Headers) -> str:
    """With the port as the browser sees it: cookies ignore ports, and two servers must not log each other out."""
    port = urlsplit(f"//{headers['host']}").port
    return f"bigmodel-token-{port or 0}"


def _has_cookie(headers: Headers, token: str) -> bool:
    parts = (part.strip().partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
    name = _cookie_name(headers)
    return any(key == name and _equal(value, token) for key, _is, value in parts)


def _token_parameters(scope: Message) -> list[str]:
    """Of an address that a person opens: none of a websocket or of what sends something."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return []
    query = bytes(scope.get("query_string") or b"").decode("latin-1")
    return [part.removeprefix("token=") for part in query.split("&") if part.startswith("token=")]


def _without_token(scope: Message, headers: Headers, token: str) -> Response:
    """To the same address without the token, so that it stays in no history; `token` goes into the cookie."""
    query = bytes(scope.get("query_string") or b"").decode("latin-1")
    others = "&".join(part for part in query.split("&") if not part.startswith("token="))
    path = bytes(scope.get("raw_path") or str(scope["path"]).encode()).decode("latin-1").partition("?")[0]
    path = "/" + path.lstrip("/\\")  # two slashes would lead to another server
    response = RedirectResponse(f"{path}?{others}" if others else path, 303, {"cache-control": "no-store"})
    if token:
        response.set_cookie(
            _cookie_name(headers), token, COOKIE_SECONDS, path="/", secure=scope["scheme"] == "https", httponly=True,
            samesite="strict",
        )  # fmt: skip
    return response


def _refusal_page(headers: Headers, status: int, what: Words, do: Words | None) -> Response:
    """Both languages: nobody has chosen one yet."""
    no_store = {"cache-control": "no-store", "connection": "close"}
    paragraphs = [[say(words, language) for words in (what, do) if words] for language in LANGUAGES]
    if "text/html" not in headers.get("accept", ""):
        return PlainTextResponse("\n".join(" ".join(lines) for lines in paragraphs) + "\n", status, no_store)
    # followed from another site, a browser withholds the cookie once: coming again from here, it sends it
    again = '<meta http-equiv="refresh" content="0">' if headers.get("sec-fetch-site") == "cross-site" else ""
    body = "".join(
        f'<section lang="{language}"><h1>{html.escape(lines[0])}</h1>'
        + "".join(f"<p>{html.escape(line)}</p>" for line in lines[1:])
        + "</section>"
        for language, lines in zip(LANGUAGES, paragraphs, strict=True)
    )
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}h1{font-size:1.2rem}"
    )
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
        f'<meta name="viewport" content="width=device-width"><title>bigmodel</title><style>{style}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
    return HTMLResponse(page, status, no_store)


def _with_security_headers(send: Callable) -> Callable:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
        await send(message)

    return with_headers


def _bounded(receive: Callable, limit: int) -> Callable:
    """A body that is longer than it may be, or stands still, reads as one whose sender has gone."""
    received, more = 0, True

    async def bounded() -> Message:
        nonlocal received, more
        try:
            message = await asyncio.wait_for(receive(), BODY_SECONDS if more else None)
        except TimeoutError:
            return {"type": "http.disconnect"}
        if message["type"] != "http.request":
            more = False
            return message
        received += len(message.get("body", b""))
        more = bool(message.get("more_body"))
        return message if received <= limit else {"type": "http.disconnect"}

    return bounded


# -- slow requests -----------------------------------------------------------------------------------------
class BoundedHeaders(AutoHTTPProtocol):
    """uvicorn's protocol with an end for who connects and sends no request, or one header a minute: uvicorn waits for
    ever, and each such connection holds an open file."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(error)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait_for_headers()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_headers(self) -> None:
        if self._timer is None:  # the first byte of a new connection does not begin to count anew
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None


def bound_header_time() -> None:
    """For servers that are started after this; Streamlit passes no protocol of its own."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:BoundedHeaders"
