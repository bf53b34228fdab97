"""What an answer of another server counts as, and how paths are written."""

from __future__ import annotations

from typing import Any, NoReturn, cast

import orjson
import pytest

from conduit_py.matrix.ids import Malformed, ServerName
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.federation import FederationClient, build_path, read_answer
from conduit_py.outbound.http import HttpReply

TWO = ServerName("two.test")


def reply(status: int, content: object = None, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, named, b"<html>" if content is None else orjson.dumps(content))


async def refusal(answer: HttpReply) -> Refused:
    with pytest.raises(Refused) as caught:
        await read_answer(TWO, answer)
    return caught.value


async def test_object_in_a_successful_answer_is_the_answer() -> None:
    assert await read_answer(TWO, reply(200, {"a": 1})) == {"a": 1}
    assert await read_answer(TWO, HttpReply(200, {}, b'{"a": 123456789012345678901234567890}')) == {
        "a": 123456789012345678901234567890
    }


@pytest.mark.parametrize("answer", [reply(200), reply(200, []), reply(502), reply(504, {}), reply(500, {"errcode": 1})])
async def test_what_no_homeserver_says_is_unreachable(answer: HttpReply) -> None:
    with pytest.raises(Unreachable):
        await read_answer(TWO, answer)


async def test_refusal_tells_status_errcode_and_message() -> None:
    refused = await refusal(reply(403, {"errcode": "M_FORBIDDEN", "error": "no"}))
    assert (refused.status, refused.errcode, refused.message, refused.may_retry) == (403, "M_FORBIDDEN", "no", False)
    assert (await refusal(reply(404))).errcode == "M_UNKNOWN"
    assert (await refusal(reply(302, {}, location="https://elsewhere.test/"))).status == 302
    assert len((await refusal(reply(400, {"errcode": "M" * 1000}))).errcode) == 255
    unknown = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": "99"}
    assert (await refusal(reply(400, unknown))).room_version == "99"
    assert (await refusal(reply(400, {**unknown, "room_version": 99}))).room_version is None


async def test_refusal_of_the_moment_may_be_tried_again() -> None:
    assert (await refusal(reply(500, {"errcode": "M_UNKNOWN"}))).may_retry
    limited = await refusal(reply(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}, retry_after="9"))
    assert (limited.may_retry, limited.retry_after_ms) == (True, 1500)
    assert (await refusal(reply(429, retry_after="9"))).retry_after_ms == 9000
    assert (await refusal(reply(429, retry_after="soon"))).retry_after_ms is None


def test_segments_of_a_path_cannot_become_others() -> None:
    assert build_path("_matrix", "a/b?c#d", "!r:two.test", query={"q": "x y&z"}) == (
        "/_matrix/a%2Fb%3Fc%23d/%21r%3Atwo.test?q=x+y%26z"
    )


class Nowhere:
    async def fetch_target(self, server_name: ServerName) -> NoReturn:
        raise Malformed("it leads nowhere")


async def test_requests_are_counted_by_what_became_of_them() -> None:
    client = FederationClient(
        cast("Any", None),
        cast("Any", Nowhere()),
        server_name=ServerName("one.test"),
        signing_key=cast("Any", None),
        is_forbidden=lambda name: name == "bad.test",
        is_allowed=True,
    )
    with pytest.raises(Unreachable):
        await client.fetch("GET", TWO, "/")
    with pytest.raises(Refused):
        await client.fetch("GET", ServerName("bad.test"), "/")
    with pytest.raises(Unreachable):
        async with client.fetch_stream(TWO, "/", timeout_s=1):
            pass
    assert client.asked == {"answered": 0, "refused": 1, "unreachable": 2}
