"""Who is around: the presence of local users, and of users of other servers where the operator allows it.

It lives in memory. On disk is one row per local user, with the status message and when the user was last active: it is
written when the user sets the message, and when the user goes offline, never for a /sync. A restart finds everybody
offline with those, until they show themselves; what other servers said is gone until they say it again.

A user is *online* while active: writing to rooms, or saying so. After ``presence_idle_timeout`` without that they are
*unavailable*, and *offline* once no client has been heard of for ``presence_offline_timeout``.

Changes move the counter that typing moves, so that a sync token tells what its client knows. A change is another state
or message, or that somebody begins or ceases to be currently active; later times of activity alone are not told.

Spec: client-server-api/#presence
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

from conduit_py.data import members, presence, profiles, short_ids
from conduit_py.data.digest import digest
from conduit_py.matrix.edus import (
    PRESENCES,
    STATUS_MSG_CHARS_MAX,
    Presence,
    build_presence,
    build_presence_event,
    parse_presence,
)
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId, ShortUserId
from kvschema.catalog.users import LastPresence
from kvschema.errors import StorageFull

ACTIVE_MS: Final = 60_000
"""How long somebody is currently active after writing something."""
PAUSE_MIN_S: Final = 1.0
"""Between two rounds that look whose time has come."""
KNOWN_MAX: Final = 10_000
"""Users whose presence is held, about 500 bytes each. Beyond it those who came first are forgotten."""
DEVICES_MAX: Final = 32
"""Devices of a user that are remembered by what they last said."""
TOLD_MS: Final = 60_000
"""What could not be told to another server within this is not worth telling."""

OFFLINE, UNAVAILABLE, ONLINE = PRESENCES


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceRules:
    """What the operator wants."""

    is_local: bool
    is_incoming: bool
    is_outgoing: bool
    idle_ms: int
    offline_ms: int


@dataclass(slots=True)
class _Known:
    """One user."""

    user: ShortUserId
    user_id: UserId
    is_local: bool
    presence: str = OFFLINE
    status_msg: str | None = None
    is_active: bool = False
    active_ms: int = 0
    """When last active, 0 if never."""
    seen_ms: int = 0
    """When last heard of."""
    changed: int = 0
    """What the counter was at the last change."""
    said: dict[str, str] = field(default_factory=dict)
    """``set_presence`` of the last sync of each device."""

    def told(self, now_ms: int) -> Presence:
        return Presence(
            user_id=self.user_id,
            presence=self.presence,
            last_active_ago_ms=max(now_ms - self.active_ms, 0) if self.active_ms else None,
            status_msg=self.status_msg,
            currently_active=self.is_active,
        )


class PresenceService:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self,
        store: Store,
        hub: SyncHub,
        outbox: Outbox,
        ephemeral: AppServiceEphemeral,
        rules: PresenceRules,
        *,
        next_change: Callable[[], int],
    ) -> None:
        self._store = store
        self._hub = hub
        self._outbox = outbox
        self._ephemeral = ephemeral
        self._rules = rules
        self._next_change = next_change
        self._known: dict[ShortUserId, _Known] = {}
        self._changed: dict[ShortUserId, _Known] = {}
        """Those that ever changed. Whoever changed last comes last."""
        self._earlier = trio.Event()

    # What local users do.

    async def set_presence(self, requester: Requester, user_id: str, state: Any, status_msg: Any) -> None:
        """Raises ``Forbidden`` for somebody else's, or while there is no presence, and ``InvalidParam``."""
        requester.require_self(user_id, "set the presence")
        if not self._rules.is_local:
            raise Forbidden("Presence is disabled on this server")
        if state not in PRESENCES:
            raise InvalidParam(f"presence must be one of {', '.join(PRESENCES)}")
        if status_msg is not None and (not isinstance(status_msg, str) or len(status_msg) > STATUS_MSG_CHARS_MAX):
            raise InvalidParam(f"status_msg must be a string of at most {STATUS_MSG_CHARS_MAX} characters")
        now_ms = self._store.now_ms()
        known = self._open(requester)
        active_ms = now_ms if state == ONLINE else known.active_ms
        async with self._store.writer.turn() as turn:
            presence.stage_last(turn, requester.user, LastPresence(status_msg or "", active_ms))
        before = (known.presence, known.status_msg, known.is_active)
        known.status_msg, known.seen_ms, known.active_ms = status_msg or None, now_ms, max(known.active_ms, active_ms)
        known.presence, known.is_active = state, state == ONLINE
        if before != (known.presence, known.status_msg, known.is_active):
            self._note_change(known)

    def note_sync(self, requester: Requester, state: str) -> None:
        """A device syncs, and says by ``set_presence`` what that makes of its user."""
        if not self._rules.is_local:
            return
        known = self._open(requester)
        device = requester.device_id or ""
        before = known.said.pop(device, None)
        known.said[device] = state
        if len(known.said) > DEVICES_MAX:
            del known.said[next(iter(known.said))]
        if state == OFFLINE:
            return
        known.seen_ms = self._store.now_ms()
        if state == ONLINE:
            # One that is idle goes on being so by a sync alone, unless its device said so and now says otherwise.
            if known.presence == OFFLINE or before in (OFFLINE, UNAVAILABLE):
                self._activate(known)
        elif known.presence == OFFLINE or (known.presence == ONLINE and ONLINE not in known.said.values()):
            known.presence, known.is_active = UNAVAILABLE, False
            self._note_change(known)

    def note_activity(self, requester: Requester) -> None:
        """The user did something."""
        if self._rules.is_local:
            known = self._open(requester)
            known.seen_ms = self._store.now_ms()
            self._activate(known)

    def note_profile(self, user: ShortUserId) -> None:
        """A local user has another display name or avatar, which goes with the presence.

        Spec: client-server-api/#events-on-change-of-profile-information
        """
        known = self._known.get(user)
        if known is not None and known.presence != OFFLINE:
            self._note_change(known)

    def _activate(self, known: _Known) -> None:
        known.active_ms = self._store.now_ms()
        if known.presence != ONLINE or not known.is_active:
            known.presence, known.is_active = ONLINE, True
            self._note_change(known)

    def _open(self, requester: Requester) -> _Known:
        known = self._known.get(requester.user)
        if known is None:
            with self._store.snapshot() as snapshot:
                last = presence.get_last(snapshot, requester.user)
            known = _Known(requester.user, requester.user_id, is_local=True)
            if last is not None:
                known.status_msg, known.active_ms = last.status_msg or None, last.active_ms
            self._hold(known)
        return known

    def _hold(self, known: _Known) -> None:
        self._known[known.user] = known
        if len(self._known) > KNOWN_MAX:
            forgotten = next(iter(self._known))
            del self._known[forgotten]
            self._changed.pop(forgotten, None)

    # What other servers say.

    async def receive(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        """Spec: server-server-api/#presence"""
        if not self._rules.is_incoming:
            return
        now_ms = self._store.now_ms()
        for update in parse_presence(content, origin):
            await trio.lowlevel.checkpoint()
            with self._store.snapshot() as snapshot:
                user = short_ids.get_user(snapshot, update.user_id)
                if user is None or not any(_scan_rooms(snapshot, user, is_local=False)):
                    continue
            known = self._known.get(user)
            if known is None:
                known = _Known(user, update.user_id, is_local=False)
                self._hold(known)
            known.presence, known.status_msg = update.presence, update.status_msg
            known.is_active = update.currently_active and update.presence == ONLINE
            known.seen_ms = now_ms
            if update.last_active_ago_ms is not None:
                known.active_ms = max(now_ms - update.last_active_ago_ms, 0)
            self._note_change(known)

    # What is told.

    def get_presence(self, requester: Requester, user_id: str) -> Presence:
        """Raises ``Forbidden`` for who shares no room with the requester, and ``NotFound`` for who was never around."""
        with self._store.snapshot() as snapshot:
            user = short_ids.get_user(snapshot, UserId(user_id))
            if user is None:
                raise NotFound(f"There is no presence of {user_id}")
            known = self._known.get(user)
            rooms = _scan_rooms(snapshot, requester.user, is_local=True)
            is_visible = user == requester.user or any(_is_joined(snapshot, user, room) for room in rooms)
            last = presence.get_last(snapshot, user)
        if not is_visible:
            raise Forbidden(f"You are not allowed to see the presence of {user_id}")
        if known is None and last is not None:
            known = _Known(user, UserId(user_id), True, OFFLINE, last.status_msg or None, active_ms=last.active_ms)
        if known is None:
            raise NotFound(f"There is no presence of {user_id}")
        return known.told(self._store.now_ms())

    def read_all(self, snapshot: Snapshot, requester: Requester) -> Iterator[Presence]:
        """Of everybody who is around and shares a room with the requester, and of the requester."""
        return self._read(snapshot, requester, [known for known in self._known.values() if known.presence != OFFLINE])

    def read_changes(
        self, snapshot: Snapshot, requester: Requester, since: int, new_rooms: Iterable[ShortRoomId]
    ) -> Iterator[Presence]:
        """Of those that changed after the counter stood at ``since``, and of those in ``new_rooms`` of the requester.

        At 0 the client's knowledge is from another run: it is also told who is no longer around.
        """
        changed = []
        for known in reversed(self._changed.values()):
            if known.changed <= since:
                break
            changed.append(known)
        rooms = list(new_rooms)
        if rooms:
            others = [known for known in self._known.values() if known.changed <= since and known.presence != OFFLINE]
            changed += [known for known in others if any(_is_joined(snapshot, known.user, room) for room in rooms)]
        if not since:
            changed += self._read_gone(snapshot)
        return self._read(snapshot, requester, changed)

    def _read_gone(self, snapshot: Snapshot) -> Iterator[_Known]:
        for user, last in presence.scan_last(snapshot):
            if user not in self._known:
                user_id = short_ids.get_user_id(snapshot, user)
                yield _Known(user, user_id, True, OFFLINE, last.status_msg or None, active_ms=last.active_ms)

    def _read(self, snapshot: Snapshot, requester: Requester, several: Iterable[_Known]) -> Iterator[Presence]:
        rooms: list[ShortRoomId] | None = None
        now_ms = self._store.now_ms()
        for known in several:
            if rooms is None:
                rooms = list(_scan_rooms(snapshot, requester.user, is_local=True))
            # Of oneself too: one's other devices show it.
            if known.user == requester.user or any(_is_joined(snapshot, known.user, room) for room in rooms):
                yield known.told(now_ms)

    def _note_change(self, known: _Known) -> None:
        known.changed = self._next_change()
        self._changed.pop(known.user, None)
        self._changed[known.user] = known
        self._earlier.set()
        with self._store.snapshot() as snapshot:
            rooms = list(_scan_rooms(snapshot, known.user, is_local=known.is_local))
            woken = set().union(*(members.get_local_joined(snapshot, room) for room in rooms)) - {known.user}
            told = known.told(self._store.now_ms())
            build_event = partial(build_shown_presence, snapshot, known.user, told)
            self._ephemeral.note_presence(snapshot, known.user_id, woken, build_event)
            is_told = known.is_local and self._rules.is_outgoing
            servers = {name for room in rooms for name in members.scan_servers(snapshot, room)} if is_told else set()
        self._hub.publish(woken)
        if servers:
            edu, name = build_presence([told]), digest("presence", known.user_id)
            self._outbox.pass_on(servers, edu, replaces=name, lasts_ms=TOLD_MS)

    # The passing of time.

    async def run(self) -> None:
        """Lets users become idle and go, for as long as the server runs."""
        while True:
            self._earlier = trio.Event()
            soonest_ms, gone = await self._look_round()
            if gone:
                await self._store_last(gone)
            pause_s = (soonest_ms - self._store.now_ms()) / 1000
            with trio.move_on_after(max(pause_s, PAUSE_MIN_S)):
                await self._earlier.wait()
                # What comes at once is looked at once.
                await trio.sleep(PAUSE_MIN_S)

    async def _look_round(self) -> tuple[float, list[_Known]]:
        """End what is over. Returns when to look again, and the local users who have gone.

        Where many go at once, as they do when the power of a house does, everybody else has a turn between two of them.
        """
        now_ms, soonest_ms, gone = self._store.now_ms(), math.inf, []
        for known in [known for known in self._known.values() if known.presence != OFFLINE]:
            if self._known.get(known.user) is not known:
                continue  # forgotten meanwhile
            before = (known.presence, known.is_active)
            offline_ms = max(known.seen_ms, known.active_ms) + self._rules.offline_ms
            if offline_ms <= now_ms:
                known.presence, known.is_active = OFFLINE, False
                if known.is_local:
                    gone.append(known)
            elif known.is_local and known.presence == ONLINE:
                idle_ms, active_ms = known.active_ms + self._rules.idle_ms, known.active_ms + ACTIVE_MS
                known.is_active = known.is_active and now_ms < active_ms
                if idle_ms <= now_ms:
                    known.presence, known.is_active = UNAVAILABLE, False
                else:
                    soonest_ms = min(soonest_ms, idle_ms, active_ms if known.is_active else math.inf)
            if known.presence != OFFLINE:
                soonest_ms = min(soonest_ms, offline_ms)
            if before != (known.presence, known.is_active):
                self._note_change(known)
                await trio.lowlevel.checkpoint()
        return soonest_ms, gone

    async def _store_last(self, gone: list[_Known]) -> None:
        """On a full disk it is forgotten how long they are gone."""
        with suppress(StorageFull):
            async with self._store.writer.turn() as turn:
                for known in gone:
                    presence.stage_last(turn, known.user, LastPresence(known.status_msg or "", known.active_ms))


def build_shown_presence(snapshot: Snapshot, user: ShortUserId, update: Presence) -> dict[str, Any]:
    """The event, with what of the profile goes with it, for users of this server."""
    profile = profiles.get_profile(snapshot, user)
    shown = {key: profile[key] for key in ("displayname", "avatar_url") if isinstance(profile.get(key), str)}
    return build_presence_event(update, **shown)


def _scan_rooms(snapshot: Snapshot, user: ShortUserId, *, is_local: bool) -> Iterator[ShortRoomId]:
    """Rooms that a user is joined to."""
    if is_local:
        return (room for room, _ in members.scan_rooms(snapshot, user, JOIN))
    return (room for room, _ in members.scan_remote_rooms(snapshot, user))


def _is_joined(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> bool:
    return user in members.get_local_joined(snapshot, room) or members.is_remote_joined(snapshot, user, room)
