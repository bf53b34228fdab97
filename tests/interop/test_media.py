"""Files that were uploaded at one are looked at from the other."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import quote, urlencode

import orjson
import pytest

from tests.rig.federation import FederatedServer
from tests.rig.images import decode, halves
from tests.rig.synapse import Synapse
from tests.rig.wire import WireClient

pytestmark = pytest.mark.interop

MEDIA = "/_matrix/client/v1/media"
FILES = [
    (b"hello", "text/plain", "a.txt"),
    (b"x", "application/octet-stream", None),
    (bytes(range(256)) * 8000, "application/pdf", "Grüße & more.pdf"),
    (b"\r\n--\r\n" * 1000, "text/plain", 'quotes".txt'),
]
Clients = tuple[WireClient, WireClient]


@pytest.fixture(scope="module")
def clients(peers: tuple[FederatedServer, Synapse]) -> Iterator[Clients]:
    """Somebody at ours, and somebody at theirs."""
    ours, theirs = peers
    with ours.register("media") as alice, theirs.register("media") as bob:
        yield alice, bob


def ask(
    client: WireClient, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(*client.address, timeout=60)
    headers = {"Authorization": f"Bearer {client.access_token}"}
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def upload(client: WireClient, content: bytes, content_type: str, filename: str | None) -> str:
    query = "" if filename is None else "?" + urlencode({"filename": filename})
    status, _, body = ask(client, "POST", "/_matrix/media/v3/upload" + query, content, content_type)
    assert status == 200, body
    uri: str = orjson.loads(body)["content_uri"]
    return uri.removeprefix("mxc://")


@pytest.fixture(params=[0, 1], ids=["from theirs to ours", "from ours to theirs"])
def direction(request: pytest.FixtureRequest, clients: Clients) -> Clients:
    """Who looks, and who has uploaded."""
    here: int = request.param
    return clients[here], clients[1 - here]


@pytest.mark.parametrize(("content", "content_type", "filename"), FILES)
def test_file_arrives_as_it_was_uploaded(
    direction: Clients, content: bytes, content_type: str, filename: str | None
) -> None:
    looks, has = direction
    where = upload(has, content, content_type, filename)
    for _ in ("fetched", "kept"):
        status, headers, body = ask(looks, "GET", f"{MEDIA}/download/{where}")
        assert (status, body) == (200, content)
        assert headers["content-type"].partition(";")[0] == content_type
        told = headers["content-disposition"]
        assert filename is None or filename in told or quote(filename, safe="") in told or '\\"' in told


def test_empty_file_arrives_at_theirs(clients: Clients) -> None:
    """Not the other way: Synapse gives other servers no part for a file without content, so there is no file."""
    alice, bob = clients
    where = upload(alice, b"", "text/plain", None)
    assert ask(bob, "GET", f"{MEDIA}/download/{where}")[::2] == (200, b"")
    where = upload(bob, b"", "text/plain", None)
    assert ask(alice, "GET", f"{MEDIA}/download/{where}")[0] == 502


def test_thumbnail_is_made_of_the_other_servers_image(direction: Clients) -> None:
    looks, has = direction
    where = upload(has, halves(600, 400), "image/jpeg", None)
    status, _, body = ask(looks, "GET", f"{MEDIA}/thumbnail/{where}?width=96&height=96&method=crop")
    assert (status, decode(body).size) == (200, (96, 96))


def test_what_there_is_not_is_not_found(direction: Clients) -> None:
    looks, has = direction
    server_name = upload(has, b"x", "text/plain", None).partition("/")[0]
    status, _, body = ask(looks, "GET", f"{MEDIA}/download/{server_name}/thereisnosuchthing")
    assert (status, orjson.loads(body)["errcode"]) == (404, "M_NOT_FOUND")


def test_announced_upload_is_waited_for(clients: Clients) -> None:
    """At ours. Synapse takes the documented answer, a 504, for a server that is down, and leaves it alone."""
    alice, bob = clients
    status, _, body = ask(bob, "POST", "/_matrix/media/v1/create", b"", "application/json")
    assert status == 200, body
    where = orjson.loads(body)["content_uri"].removeprefix("mxc://")
    status, _, body = ask(alice, "GET", f"{MEDIA}/download/{where}?timeout_ms=10")
    assert (status, orjson.loads(body)["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    assert ask(bob, "PUT", f"/_matrix/media/v3/upload/{where}", b"late", "text/plain")[0] == 200
    status, _, body = ask(alice, "GET", f"{MEDIA}/download/{where}")
    assert (status, body) == (200, b"late")
