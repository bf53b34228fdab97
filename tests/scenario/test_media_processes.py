"""Two server processes that reach one another over TLS, and the files of one seen at the other."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest

from tests.rig.federation import User, open_federation
from tests.rig.images import decode, plain
from tests.rig.media_wire import upload_chunks

MEDIA = "/_matrix/client/v1/media"
CONTENT = bytes(range(256)) * 20_000


def upload(user: User, content: bytes) -> str:
    assert user.access_token is not None
    uri = upload_chunks(user.address, user.access_token, [content], len(content))
    return uri.removeprefix("mxc://")


def ask(user: User, path: str, **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection(*user.address, timeout=60)
    try:
        connection.request("GET", MEDIA + path, headers={"Authorization": f"Bearer {user.access_token}", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.slow
def test_files_of_one_server_are_seen_at_the_other(tmp_path: Path) -> None:
    with open_federation(tmp_path, 2) as (one, two):
        alice, bob = one.register("alice"), two.register("bob")
        files = {upload(alice, content): content for content in (CONTENT, b"", plain(300, 200))}
        for where, content in files.items():
            assert ask(bob, f"/download/{where}") == (200, content)
        *_, image = files
        status, small = ask(bob, f"/thumbnail/{image}?width=32&height=32&method=crop")
        assert (status, decode(small).size) == (200, (32, 32))
        assert ask(bob, f"/download/{one.name}/nothing")[0] == 404

        back = upload(bob, b"from two")
        assert ask(alice, f"/download/{back}") == (200, b"from two")

        never_seen = upload(alice, b"never seen")
        one.link.cut()
        status, refusal = ask(bob, f"/download/{never_seen}")
        assert (status, orjson.loads(refusal)["errcode"]) == (502, "M_UNKNOWN")
        two.restart()
        for where, content in files.items():
            assert ask(bob, f"/download/{where}") == (200, content)
            if content:
                assert ask(bob, f"/download/{where}", Range="bytes=1-9") == (206, content[1:10])
        assert ask(bob, f"/thumbnail/{image}?width=32&height=32&method=crop") == (200, small)
        one.link.heal()
        two.restart(kill=False)
        assert ask(bob, f"/download/{never_seen}") == (200, b"never seen")
