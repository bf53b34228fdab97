"""The users and rooms that every workload plays in, made over the client-server API alone.

Eight rooms of twenty members: four residents are in every room, and of sixty-four guests each is in two. Guest ``i``
sends to room ``i // 8``, so that up to eight clients share a room. A builder, who is in none of them, creates rooms.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bench.driver.wire import Address, Connection, DriverError, encode_request, path_part, wrong_reply

ROOMS: Final = 8
MEMBERS: Final = 20
RESIDENTS: Final = 4
GUESTS: Final = 64
ACCOUNTS: Final = RESIDENTS + GUESTS + 1
PAGE: Final = 50
"""Events that ``/messages`` is asked for; the first room has a few more from the start."""

CLIENT: Final = "/_matrix/client/v3"
PASSWORD: Final = secrets.token_urlsafe(16)


class Account(NamedTuple):
    user_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Scene:
    address: Address
    room_version: str | None
    """None: the server's own default."""
    residents: Sequence[Account]
    guests: Sequence[Account]
    builder: Account
    room_ids: Sequence[str]

    @property
    def members(self) -> Sequence[Account]:
        """Of the first room."""
        return [*self.residents, *guests_of(self.guests, 0)]

    def room_of(self, guest: int) -> str:
        """Where guest number ``guest`` sends to."""
        return self.room_ids[guest * ROOMS // GUESTS]


def guests_of(guests: Sequence[Account], room: int) -> list[Account]:
    first = room * GUESTS // ROOMS
    return [guests[(first + place) % GUESTS] for place in range(MEMBERS - RESIDENTS)]


def message(text: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": text}


def send_target(room_id: str, txn_id: str) -> str:
    return f"{CLIENT}/rooms/{path_part(room_id)}/send/m.room.message/{txn_id}"


def room_request(scene_version: str | None, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {"preset": "public_chat", "name": name}
    return body if scene_version is None else {**body, "room_version": scene_version}


def register(connection: Connection, localpart: str) -> Account:
    """Through the dummy stage of user-interactive authentication, which open servers offer.

    Spec: client-server-api/#post_matrixclientv3register
    """
    target = f"{CLIENT}/register"
    body = {"username": localpart, "password": PASSWORD, "inhibit_login": False}
    reply = connection.exchange(encode_request("POST", target, body=body))
    if reply.status == 401:
        flows = [flow.get("stages") for flow in reply.json().get("flows", [])]
        if ["m.login.dummy"] not in flows:
            raise DriverError(f"registration is not open: it wants one of {flows}")
        auth = {"type": "m.login.dummy", "session": reply.json().get("session")}
        reply = connection.exchange(encode_request("POST", target, body={**body, "auth": auth}))
    if reply.status != 200:
        raise wrong_reply(reply)
    answer = reply.object()
    return Account(answer["user_id"], answer["access_token"])


def register_all(address: Address) -> Iterator[Account]:
    """New accounts with names that no earlier run has taken."""
    run = secrets.token_hex(4)
    with Connection(address) as connection:
        for number in range(ACCOUNTS):
            yield register(connection, f"bench-{run}-{number}")


def build_scene(address: Address, accounts: Sequence[Account], *, room_version: str | None) -> Scene:
    """Rooms with their members, and enough messages in the first."""
    if len(accounts) < ACCOUNTS:
        raise DriverError(f"{ACCOUNTS} accounts are needed, {len(accounts)} are there")
    residents, guests = accounts[:RESIDENTS], accounts[RESIDENTS : RESIDENTS + GUESTS]
    creator, room_ids = residents[0], []
    with Connection(address) as connection:
        for room in range(ROOMS):
            body = room_request(room_version, f"Room {room}")
            room_id = connection.call("POST", f"{CLIENT}/createRoom", body, token=creator.token)["room_id"]
            room_ids.append(room_id)
            for member in (*residents[1:], *guests_of(guests, room)):
                connection.call("POST", f"{CLIENT}/join/{path_part(room_id)}", {}, token=member.token)
        for number in range(PAGE + 10):
            target = send_target(room_ids[0], f"seed{number}")
            connection.call("PUT", target, message(f"Message {number}"), token=creator.token)
    return Scene(address, room_version, residents, guests, accounts[ACCOUNTS - 1], room_ids)
