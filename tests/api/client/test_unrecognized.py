"""Of the operations of the client-server API only those are unknown that the support table says are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.rig.client import Client, Response
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole
from tests.spec.source import Operation
from tests.spec.table import load_table

FILL: Final = {
    "userId": "@nobody:one.test",
    "roomId": "!nowhere:one.test",
    "roomIdOrAlias": "!nowhere:one.test",
    "roomAlias": "%23nothing:one.test",
    "eventId": "$nothing",
    "serverName": "one.test",
}
"""What stands for a parameter; ``x`` for all others."""

UNRECOGNIZED: Final = {
    "getAuthMetadata": "what a server answers that does not offer the OAuth 2.0 API",
    "getUrlPreview": "an optional module that is not offered",
    "getUrlPreviewAuthed": "an optional module that is not offered",
    "getWellknownPolicy": "what a server answers that is no policy server",
}
"""Operations for which it is the specification's own answer that they are not known, by where that is said."""

ROWS: Final = [row for row in load_table().rows if row.operation.api == "client-server"]
LAST: Final = ("logout", "logout_all", "deactivateAccount")


async def ask(user: Client, operation: Operation) -> Response:
    path = re.sub(r"\{(\w+)\}", lambda found: FILL.get(found[1], "x"), operation.path)
    query = "?timeout=0" if operation.id == "getEvents" else ""
    json: dict[str, object] | None = None if operation.method in ("GET", "DELETE") else {}
    return await user.request(operation.method, path + query, json)


def is_unrecognized(response: Response) -> bool:
    if response.status < 400:
        return False
    return response.status in (404, 405) and response.errcode == "M_UNRECOGNIZED"


@pytest.fixture
async def whole(server: Server, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """One that takes files."""
    async with open_whole(server, MEDIA__PATH=str(tmp_path)) as whole:
        yield whole


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice")


async def test_operations_that_are_supported_are_known(alice: Client) -> None:
    supported = [row.operation for row in ROWS if row.status == "yes"]
    supported.sort(key=lambda operation: operation.id in LAST)
    unknown = [operation.id for operation in supported if is_unrecognized(await ask(alice, operation))]
    assert unknown == []


async def test_operations_that_are_not_supported_are_unrecognized(alice: Client) -> None:
    for row in ROWS:
        if row.status == "missing" or row.operation.id in UNRECOGNIZED:
            response = await ask(alice, row.operation)
            assert response.outcome == (404, "M_UNRECOGNIZED"), row.operation.id


async def test_operations_that_are_refused_otherwise_are_known(alice: Client) -> None:
    refused = [row.operation for row in ROWS if row.status == "refused" and row.operation.id not in UNRECOGNIZED]
    for operation in refused:
        response = await ask(alice, operation)
        assert response.outcome == (404, "M_NOT_FOUND"), operation.id


async def test_what_no_specification_has_is_unrecognized(alice: Client) -> None:
    for path in ("/_matrix/client/v3/no_such_thing", "/_matrix/no_such_api/v1/x", "/_matrix/client/v9/sync"):
        assert (await alice.get(path)).outcome == (404, "M_UNRECOGNIZED")
    assert (await alice.delete("/_matrix/client/v3/sync")).outcome == (405, "M_UNRECOGNIZED")
