"""Somebody who changes everything but what is said: topics, memberships, account data, receipts, names and sessions."""

from __future__ import annotations

import threading
from typing import Any

import orjson

from tests.rig.wire import Disconnected, WireClient, path

UNKNOWN_TOKEN = 401
TYPE = "org.example.round"


class Changer:
    """One user. Requests are not repeated: what was not answered may have been done, once, or not."""

    def __init__(self, session: Any, room_id: str) -> None:
        self._user_id: str = session["user_id"]
        self._room_id = room_id
        self._access_token: str = session["access_token"]
        self._closed: str | None = None
        """A token that was logged out, for good."""
        self._round = 0
        """Of account data, as acknowledged."""
        self.acknowledged: list[str] = []
        """Ids of the state events."""

    def run(self, address: tuple[str, int], stop: threading.Event) -> None:
        """See that what was acknowledged is so, then change things until the server dies."""
        try:
            self._check_sessions(address)
            while not stop.is_set():
                with WireClient(address, self._access_token) as client:
                    self._check_account_data(client)
                    self._change(client)
                self._change_session(address)
        except Disconnected:
            pass

    def _check_sessions(self, address: tuple[str, int]) -> None:
        with WireClient(address, self._access_token) as client:
            assert client.get("account", "whoami")["user_id"] == self._user_id
        if self._closed is not None:
            with WireClient(address, self._closed) as client:
                status, _ = client.request("GET", "/account/whoami")
                assert status == UNKNOWN_TOKEN, "a session that was closed is open again"

    def _check_account_data(self, client: WireClient) -> None:
        status, body = client.request("GET", path("user", self._user_id, "account_data", TYPE))
        found = orjson.loads(body)["round"] if status == 200 else 0
        assert found in (self._round, self._round + 1), f"round {self._round} was stored, and {found} is there"
        self._round = found

    def _change(self, client: WireClient) -> None:
        room = ("rooms", self._room_id)
        client.put("user", self._user_id, "account_data", TYPE, json={"round": self._round + 1})
        self._round += 1
        client.post("join", self._room_id, json={})
        for number in range(3):
            topic = {"name": f"round {self._round}, {number}"}
            state = client.put(*room, "state", "org.example.state", str(number), json=topic)
            self.acknowledged.append(state["event_id"])
        client.post(*room, "receipt", "m.read", self.acknowledged[-1], json={})
        client.put("profile", self._user_id, "displayname", json={"displayname": f"round {self._round}"})
        client.post(*room, "leave", json={})

    def _change_session(self, address: tuple[str, int]) -> None:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self._user_id},
            "password": "x" * 12,
        }
        with WireClient(address) as client:
            token = client.post("login", json=body)["access_token"]
        old, self._access_token = self._access_token, token
        with WireClient(address, old) as client:
            client.post("logout", json={})
        self._closed = old
