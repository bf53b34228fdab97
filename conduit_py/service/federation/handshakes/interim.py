"""Stand-ins that check and accept events from outside one at a time, on the current state of the room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from conduit_py.data.rooms import Room
from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_key_id
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature, ed25519_signatures, required_signers, verify_event_signatures
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.rooms.write import RoomWrites

SIGNATURES_MAX: Final = 4
"""Signatures of one server on one event that are looked at."""


class Checks:
    """One per server."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def check(self, raw: Mapping[str, Any], room_version: RoomVersion) -> Pdu:
        pdu = parse_pdu(raw, room_version)
        wanted: dict[ServerName, dict[KeyId, int]] = {}
        for server_name in required_signers(pdu.json, room_version):
            for key_id, _ in islice(ed25519_signatures(pdu.json, server_name), SIGNATURES_MAX):
                wanted.setdefault(server_name, {})[parse_key_id(key_id)] = pdu.origin_server_ts
        verify_event_signatures(pdu.json, room_version, await self._keys.fetch_many(wanted))
        if content_hash_matches(pdu.json, room_version):
            return pdu
        return parse_pdu(redact(pdu.json, room_version), room_version, event_id=pdu.event_id)

    async def check_many(self, raws: Sequence[Mapping[str, Any]], room_version: RoomVersion) -> list[Pdu | Exception]:
        checked: list[Pdu | Exception] = []
        for raw in raws:
            try:
                checked.append(await self.check(raw, room_version))
            except (Malformed, InvalidSignature) as error:
                checked.append(error)
        return checked


class OnCurrentState:
    """One per server."""

    def __init__(self, writes: RoomWrites) -> None:
        self._writes = writes

    async def accept(self, room: Room, pdu: Pdu, send_to: Iterable[ServerName]) -> None:
        await self._writes.write(room.room_id, lambda snapshot, turn, append: append.append(pdu))
