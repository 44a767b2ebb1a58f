"""Who is let in by the server, and who may read what it writes."""

import asyncio
import contextlib
import os
import re
import socket
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
from streamlit import config
from test_own_data import reviews

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.studio import Studio
from bigmodel.ui import access
from bigmodel.ui.access import Access

TOKEN = "t" * 43
HOST, OWN = "127.0.0.1:8501", "http://127.0.0.1:8501"
COOKIE = {"Cookie": f"other=1; bigmodel-token-8501={TOKEN}"}
ROUTES = ("/", "/train", "/healthz", "/_stcore/health", "/_stcore/metrics", "/media/a.png", "/static/js/a.js", "/receive",
          "/_stcore/upload_file/a/b", "/plotly.js", "/no-such-page")  # fmt: skip


@pytest.fixture(autouse=True)
def allowed_hosts():
    before = config.get_option("server.allowedHosts")
    config.set_option("server.allowedHosts", ["localhost", "127.0.0.1", "[::1]"])
    yield
    config.set_option("server.allowedHosts", before)


def ask(path="/", query="", kind="http", method="GET", host=HOST, token=TOKEN, body=(), **headers):
    """(status, headers, text) of what the middleware answers to this request; 200 and 'let in' where it hands it on."""

    async def app(scope, receive, send):
        while kind == "http" and (message := await receive()).get("more_body"):
            assert message["type"] == "http.request"
        if kind == "websocket":
            await send({"type": "websocket.accept"})
            return
        gone = message["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 499 if gone else 200, "headers": []})
        await send({"type": "http.response.body", "body": b"let in"})

    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    messages = (
        [{"type": "websocket.connect"}] if kind == "websocket" else [*pieces, {"type": "http.request", "body": b""}]
    )
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {"type": kind, "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
             "scheme": "http", "headers": [(n.lower().encode(), v.encode()) for n, v in named.items()]}  # fmt: skip
    middleware = Access(app, token=lambda: token, body_limits={"/receive": limits.IMPORT_BYTES})
    asyncio.run(middleware(scope, receive, send))
    if kind == "websocket":
        return (101 if sent[0]["type"] == "websocket.accept" else 403), {}, ""
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(part.get("body", b"") for part in sent[1:]).decode()


@pytest.mark.parametrize("path", ROUTES)
def test_without_the_token_no_route_answers(path):
    assert ask(path)[0] == 401
    assert ask(path, Cookie=f"bigmodel-token-8501={'x' * 43}")[0] == 401
    assert ask(path, "token=wrong")[0] == 401
    assert ask(path, f"token={TOKEN}", method="POST")[0] == 401
    assert ask(path, **COOKIE)[0] == 200


def test_who_lacks_the_token_reads_in_both_languages_where_it_is():
    _status, headers, text = ask("/train", Accept="text/html")
    assert "token" in text and "终端" in text and "terminal" in text and TOKEN not in text
    assert headers["content-type"].startswith("text/html") and "no-store" in headers["cache-control"]


def test_the_token_moves_from_the_address_into_a_cookie_and_the_deep_link_stays():
    status, headers, _text = ask("/train", f"task=a%20b&token={TOKEN}&lang=zh")
    assert (status, headers["location"]) == (303, "/train?task=a%20b&lang=zh")
    cookie = headers["set-cookie"].lower()
    assert "bigmodel-token-8501=" in cookie and "httponly" in cookie and "samesite=strict" in cookie
    stale = ask("/try", "token=of-yesterday&model=m", **COOKIE)
    assert (stale[0], stale[1]["location"]) == (303, "/try?model=m")


def test_the_redirect_leads_nowhere_else():
    for path in ("//evil.example/", "/\\evil.example/"):
        assert re.match(r"/[^/\\]", ask(path, f"token={TOKEN}")[1]["location"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:9999"}, {"Origin": "http://localhost:8501"}, {"Origin": "null"},
        {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:8501.evil.example"}, {"Origin": "http://["},
        {"host": "evil.example"}, {"host": "evil.example:8501", "Origin": "http://evil.example:8501"}, {"host": ""},
    ],
)  # fmt: skip
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_only_the_apps_own_origin_and_host_are_let_in_with_or_without_a_token(headers, token):
    for path in ROUTES:
        assert ask(path, token=token, **COOKIE, **headers)[0] == 403
        assert ask(path, token=token, method="POST", **COOKIE, **headers)[0] == 403
    assert ask("/_stcore/stream", kind="websocket", token=token, **COOKIE, **headers)[0] == 403


def test_a_websocket_needs_origin_and_cookie():
    stream = {"path": "/_stcore/stream", "kind": "websocket"}
    assert ask(**stream, **COOKIE, Origin=OWN)[0] == 101
    assert ask(**stream, Origin=OWN)[0] == 403
    assert ask(**stream, **COOKIE)[0] == 403
    assert ask(**stream, query=f"token={TOKEN}", Origin=OWN)[0] == 403


def test_pages_of_other_ports_load_nothing_though_the_browser_sends_them_the_cookie():
    picture = {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    frame = {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    link = {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert [ask("/media/a.png", **COOKIE, **headers)[0] for headers in (picture, frame, link)] == [403, 403, 200]


def test_a_link_from_another_site_is_followed_once_more_from_here():
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert "refresh" in ask("/runs", Accept="text/html", **link)[2]
    assert "refresh" not in ask("/runs", Accept="text/html")[2]


def test_a_size_that_is_too_large_is_refused_before_a_byte_of_it_is_read():
    too_large = {"/receive": limits.IMPORT_BYTES + 1, "/_stcore/upload_file/a/b": 40 * 2**20, "/": 40 * 2**20}
    for path, size in too_large.items():
        assert ask(path, method="POST", Content_Length=str(size), **COOKIE)[0] == 413
        assert ask(path, method="POST", Content_Length="9" * 5000, **COOKIE)[0] == 413
    assert ask("/receive", method="POST", Content_Length=str(limits.IMPORT_BYTES), **COOKIE)[0] == 200


def test_a_body_of_no_declared_size_ends_at_the_bound():
    assert ask("/", method="POST", body=[bytes(2**20)] * 30, **COOKIE)[0] == 499
    assert ask("/", method="POST", body=[bytes(2**20)] * 3, **COOKIE)[0] == 200


def test_the_token_is_kept_for_the_next_server_and_is_its_owners_alone(tmp_path):
    file = tmp_path / "token"
    token = access._read_or_make(file)
    assert len(token) >= 43 and stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert access._read_or_make(file) == token and stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("")
    assert len(access._read_or_make(file)) >= 43 and access._read_or_make(file) != token


def test_the_switch_lets_in_without_a_token(monkeypatch):
    for value, required in (("1", False), ("true", False), ("0", True), ("", True)):
        monkeypatch.setenv(access.NO_TOKEN_VARIABLE, value)
        assert access.token_required() == required
    monkeypatch.setattr(sys, "argv", ["app.py", "--no-token"])
    assert not access.token_required()
    assert ask("/", token="")[0] == 200


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_home_is_its_users_alone_also_one_that_was_open_before(tmp_path):
    new, old = tmp_path / "new" / "home", tmp_path / "old"
    old.mkdir(mode=0o755)
    for home in (new, old):
        Studio(home)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_what_the_command_line_writes_is_its_users_alone(tmp_path):
    code = f"import os; os.umask(0o022); from bigmodel.cli.command import main; main(['runs', '--home', {str(tmp_path)!r}]); open('new', 'w')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_all_uploads_together_have_a_bound(tmp_path, monkeypatch):
    desk = Studio(tmp_path)
    monkeypatch.setattr(limits, "WAITING_UPLOAD_BYTES", 40 * 2**20)
    desk.imports.receive("kept.csv", [bytes(10 * 2**20)])
    with desk.imports.open_upload("a.csv", announced=25 * 2**20), pytest.raises(Refusal, match="10 MB"):
        desk.imports.open_upload("b.csv", announced=10 * 2**20)
    with pytest.raises(Refusal), desk.imports.open_upload("of no declared size.csv") as upload:
        for _piece in range(40):
            upload.write(bytes(2**20))
    assert desk.imports.receive("small.csv", [reviews()]).bytes


def test_a_connection_that_sends_no_whole_request_ends(monkeypatch):
    """The real protocol on a real socket, with a bound of a tenth of a second."""
    import uvicorn

    monkeypatch.setattr(access, "HEADER_SECONDS", 0.1)
    access.bound_header_time()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def talk(port, data):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        with contextlib.suppress(ConnectionResetError):
            answer = await reader.read(4096)
            while more := await reader.read(4096):
                answer += more
            return answer
        return b""

    async def serve():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", timeout_keep_alive=1))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            port = listening.getsockname()[1]
            silent = await talk(port, b"")
            slow = await talk(port, b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            whole = await talk(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            second = await talk(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost")
            server.should_exit = True
            await serving
            return SimpleNamespace(silent=silent, slow=slow, whole=whole, second=second)

    answers = asyncio.run(serve())
    assert (answers.silent, answers.slow) == (b"", b"")
    assert answers.whole.endswith(b"ok") and answers.second.count(b"200 OK") == 1
