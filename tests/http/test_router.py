"""A path finds its handler, with its parameters decoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.http import BadPath, DuplicateRoute, MethodNotAllowed, Request, Routes, Unrecognized
from conduit_py.http.router import Router
from conduit_py.http.routes import derived_templates, parse_template

ROOM = "/_matrix/client/v3/rooms/<room_id>"


async def answer(request: Request) -> dict[str, Any]:
    return {}


def declare(register: Callable[[Routes], None]) -> Router:
    routes = Routes("test")
    register(routes)
    return Router(routes)


def register_rooms(routes: Routes) -> None:
    @routes.put(f"{ROOM}/send/<event_type>/<txn_id>")
    async def send_message(request: Request, room_id: str, event_type: str, txn_id: str) -> dict[str, Any]:
        return {}

    @routes.get(f"{ROOM}/state/<event_type>/<path:state_key>")
    async def get_room_state_with_key(
        request: Request, room_id: str, event_type: str, state_key: str
    ) -> dict[str, Any]:
        return {}

    @routes.get(f"{ROOM}/state")
    async def get_room_state(request: Request, room_id: str) -> dict[str, Any]:
        return {}

    @routes.get("/_matrix/client/v3/profile/<user_id>/displayname")
    async def get_display_name(request: Request, user_id: str) -> dict[str, Any]:
        return {}

    @routes.get("/_matrix/client/v3/profile/<user_id>/<key_name>")
    async def get_profile_field(request: Request, user_id: str, key_name: str) -> dict[str, Any]:
        return {}

    @routes.delete("/_matrix/client/v3/profile/<user_id>/<key_name>")
    async def delete_profile_field(request: Request, user_id: str, key_name: str) -> dict[str, Any]:
        return {}


ROUTER = declare(register_rooms)


def found(method: str, path: str) -> tuple[str, dict[str, str]]:
    route, arguments = ROUTER.match(method, path.encode())
    return route.name, arguments


@pytest.mark.parametrize("version", ["r0", "v1", "v3"])
def test_match_takes_every_spelling_of_the_version(version: str) -> None:
    path = f"/_matrix/client/{version}/rooms/!a:one.test/send/m.room.message/1"
    assert found("PUT", path) == (
        "send_message",
        {"room_id": "!a:one.test", "event_type": "m.room.message", "txn_id": "1"},
    )


def test_match_decodes_each_parameter_once() -> None:
    _, arguments = found("PUT", "/_matrix/client/v3/rooms/%21a%3Aone.test/send/a%2Fb/%2525")
    assert arguments == {"room_id": "!a:one.test", "event_type": "a/b", "txn_id": "%25"}


def test_match_decodes_literal_segments() -> None:
    assert found("GET", "/_matrix/client/v3/%72ooms/!a/state")[0] == "get_room_state"


@pytest.mark.parametrize(
    ("rest", "state_key"),
    [("", ""), ("/", ""), ("/key", "key"), ("/a/b", "a/b"), ("/%40alice%3Aone.test", "@alice:one.test"), ("//", "/")],
)
def test_match_state_key_takes_the_rest(rest: str, state_key: str) -> None:
    name, arguments = found("GET", f"/_matrix/client/v3/rooms/!a/state/m.room.member{rest}")
    assert name == "get_room_state_with_key"
    assert arguments == {"room_id": "!a", "event_type": "m.room.member", "state_key": state_key}


def test_match_prefers_the_literal_segment() -> None:
    assert found("GET", "/_matrix/client/v3/profile/@a:b/displayname")[0] == "get_display_name"
    assert found("GET", "/_matrix/client/v3/profile/@a:b/m.tz")[0] == "get_profile_field"


def test_match_falls_back_to_the_parameter_for_another_method() -> None:
    name, arguments = found("DELETE", "/_matrix/client/v3/profile/@a:b/displayname")
    assert (name, arguments["key_name"]) == ("delete_profile_field", "displayname")


def test_match_head_where_get_is() -> None:
    assert found("HEAD", "/_matrix/client/v3/rooms/!a/state")[0] == "get_room_state"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "one.test:443",
        "/_matrix/client/v3/rooms",
        "/_matrix/client/v2/rooms/!a/state",
        "/_matrix/client/v3/rooms//state",
        "/_matrix/client/v3/rooms/!a/send/m.room.message",
        "/_matrix/client/v3/rooms/!a/send/m.room.message/1/2",
        "//_matrix/client/v3/rooms/!a/state",
    ],
)
def test_match_unknown_path_refused(path: str) -> None:
    with pytest.raises(Unrecognized):
        ROUTER.match("GET", path.encode())


def test_match_wrong_method_names_the_right_ones() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTER.match("POST", b"/_matrix/client/v3/profile/@a:b/displayname")
    assert refused.value.headers["Allow"] == "GET, HEAD, DELETE, OPTIONS"


def test_match_path_that_is_not_utf8_refused() -> None:
    with pytest.raises(BadPath):
        ROUTER.match("GET", b"/_matrix/client/v3/rooms/%ff/state")


@given(st.binary(max_size=80))
def test_match_gives_a_route_or_refuses(path: bytes) -> None:
    try:
        ROUTER.match("GET", b"/_matrix/client/v3/rooms/" + path)
    except (Unrecognized, MethodNotAllowed, BadPath):
        return


def test_alias_reaches_the_same_handler() -> None:
    def register(routes: Routes) -> None:
        routes.get("/_matrix/client/v1/summary", "/_matrix/client/unstable/im.nheko/summary")(answer)

    router = declare(register)
    for path in (b"/_matrix/client/unstable/im.nheko/summary", b"/_matrix/client/r0/summary"):
        assert router.match("GET", path)[0].handler is answer


def test_declared_template_wins_over_a_derived_one() -> None:
    async def other(request: Request) -> dict[str, Any]:
        return {}

    def register(routes: Routes) -> None:
        routes.get("/_matrix/client/v1/thing")(answer)
        routes.get("/_matrix/client/v3/thing")(other)

    router = declare(register)
    assert router.match("GET", b"/_matrix/client/v1/thing")[0].handler is answer
    assert router.match("GET", b"/_matrix/client/v3/thing")[0].handler is other


def test_versions_of_federation_are_kept_apart() -> None:
    assert derived_templates("/_matrix/federation/v1/send/<txn_id>") == ()
    assert derived_templates("/_matrix/media/v3/upload") == ("/_matrix/media/r0/upload", "/_matrix/media/v1/upload")


def test_duplicate_route_refused() -> None:
    def register(routes: Routes) -> None:
        routes.get("/a/<x>")(one)
        routes.get("/a/<y>")(two)

    async def one(request: Request, x: str) -> dict[str, Any]:
        return {}

    async def two(request: Request, y: str) -> dict[str, Any]:
        return {}

    with pytest.raises(DuplicateRoute, match="one"):
        declare(register)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("a", "slash"),
        ("/a//b", "no segment"),
        ("/a/", "no segment"),
        ("/a/{x}", "no segment"),
        ("/a/b<x>", "no segment"),
        ("/<X>", "no segment"),
        ("/<path:rest>/b", "last segment"),
        ("/a/<x>/<x>", "twice"),
    ],
)
def test_bad_template_refused(template: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_template(template)


@pytest.mark.parametrize("template", ["/a", "/a/<y>", "/a/<x>/<y>"])
def test_parameters_that_the_handler_does_not_take_refused(template: str) -> None:
    async def handler(request: Request, x: str) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="does not give"):
        Routes("test").get(template)(handler)


def test_handler_without_request_refused() -> None:
    async def handler(x: str) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="request first"):
        Routes("test").get("/<x>")(handler)
