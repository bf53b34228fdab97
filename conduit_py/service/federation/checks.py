"""The checks that an event of another server must pass before anything else is done with it, whatever its room.

===  =====================================  ==========================================================
1.   the format of its room version         else it is dropped
2.   the signatures of those who must sign  else it is dropped; keys that are not known are fetched
3.   the hash of its content                else only what redaction leaves of it is kept
===  =====================================  ==========================================================

Many events are checked in worker threads, in portions: verifying releases the interpreter, so both cores are used and
the event loop goes on.

Spec: server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import trio

from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_key_id
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import (
    InvalidSignature,
    VerifyKeys,
    ed25519_signatures,
    required_signers,
    verify_event_signatures,
)
from conduit_py.service.federation.keys import KeyRing, Wanted

SIGNATURES_MAX: Final = 4
"""Signatures of one server on one event that are looked at."""
PORTION: Final = 100
"""Events that one thread checks before the next portion: about 20 ms."""
IN_PLACE_MAX: Final = 10
"""So many are checked on the event loop, one after the other."""
THREADS_MAX: Final = 2

RawEvent = Mapping[str, Any]
Checked = Pdu | Malformed | InvalidSignature
"""The event, or why it is dropped."""
T = TypeVar("T")
R = TypeVar("R")


class Checks:
    """One per server. Without ``has_threads`` everything is done on the event loop, for tests."""

    def __init__(self, keys: KeyRing, *, now_ms: Callable[[], int], has_threads: bool) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._has_threads = has_threads
        self._limiter = trio.CapacityLimiter(THREADS_MAX)

    async def check(self, raw: RawEvent, room_version: RoomVersion) -> Pdu:
        """The event, redacted where its content is not what its hash says.

        Raises ``Malformed`` and ``InvalidSignature``.
        """
        [checked] = await self.check_many([raw], room_version)
        if isinstance(checked, Exception):
            raise checked
        return checked

    async def check_many(self, raws: Sequence[RawEvent], room_version: RoomVersion) -> list[Checked]:
        """The same for each of many, with what would have been raised in the place of the event."""
        parsed = await self._map(partial(_parse, room_version=room_version), raws)
        wanted = _find_wanted((pdu for pdu in parsed if isinstance(pdu, Pdu)), room_version, self._now_ms())
        keys: VerifyKeys = await self._keys.fetch_many(wanted) if wanted else {}
        return await self._map(partial(_verify, room_version=room_version, keys=keys), parsed)

    async def _map(self, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
        """``function`` of each value."""
        if len(values) <= IN_PLACE_MAX or not self._has_threads:
            in_place: list[R] = []
            for value in values:
                # One of the largest size takes 20 ms.
                await trio.lowlevel.checkpoint()
                in_place.append(function(value))
            return in_place
        portions = [values[start : start + PORTION] for start in range(0, len(values), PORTION)]
        results: dict[int, list[R]] = {}

        async def work(number: int) -> None:
            portion = portions[number]
            results[number] = await trio.to_thread.run_sync(
                lambda: [function(value) for value in portion], limiter=self._limiter
            )

        async with trio.open_nursery() as nursery:
            for number in range(len(portions)):
                nursery.start_soon(work, number)
        return [result for number in range(len(portions)) for result in results[number]]


def _parse(raw: RawEvent, *, room_version: RoomVersion) -> Pdu | Malformed:
    try:
        return parse_pdu(raw, room_version)
    except Malformed as error:
        return error


def _verify(parsed: Pdu | Malformed, *, room_version: RoomVersion, keys: VerifyKeys) -> Checked:
    if isinstance(parsed, Malformed):
        return parsed
    try:
        verify_event_signatures(parsed.json, room_version, keys)
        if content_hash_matches(parsed.json, room_version):
            return parsed
        return parse_pdu(redact(parsed.json, room_version), room_version, event_id=parsed.event_id)
    except (Malformed, InvalidSignature) as error:
        return error


def _find_wanted(pdus: Iterable[Pdu], room_version: RoomVersion, now_ms: int) -> Wanted:
    """The keys that signed, and until when each must be valid. None is asked to be valid in times to come."""
    wanted: dict[ServerName, dict[KeyId, int]] = {}
    for pdu in pdus:
        until = min(pdu.origin_server_ts, now_ms) if room_version.enforce_key_validity else 0
        for server_name in required_signers(pdu.json, room_version):
            for name, _ in islice(ed25519_signatures(pdu.json, server_name), SIGNATURES_MAX):
                try:
                    key_id = parse_key_id(name)
                except Malformed:
                    continue
                keys = wanted.setdefault(server_name, {})
                keys[key_id] = max(until, keys.get(key_id, until))
    return wanted
