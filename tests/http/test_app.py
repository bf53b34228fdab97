"""What handlers return and raise becomes a reply."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_network
from typing import Any

import pytest
import trio
from hypercorn.typing import ASGISendEvent

from conduit_py.http import AppClient, ClientReply, DuplicateRoute, Raw, Request, Routes, Streamed
from conduit_py.http.app import App
from conduit_py.log import get_logger, setup_logging, tear_down_logging
from conduit_py.observe.requests import RequestWatch
from tests.http.wire import app_of

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS",
    "access-control-allow-headers": "X-Requested-With, Content-Type, Authorization",
}


class Limited(Exception):
    status = 429
    errcode = "M_LIMIT_EXCEEDED"
    extra: Mapping[str, Any] = {"retry_after_ms": 2000}
    headers: Mapping[str, str] = {"Retry-After": "2"}


class Storage(Exception):
    """Of a layer that knows no replies."""


def translate(error: Exception) -> Exception | None:
    return Limited("The disk is full") if isinstance(error, Storage) else None


class Unprintable:
    pass


async def fail_together(*errors: Exception) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(fail, error)


def declare(routes: Routes) -> None:
    @routes.get("/answer/<kind>")
    async def answer(request: Request, kind: str) -> Any:
        answers = {
            "dict": {"a": "é"},
            "list": [1, 2],
            "status": ({"a": 1}, 202),
            "raw": Raw(b'{"spliced":1}'),
            "raw_all": Raw(b"\x89PNG", "image/png", 206, {"Cache-Control": "immutable"}),
            "streamed": Streamed(chunks(), "text/plain", length=6),
            "none": None,
            "unprintable": {"a": Unprintable()},
        }
        return answers[kind]

    @routes.get("/raise/<kind>")
    async def refuse(request: Request, kind: str) -> Any:
        if kind == "refusal":
            raise Limited("Too many requests")
        if kind == "group":
            await fail_together(Limited("Too many requests"))
        if kind == "groups":
            raise ExceptionGroup("outer", [ExceptionGroup("inner", [Limited("Too many requests")])])
        if kind == "translated":
            raise Storage
        if kind == "several":
            await fail_together(Limited("one"), ValueError("two"))
        raise ValueError("secret")

    @routes.post("/json")
    async def parse(request: Request) -> Any:
        return await request.json_object()

    @routes.get("/forever")
    async def forever(request: Request) -> Any:
        await trio.sleep_forever()


async def chunks() -> AsyncIterator[bytes]:
    for chunk in (b"one", b"two"):
        await trio.lowlevel.checkpoint()
        yield chunk


def app(**options: Any) -> App:
    return app_of(declare, refusals=(Limited,), translate=translate, **options)


@pytest.fixture
def client() -> AppClient:
    return AppClient(app())


def nameless(reply: ClientReply) -> dict[str, str]:
    """The headers without the name of the request."""
    return {name: value for name, value in reply.headers.items() if name != "x-request-id"}


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("dict", 200, '{"a":"é"}'.encode()),
        ("list", 200, b"[1,2]"),
        ("status", 202, b'{"a":1}'),
        ("raw", 200, b'{"spliced":1}'),
    ],
)
async def test_answer_is_json(client: AppClient, kind: str, status: int, body: bytes) -> None:
    reply = await client.request("GET", f"/answer/{kind}")
    assert (reply.status, reply.body) == (status, body)
    assert nameless(reply) == {"content-type": "application/json", "content-length": str(len(body)), **CORS}


async def test_answer_raw_says_its_type_status_and_headers(client: AppClient) -> None:
    reply = await client.request("GET", "/answer/raw_all")
    assert (reply.status, reply.body) == (206, b"\x89PNG")
    assert nameless(reply) == {
        "content-type": "image/png",
        "content-length": "4",
        "cache-control": "immutable",
        **CORS,
    }


async def test_answer_streamed_sends_every_chunk(client: AppClient) -> None:
    reply = await client.request("GET", "/answer/streamed")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"onetwo", "6")


async def test_answer_streamed_is_closed_when_the_peer_has_gone() -> None:
    closed: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            await trio.lowlevel.checkpoint()
            closed.append("closed")

    def declare_endless(routes: Routes) -> None:
        @routes.get("/endless")
        async def answer(request: Request) -> Streamed:
            return Streamed(endless(), "text/plain")

    class GoneError(Exception):
        pass

    async def send(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.body":
            raise GoneError

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope: Any = {"type": "http", "method": "GET", "raw_path": b"/endless", "headers": []}
    try:
        await app_of(declare_endless)(scope, receive, send)
    except GoneError as gone:
        assert closed == ["closed"], gone  # noqa: PT017  # later the generator is closed by being collected
    assert closed


@pytest.mark.parametrize("kind", ["none", "unprintable"])
async def test_answer_that_is_none_is_our_mistake(
    client: AppClient, kind: str, expect_errors: list[logging.LogRecord]
) -> None:
    reply = await client.request("GET", f"/answer/{kind}")
    assert (reply.status, reply.json()["errcode"]) == (500, "M_UNKNOWN")


@pytest.mark.parametrize("kind", ["refusal", "group", "groups"])
async def test_refusal_is_answered_as_it_says(client: AppClient, kind: str) -> None:
    reply = await client.request("GET", f"/raise/{kind}")
    assert reply.status == 429
    assert reply.json() == {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 2000}
    assert reply.headers["retry-after"] == "2"
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_translated_exception_is_answered_as_what_it_became(client: AppClient) -> None:
    assert (await client.request("GET", "/raise/translated")).json()["error"] == "The disk is full"


@pytest.mark.parametrize("kind", ["other", "several"])
async def test_other_exception_is_logged_once_and_not_told(
    client: AppClient, kind: str, expect_errors: list[logging.LogRecord]
) -> None:
    reply = await client.request("GET", f"/raise/{kind}?access_token=sesame&a=b")
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (500, "*")
    [record] = expect_errors
    assert record.exc_info is not None
    request_id = reply.json()["error"].removeprefix("Internal server error (request ").removesuffix(")")
    assert reply.json() == {"errcode": "M_UNKNOWN", "error": f"Internal server error (request {request_id})"}
    assert record.getMessage() == f"Request {request_id} failed: GET /raise/{kind}?access_token=…&a=b"


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [(b"{", 400, "M_NOT_JSON"), (b"[]", 400, "M_BAD_JSON"), (b"", 400, "M_NOT_JSON"), (b"{}", 200, None)],
)
async def test_json_body_errors(client: AppClient, body: bytes, status: int, errcode: str | None) -> None:
    reply = await client.request("POST", "/json", body=body)
    assert (reply.status, reply.json().get("errcode")) == (status, errcode)


async def test_body_beyond_the_limit_refused() -> None:
    client = AppClient(app(request_bytes_max=10))
    reply = await client.request("POST", "/json", body=b'{"a":"' + b"x" * 10 + b'"}')
    assert (reply.status, reply.json()["errcode"]) == (413, "M_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "status", "errcode"),
    [
        ("GET", "/nowhere", 404, "M_UNRECOGNIZED"),
        ("POST", "/answer/dict", 405, "M_UNRECOGNIZED"),
        ("PATCH", "/answer/dict", 405, "M_UNRECOGNIZED"),
        ("GET", "/answer/%ff", 400, "M_INVALID_PARAM"),
    ],
)
async def test_path_errors(client: AppClient, method: str, path: str, status: int, errcode: str) -> None:
    reply = await client.request(method, path)
    assert (reply.status, reply.json()["errcode"]) == (status, errcode)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers.get("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)


@pytest.mark.parametrize("path", ["/answer/dict", "/nowhere", "*"])
async def test_options_answers_for_every_path(client: AppClient, path: str) -> None:
    reply = await client.request("OPTIONS", path)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.items() >= CORS.items()


async def test_request_is_cancelled_with_its_caller(client: AppClient, autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(30) as scope:
        await client.request("GET", "/forever")
    assert scope.cancelled_caught


async def test_access_log_is_off_by_default_and_names_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "conduit_py.http.access")
    await AppClient(app()).request("GET", "/answer/dict?access_token=sesame")
    assert caplog.messages == []
    caplog.set_level(logging.DEBUG, "conduit_py.http.access")
    await AppClient(app()).request("GET", "/answer/dict?access_token=sesame")
    [record] = caplog.records
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    assert fields.pop("ms") >= 0
    assert fields == {
        "peer": "127.0.0.1",
        "method": "GET",
        "uri": "/answer/dict?access_token=…",
        "status": 200,
        "bytes": 10,
    }


PROXIES = [ip_network("10.0.0.0/8")]


@pytest.mark.parametrize("address", ["10.1.2.3", None])
async def test_request_is_called_as_a_trusted_proxy_calls_it(address: str | None) -> None:
    client = AppClient(app(trusted_proxies=PROXIES), address=address)
    reply = await client.request("GET", "/answer/dict", {"X-Request-Id": "a-b.c:1"})
    assert reply.headers["x-request-id"] == "a-b.c:1"


@pytest.mark.parametrize(
    ("address", "given"), [("192.0.2.1", "mine"), ("10.1.2.3", "two words"), ("10.1.2.3", "x" * 65), ("10.1.2.3", "")]
)
async def test_request_is_not_called_as_anybody_likes(address: str, given: str) -> None:
    client = AppClient(app(trusted_proxies=PROXIES), address=address)
    reply = await client.request("GET", "/answer/dict", {"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{6}-[0-9a-f]+", reply.headers["x-request-id"])


async def test_request_id_is_on_every_line_of_the_request(
    expect_errors: list[logging.LogRecord], autojump_clock: trio.testing.MockClock
) -> None:
    """Of its handler, of the tasks and threads that it starts, of its failure; not on the next request's."""
    stream = io.StringIO()
    setup_logging("info", "text", stream)
    log = get_logger("conduit_py.test")
    routes = Routes("test")

    async def begin() -> None:
        log.info("in a task")

    @routes.get("/failing")
    async def failing(request: Request) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
        await trio.to_thread.run_sync(log.info, "in a thread")
        raise ZeroDivisionError

    client = AppClient(App([routes], request_bytes_max=0))
    try:
        replies = [await client.request("GET", "/failing") for _ in range(2)]
        log.info("behind it")
    finally:
        tear_down_logging()
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("20")]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert [line.rpartition("request_id=")[2] for line in lines[:6]] == [ids[0]] * 3 + [ids[1]] * 3
    assert "request_id" not in lines[6]
    assert [reply.json()["error"] for reply in replies] == [f"Internal server error (request {name})" for name in ids]
    assert len(expect_errors) == 2


