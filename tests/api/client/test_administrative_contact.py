"""``/_matrix/client/v3/account/3pid`` and requests to validate an address, of a server that can validate none"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.server import Server

EMAIL = {"client_secret": "s3cret", "email": "alice@one.test", "send_attempt": 1}
PHONE = {"client_secret": "s3cret", "country": "GB", "phone_number": "07700900001", "send_attempt": 1}
ADDRESS = {"medium": "email", "address": "alice@one.test"}


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def test_get_account_3pids_lists_none(alice: Client) -> None:
    assert (await alice.get("/account/3pid")).json == {"threepids": []}


@pytest.mark.parametrize("operation", ["delete", "unbind"])
async def test_remove_3pid_tells_that_nothing_was_unbound(server: Server, alice: Client, operation: str) -> None:
    async with server.leaves_no_trace():
        response = await alice.post(f"/account/3pid/{operation}", ADDRESS)
    assert response.json == {"id_server_unbind_result": "no-support"}


@pytest.mark.parametrize(
    ("place", "body", "outcome"),
    [
        ("/account/3pid", {"three_pid_creds": {}}, (403, "M_THREEPID_AUTH_FAILED")),
        ("/account/3pid/add", {"client_secret": "s3cret", "sid": "1"}, (403, "M_THREEPID_AUTH_FAILED")),
        (
            "/account/3pid/bind",
            {"client_secret": "s3cret", "sid": "1", "id_server": "id.test", "id_access_token": "t"},
            (400, "M_SERVER_NOT_TRUSTED"),
        ),
        ("/account/3pid/email/requestToken", EMAIL, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("/account/3pid/msisdn/requestToken", PHONE, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("/register/email/requestToken", EMAIL, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("/register/msisdn/requestToken", PHONE, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("/account/password/email/requestToken", EMAIL, (400, "M_THREEPID_NOT_FOUND")),
        ("/account/password/msisdn/requestToken", PHONE, (400, "M_THREEPID_NOT_FOUND")),
    ],
)
async def test_contact_operation_is_refused_in_the_words_of_the_spec(
    server: Server, alice: Client, place: str, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.post(place, body)).outcome == outcome
        assert (await alice.post(place, {})).outcome == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize("area", ["/account/3pid", "/register", "/account/password"])
@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"client_secret": "ö"}, "M_INVALID_PARAM"),
        ({"client_secret": "x" * 256}, "M_INVALID_PARAM"),
        ({"email": "alice"}, "M_INVALID_PARAM"),
        ({"email": "@one.test"}, "M_INVALID_PARAM"),
        ({"send_attempt": None}, "M_MISSING_PARAM"),
        ({"send_attempt": "1"}, "M_BAD_JSON"),
    ],
)
async def test_request_token_refuses_what_it_cannot_read(
    alice: Client, area: str, changes: dict[str, Any], errcode: str
) -> None:
    response = await alice.post(f"{area}/email/requestToken", EMAIL | changes)
    assert response.outcome == (400, errcode)


@pytest.mark.parametrize("operation", ["", "/add", "/bind", "/delete", "/unbind"])
async def test_contact_operation_missing_token(server: Server, operation: str) -> None:
    assert (await server.client().post(f"/account/3pid{operation}", ADDRESS)).outcome == (401, "M_MISSING_TOKEN")


async def test_get_account_3pids_missing_token(server: Server) -> None:
    assert (await server.client().get("/account/3pid")).outcome == (401, "M_MISSING_TOKEN")
