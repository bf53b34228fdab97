"""``/_matrix/client/v3/thirdparty/...`` of a server without application services"""

from __future__ import annotations

import pytest

from tests.rig.client import Client
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice")


async def test_get_protocols_lists_none(alice: Client) -> None:
    assert (await alice.get("/thirdparty/protocols")).json == {}


@pytest.mark.parametrize(
    "place",
    [
        "/thirdparty/protocol/irc",
        "/thirdparty/location/irc?channel=a",
        "/thirdparty/user/irc?nickname=a",
        "/thirdparty/location?alias=%23a:one.test",
        "/thirdparty/user?userid=%40a:one.test",
    ],
)
async def test_third_party_lookup_not_found(whole: WholeServer, alice: Client, place: str) -> None:
    assert (await alice.request("GET", place)).outcome == (404, "M_NOT_FOUND")
    assert (await whole.client().request("GET", place)).outcome == (401, "M_MISSING_TOKEN")


async def test_third_party_lookup_missing_param(alice: Client) -> None:
    assert (await alice.get("/thirdparty/location")).outcome == (400, "M_MISSING_PARAM")
    assert (await alice.get("/thirdparty/user")).outcome == (400, "M_MISSING_PARAM")


async def test_get_protocols_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().get("/thirdparty/protocols")).outcome == (401, "M_MISSING_TOKEN")