async def test_route_of_quart_works_the_ordinary_way() -> None:
    from quart import request as quart_request

    quart = app()

    @quart.get("/ordinary")
    async def ordinary() -> dict[str, Any]:
        return {"path": quart_request.path}

    client = AppClient(quart)
    assert (await client.request("GET", "/ordinary")).json() == {"path": "/ordinary"}
    assert (await client.request("GET", "/answer/list")).json() == [1, 2]


def test_operations_are_listed() -> None:
    listed = [(route.method, route.template, route.name, route.module) for route in app().operations]
    assert listed == [
        ("GET", "/answer/<kind>", "answer", "test"),
        ("GET", "/raise/<kind>", "refuse", "test"),
        ("POST", "/json", "parse", "test"),
        ("GET", "/forever", "forever", "test"),
    ]


def test_same_route_in_two_modules_refused() -> None:
    one, two = Routes("one"), Routes("two")
    declare(one)
    declare(two)
    with pytest.raises(DuplicateRoute, match="GET /answer/<kind>"):
        App([one, two], request_bytes_max=1)


async def test_observer_is_told_of_every_answer_by_its_template() -> None:
    told: list[tuple[str, str, int]] = []
    routes = Routes("test")

    @routes.get("/things/<name>")
    async def get_thing(request: Request, name: str) -> Any:
        if name == "bad":
            raise Limited("slow down")
        return {}

    app = App(
        [routes],
        request_bytes_max=1000,
        refusals=(Limited,),
        watch=RequestWatch(lambda route, method, status, seconds: told.append((route, method, status))),
    )
    client = AppClient(app)
    for path in ("/things/good", "/things/bad", "/nothing"):
        await client.request("GET", path)
    assert told == [("/things/<name>", "GET", 200), ("/things/<name>", "GET", 429), ("other", "GET", 404)]
