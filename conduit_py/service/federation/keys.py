"""The signing keys of other servers: known, or fetched from themselves, or vouched for by a notary that we trust.

Each server is asked by one task at a time; whoever else needs its keys meanwhile waits for that task. A server that was
asked is left alone for a minute, whatever it answered, and for longer the more often it does not: anybody can send us a
request that claims to be signed with some key of some server.

Spec: server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

import trio

from conduit_py.log import get_logger
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_key_id
from conduit_py.matrix.signing import (
    InvalidSignature,
    VerifyKey,
    ed25519_signatures,
    parse_server_keys,
    verify_signed_json,
)
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import KEYS_BYTES_MAX
from conduit_py.service.federation.key_store import KeyStore
from conduit_py.service.federation.own_keys import OwnKeys
from conduit_py.service.federation.pauses import Pauses
from conduit_py.service.users.store import Store
from kvschema.catalog.federation import KeyResponse

_log = get_logger(__name__)

FETCHES_AT_ONCE: Final = 20
"""Servers asked for their keys at the same time, and as many again of those that never told any: there are names enough
behind which nobody answers, and they must not make those wait that are known."""
NOTARY_BATCH_MAX: Final = 50
"""Servers that a notary is asked about at once."""
NOTARY_KEYS_MAX: Final = 4
"""Signatures of one notary that are looked at."""
PAUSE_MS: Final = 60_000
PAUSE_MAX_MS: Final = 3_600_000

Wanted = Mapping[ServerName, Mapping[KeyId, int]]
"""By server and key id: until when the key must be valid, in ms."""
Found = dict[ServerName, dict[KeyId, VerifyKey]]


class KeySource(Protocol):
    """Who asks other servers."""

    async def fetch_server_keys(self, server_name: ServerName) -> dict[str, Any]: ...

    async def fetch_notarized_keys(self, notary: ServerName, wanted: Wanted) -> list[dict[str, Any]]: ...


@dataclass(eq=False)
class _Flight:
    """One server being asked."""

    keys: Mapping[KeyId, int]
    has_asked_notaries: bool
    is_done: bool = False
    landed: trio.Event = field(default_factory=trio.Event)

    def covers(self, keys: Mapping[KeyId, int], *, needs_notaries: bool) -> bool:
        """Would asking for ``keys`` again, now that this is done, tell nothing more?"""
        return self.is_done and keys.keys() <= self.keys.keys() and (self.has_asked_notaries or not needs_notaries)


class KeyRing:
    """One per server.

    :param trusted_servers: notaries, in the order to ask them.
    """

    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        source: KeySource,
        own_keys: OwnKeys,
        *,
        trusted_servers: Collection[ServerName],
    ) -> None:
        self._keys = keys
        self._source = source
        self._own_keys = own_keys
        self._notaries = [name for name in trusted_servers if name != own_keys.server_name]
        self._now_ms = store.now_ms
        self._pauses = Pauses(first_ms=PAUSE_MS, longest_ms=PAUSE_MAX_MS, now_ms=store.now_ms)
        self._known, self._strangers = trio.CapacityLimiter(FETCHES_AT_ONCE), trio.CapacityLimiter(FETCHES_AT_ONCE)
        self._in_flight: dict[ServerName, _Flight] = {}

    async def fetch_keys(
        self, server_name: ServerName, key_ids: Collection[KeyId], *, minimum_valid_until_ts: int
    ) -> dict[KeyId, VerifyKey]:
        """Those of ``key_ids`` that can be found; one that is not valid for long enough only if no better is.

        The caller asks each key whether it counts for what was signed. Never raises for servers that do not answer.
        """
        found = await self.fetch_many({server_name: dict.fromkeys(key_ids, minimum_valid_until_ts)})
        return found[server_name]

    def has_key(self, server_name: ServerName, key_id: KeyId, *, minimum_valid_until_ts: int) -> bool:
        """Would ``fetch_keys`` have it without asking anybody?"""
        return not self._find_missing({server_name: {key_id: minimum_valid_until_ts}})

    async def fetch_many(self, wanted: Wanted, *, notaries_first: bool = False) -> Found:
        """The same for many servers at once.

        With ``notaries_first`` only those are asked themselves whom no notary vouches for. Of a thousand servers in a
        large room some hundred are gone for good, and each of them would take its time not to answer.
        """
        if notaries_first:
            await self._ask_notaries(self._find_missing(wanted))
        await self._fill(wanted, needs_notaries=not notaries_first)
        return {server_name: self._get_known(server_name, keys) for server_name, keys in wanted.items()}

    async def fetch_response(
        self, server_name: ServerName, key_ids: Collection[KeyId], minimum_valid_until_ts: int
    ) -> KeyResponse | None:
        """The server's own answer about its keys, for a notary to hand on: fresh if it can be had, else the last."""
        keys = dict.fromkeys(key_ids, minimum_valid_until_ts)
        if not self._is_fresh(server_name, keys, minimum_valid_until_ts):
            flight = self._in_flight.get(server_name)
            if flight is not None:
                await flight.landed.wait()
            else:
                await self._fly({server_name: keys}, needs_notaries=False)
        return self.get_response(server_name)

    def get_response(self, server_name: ServerName) -> KeyResponse | None:
        """The same without asking."""
        return self._keys.get_response(server_name)

    def _is_fresh(self, server_name: ServerName, keys: Mapping[KeyId, int], minimum_valid_until_ts: int) -> bool:
        """A notary should keep an answer for half of its lifetime. Spec: server-server-api/#get_matrixkeyv2server"""
        response = self._keys.get_response(server_name)
        if response is None or self._now_ms() > (response.fetched_ms + response.valid_until_ts) // 2:
            return False
        if response.valid_until_ts < minimum_valid_until_ts:
            return False
        return not self._find_missing({server_name: keys})

    def _get_known(self, server_name: ServerName, key_ids: Collection[KeyId]) -> dict[KeyId, VerifyKey]:
        if server_name == self._own_keys.server_name:
            own = self._own_keys.get_verify_keys()
            return {key_id: own[key_id] for key_id in key_ids if key_id in own}
        return self._keys.get_keys(server_name, key_ids)

    def _find_missing(self, wanted: Wanted) -> dict[ServerName, Mapping[KeyId, int]]:
        missing: dict[ServerName, Mapping[KeyId, int]] = {}
        for server_name, keys in wanted.items():
            known = self._get_known(server_name, keys)
            lacking = {key_id: until for key_id, until in keys.items() if not _is_enough(known.get(key_id), until)}
            if lacking and server_name != self._own_keys.server_name:
                missing[server_name] = lacking
        return missing

    async def _fill(self, wanted: Wanted, *, needs_notaries: bool) -> None:
        """Ask for what is missing, or wait for who asks already. Nothing is asked twice, unless who asked gave up."""
        asked: set[ServerName] = set()
        while missing := {name: keys for name, keys in self._find_missing(wanted).items() if name not in asked}:
            idle = {name: keys for name, keys in missing.items() if name not in self._in_flight}
            if idle:
                asked |= idle.keys()
                await self._fly(idle, needs_notaries=needs_notaries)
                continue
            for server_name, keys in missing.items():
                flight = self._in_flight.get(server_name)
                if flight is not None:
                    await flight.landed.wait()
                    if flight.covers(keys, needs_notaries=needs_notaries):
                        asked.add(server_name)

    async def _fly(self, wanted: Wanted, *, needs_notaries: bool) -> None:
        flights = {name: _Flight(keys, needs_notaries) for name, keys in wanted.items() if name not in self._in_flight}
        self._in_flight.update(flights)
        try:
            async with trio.open_nursery() as nursery:
                for server_name in flights:
                    nursery.start_soon(self._ask_server, server_name)
            if needs_notaries:
                await self._ask_notaries(self._find_missing({name: wanted[name] for name in flights}))
            for flight in flights.values():
                flight.is_done = True
        finally:
            for server_name, flight in flights.items():
                del self._in_flight[server_name]
                flight.landed.set()

    async def _ask_server(self, server_name: ServerName) -> None:
        async with self._strangers if self._keys.get_response(server_name) is None else self._known:
            if not self._pauses.is_over(server_name):
                return
            try:
                json = await self._source.fetch_server_keys(server_name)
                await self._take(server_name, json, is_first_hand=True)
            except (RemoteError, Malformed, InvalidSignature) as error:
                _log.debug("a server does not tell its keys", server=server_name, error=str(error))
                self._pauses.note(server_name, has_failed=True)
            else:
                self._pauses.note(server_name, has_failed=False)

    async def _ask_notaries(self, missing: Wanted) -> None:
        missing = {name: keys for name, keys in missing.items() if self._pauses.is_over(("notarized", name))}
        for notary in self._notaries:
            todo = iter([name for name in missing if name != notary])
            while batch := list(islice(todo, NOTARY_BATCH_MAX)):
                if self._pauses.is_over(("notary", notary)):
                    await self._ask_notary(notary, {name: missing[name] for name in batch})
            missing = self._find_missing(missing)
        for server_name in missing:
            self._pauses.note(("notarized", server_name), has_failed=True)

    async def _ask_notary(self, notary: ServerName, wanted: Wanted) -> None:
        try:
            entries = await self._source.fetch_notarized_keys(notary, wanted)
        except RemoteError as error:
            _log.debug("a notary does not answer", notary=notary, error=str(error))
            self._pauses.note(("notary", notary), has_failed=True)
            return
        for entry in entries[: 4 * len(wanted)]:
            server_name = entry.get("server_name")
            if not isinstance(server_name, str) or server_name not in wanted:
                continue
            try:
                verify_signed_json(entry, server_name=notary, keys=await self._fetch_notary_keys(notary, entry))
                await self._take(ServerName(server_name), entry, is_first_hand=False)
            except (Malformed, InvalidSignature) as error:
                _log.debug("a notary tells what cannot be", notary=notary, server=server_name, error=str(error))

    async def _fetch_notary_keys(self, notary: ServerName, entry: Mapping[str, Any]) -> dict[KeyId, VerifyKey]:
        """The keys of the notary that count now, of those it signed with; only it itself is asked for them."""
        key_ids = []
        for name, _ in islice(ed25519_signatures(entry, notary), NOTARY_KEYS_MAX):
            key_ids.append(parse_key_id(name))
        now_ms = self._now_ms()
        known = self._keys.get_keys(notary, key_ids)
        if not any(key.may_sign_request(now_ms) for key in known.values()):
            await self._ask_server(notary)
            known = self._keys.get_keys(notary, key_ids)
        return {key_id: key for key_id, key in known.items() if key.may_sign_request(now_ms)}

    async def _take(self, server_name: ServerName, json: Mapping[str, Any], *, is_first_hand: bool) -> None:
        """Check an answer about ``server_name`` and keep it. Raises `Malformed` and `InvalidSignature`."""
        if len(encode_canonical_json(json, strict=False)) > KEYS_BYTES_MAX:
            raise Malformed(f"an answer about keys must not exceed {KEYS_BYTES_MAX} bytes")
        published = parse_server_keys(json, fetched_ts=self._now_ms())
        if published.server_name != server_name:
            raise Malformed(f"the keys are said to be those of {published.server_name}")
        await self._keys.put(published, json, is_first_hand=is_first_hand)


def _is_enough(key: VerifyKey | None, valid_until_ts: int) -> bool:
    """An old key cannot become valid for longer."""
    return key is not None and (key.expired_ts is not None or key.valid_until_ts >= valid_until_ts)


def response_json(response: KeyResponse) -> dict[str, Any]:
    """The server's answer as it came."""
    json: dict[str, Any] = parse_json(response.json)
    return json
