"""Servers that are processes reach one another over TLS, unless the link between them is cut."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.rig.federation import FederatedServer, open_federation


def _ask_for_keys(asked: FederatedServer, about: FederatedServer) -> list[str]:
    """Whose keys one server vouches for when it is asked about another, which it has to ask first."""
    with asked.client() as client:
        client.send_raw(
            f"GET /_matrix/key/v2/query/{about.name} HTTP/1.1\r\nHost: {asked.name}\r\n\r\n".encode(),
        )
        status, body = client.receive()
    assert status == 200, body
    return [answer["server_name"] for answer in orjson.loads(body)["server_keys"]]


def test_servers_find_one_another_until_the_link_is_cut(tmp_path: Path) -> None:
    with open_federation(tmp_path, 3) as (one, two, three):
        assert _ask_for_keys(one, two) == [two.name]
        two.restart()
        three.link.cut()
        assert _ask_for_keys(two, three) == []
        assert _ask_for_keys(two, one) == [one.name]
        three.link.heal()
        assert _ask_for_keys(one, three) == [three.name]
