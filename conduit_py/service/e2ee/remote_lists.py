"""What is held of the devices and keys of users of other servers.

A list is held for a user who shares a room with one of ours, once somebody asked for it: as long as a room is shared,
the user's server tells each change (``edus``), so the list can be answered from. Each change names the one before it. A
list that missed one, or whose user we have not shared a room with all the time since it was asked for, does not count:
a query asks again, and what is known to be outdated is asked for in the background as well, so that clients learn that
it changed. Nothing has to be done when people come and go.

A list that is outdated is better than none when its server cannot be asked: a message that is encrypted for those
devices can be read when the server is back.

Spec: server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import trio

from conduit_py.data import cross_signing, device_keys, devices, remote_lists, short_ids
from conduit_py.data.remote_lists import RemoteList
from conduit_py.matrix.ids import DeviceId, ServerName, UserId
from conduit_py.matrix.user_keys import UserKeys, parse_queried_keys
from conduit_py.service.bell import Bell
from conduit_py.service.e2ee.answers import Answer, read_keys
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.remote import KeySource, fetch_all
from conduit_py.service.e2ee.sharing import shares_with_us
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import REMOTE_DEVICES_PER_USER_MAX
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.errors import StorageFull

USERS_AT_ONCE: Final = 50
"""Users whose keys are read or written without a pause, a few ms."""

OVERTAKEN_MAX: Final = 10_000
"""Users of a server that changed while it was asked. Of more, it counts as if all had."""

UNKNOWN_VERSION: Final = 0

T = TypeVar("T")
Wanted = Mapping[UserId, Sequence[str]]
"""Device ids by user; none of them for all devices."""


@dataclass(eq=False, slots=True)
class _Asking:
    """A server that is being asked for lists."""

    pos: int
    """The position of the store when it was asked."""
    overtaken: set[UserId] = field(default_factory=set)
    """Users whose server told of a change meanwhile: its answer may be from before or after."""

    def note_change(self, user_id: UserId) -> None:
        if len(self.overtaken) < OVERTAKEN_MAX:
            self.overtaken.add(user_id)

    def is_overtaken(self, user_id: UserId) -> bool:
        return user_id in self.overtaken or len(self.overtaken) >= OVERTAKEN_MAX


class RemoteLists:
    """One per server."""

    def __init__(self, store: Store, lists: DeviceLists, source: KeySource) -> None:
        self._store = store
        self._lists = lists
        self._source = source
        self._asking: dict[ServerName, set[_Asking]] = {}
        self.has_outdated = Bell()
        """Rung when a list became outdated."""

    async def query(
        self, answer: Answer, wanted: Mapping[ServerName, Wanted], *, timeout_ms: int | None
    ) -> dict[ServerName, dict[str, str]]:
        """Add keys of other servers' users to an answer. Returns which servers could not be asked, and why."""
        unknown: dict[ServerName, dict[UserId, list[str]]] = {}
        for page in pages((name, user_id) for name, users in wanted.items() for user_id in users):
            with self._store.snapshot() as snapshot:
                for server_name, user_id in page:
                    if _is_fresh(snapshot, server_name, user_id):
                        answer.add_stored(snapshot, user_id, wanted[server_name][user_id])
                    else:
                        unknown.setdefault(server_name, {})[user_id] = []
            await trio.lowlevel.checkpoint()
        fetched = await fetch_all(partial(self._fetch_into, answer, wanted), unknown, timeout_ms=timeout_ms)
        for server_name in fetched.failures:
            with self._store.snapshot() as snapshot:
                for user_id in unknown[server_name]:
                    if _get_held(snapshot, user_id) is not None:
                        answer.add_stored(snapshot, user_id, wanted[server_name][user_id])
        return fetched.failures

    async def _fetch_into(
        self, answer: Answer, wanted: Mapping[ServerName, Wanted], server_name: ServerName, users: Wanted
    ) -> Mapping[str, Any]:
        with self.asking(server_name) as asking:
            said = await self._source.fetch_keys(server_name, users)
            for page in pages(users):
                keys = {user_id: parse_queried_keys(said, user_id) for user_id in page}
                known = {user_id: it for user_id, it in keys.items() if _is_told(said, user_id)}
                with suppress(StorageFull):
                    await self.keep(server_name, known, asking)
                with self._store.snapshot() as snapshot:
                    for user_id in known:
                        answer.add(snapshot, user_id, known[user_id], wanted[server_name][user_id])
        return {}

    @contextmanager
    def asking(self, server_name: ServerName) -> Iterator[_Asking]:
        """While a server is asked: what it tells of changes meanwhile makes its answer one to ask for again."""
        with self._store.snapshot() as snapshot:
            asking = _Asking(snapshot.pos)
        at_once = self._asking.setdefault(server_name, set())
        at_once.add(asking)
        try:
            yield asking
        finally:
            at_once.discard(asking)
            if not at_once:
                self._asking.pop(server_name, None)

    def note_change(self, server_name: ServerName, user_id: UserId) -> None:
        """The server told of a change."""
        for asking in self._asking.get(server_name, ()):
            asking.note_change(user_id)

    async def keep(
        self,
        server_name: ServerName,
        answered: Mapping[UserId, UserKeys],
        asking: _Asking,
        *,
        stream_id: int = UNKNOWN_VERSION,
    ) -> bool:
        """Hold what a server told of those of its users who share a room with us. False if there are none."""
        is_any = False
        async with self._store.locks.hold(list_lock(server_name)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                for user_id, keys in answered.items():
                    user = short_ids.get_user(snapshot, user_id)
                    if user is not None and shares_with_us(snapshot, user):
                        self._stage_kept(snapshot, turn, server_name, user, user_id, keys, asking, stream_id)
                        is_any = True
        return is_any

    def _stage_kept(
        self,
        snapshot: Snapshot,
        turn: Turn,
        server_name: ServerName,
        user: ShortUserId,
        user_id: UserId,
        keys: UserKeys,
        asking: _Asking,
        stream_id: int,
    ) -> None:
        is_known = remote_lists.get_list(snapshot, user) is not None
        has_changed = stage_keys(snapshot, turn, user, read_keys(snapshot, user, user_id), keys)
        remote_lists.stage_list(turn, server_name, user, RemoteList(stream_id, StreamPos(asking.pos)))
        if asking.is_overtaken(user_id):
            self.stage_outdated(turn, server_name, user)
        if is_known and has_changed:
            self._lists.stage_remote_changed(snapshot, turn, user)

    def stage_outdated(self, turn: Turn, server_name: ServerName, user: ShortUserId) -> None:
        """The list has to be asked for again, soon."""
        remote_lists.stage_outdated(turn, server_name, user)
        turn.on_landed(self.has_outdated.ring)

    async def forget(self, server_name: ServerName, user: ShortUserId) -> None:
        """Hold the list no longer: every query asks for it."""
        async with (
            self._store.locks.hold(list_lock(server_name)),
            self._store.writer.turn(may_use_reserve=True) as turn,
        ):
            with self._store.snapshot() as snapshot:
                remote_lists.stage_forgotten(snapshot, turn, server_name, user)
                self._lists.stage_remote_changed(snapshot, turn, user)


def list_lock(server_name: ServerName) -> tuple[str, ServerName]:
    """What is held while lists of a server's users are changed."""
    return ("remote_lists", server_name)


def stage_keys(snapshot: Snapshot, turn: Turn, user: ShortUserId, before: UserKeys, after: UserKeys) -> bool:
    """Put what a server tells in place of what is held. True if there is any difference."""
    kept = dict(islice(((it, keys) for it, keys in after.devices.items() if devices.is_storable(it)), _DEVICES_MAX))
    for device_id in before.devices.keys() - kept.keys():
        device_keys.stage_removed(turn, user, DeviceId(device_id))
    for device_id, keys in kept.items():
        if before.devices.get(device_id) != keys:
            device_keys.stage_keys(turn, user, DeviceId(device_id), keys)
    pairs = (
        (cross_signing.MASTER, before.master, after.master),
        (cross_signing.SELF_SIGNING, before.self_signing, after.self_signing),
    )
    for usage, old, new in pairs:
        if new is None and old is not None:
            cross_signing.stage_key_removed(turn, user, usage)
        elif new is not None and new != old:
            cross_signing.stage_key(turn, user, usage, new)
    return before.devices != kept or any(old != new for _, old, new in pairs)


_DEVICES_MAX = REMOTE_DEVICES_PER_USER_MAX


def _is_fresh(snapshot: Snapshot, server_name: ServerName, user_id: UserId) -> bool:
    """Can the list be answered from?"""
    user = short_ids.get_user(snapshot, user_id)
    if user is None:
        return False
    row = remote_lists.get_list(snapshot, user)
    if row is None or remote_lists.is_outdated(snapshot, server_name, user):
        return False
    return shares_with_us(snapshot, user, since=row.pos)


def _get_held(snapshot: Snapshot, user_id: UserId) -> RemoteList | None:
    user = short_ids.get_user(snapshot, user_id)
    return None if user is None else remote_lists.get_list(snapshot, user)


def _is_told(said: Mapping[str, Any], user_id: UserId) -> bool:
    """Does the server know the user? One that it does not is left out of an answer."""
    return any(
        isinstance(by_user := said.get(name), Mapping) and user_id in by_user for name in ("device_keys", "master_keys")
    )


def pages(things: Iterable[T]) -> Iterator[list[T]]:
    """As many at a time as are read without a pause."""
    iterator = iter(things)
    while page := list(islice(iterator, USERS_AT_ONCE)):
        yield page
