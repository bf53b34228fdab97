"""Deactivating an account: nobody logs in to it again, nobody else gets its name, and it is in no room any more.

The account is closed in one batch, which also notes that there are rooms to leave. They are left behind the request's
back, room by room, so a restart in between loses none of them.

Spec: client-server-api/#account-deactivation
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from conduit_py.data import (
    account_data,
    deactivated,
    filters,
    members,
    openid_tokens,
    profiles,
    short_ids,
    user_directory,
    users,
)
from conduit_py.data.user_directory import name_words
from conduit_py.log import get_logger
from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.service.users.uia import NO_SESSION, Proof
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import INVITE, JOIN, KNOCK
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull

_log = get_logger(__name__)

RETRY_S: Final = 60
"""Until rooms are left that a full disk kept a user in."""

LeaveRoom = Callable[[Requester, RoomId], Awaitable[None]]
"""Take a user out of a room, or out of the invitation to it."""


class DeactivationService:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self, store: Store, sessions: SessionService, reauth: Reauthentication, *, leave_room: LeaveRoom
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._reauth = reauth
        self._leave_room = leave_room
        self._has_leaving = trio.Event()

    async def deactivate(self, requester: Requester, auth: Mapping[str, Any] | None, *, erase: bool) -> None:
        """Close the requester's account for ever. Raises ``UiaRequired`` until the password was given.

        :param erase: forget what the user kept here, and show the user's events redacted to who joins a room later.
        """
        bound = {"erase": str(erase)}
        proof = await self._reauth.require(requester, auth, "deactivate_account", bound)
        await self._close(requester.user, requester.user_id, proof, erase=erase)

    async def deactivate_other(self, user_id: UserId, *, erase: bool) -> None:
        """Close an account on an administrator's behalf. Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, user_id)
        if found is None or found[1].is_deactivated:
            raise NotFound("There is no such account")
        await self._close(found[0], user_id, NO_SESSION, erase=erase)

    async def _close(self, user: ShortUserId, user_id: UserId, proof: Proof, *, erase: bool) -> None:
        if is_server_user(user_id):
            raise Forbidden("The server's own account stays")
        locks = self._store.locks
        async with (
            locks.hold(("profile", user)),
            locks.hold(("account_data", user)),
            locks.hold(account_key(user)),
            self._store.writer.turn() as turn,
        ):
            with self._store.snapshot() as snapshot:
                proof.stage_used(snapshot, turn)
                self._stage_closed(snapshot, turn, user, user_id)
                if erase:
                    _stage_erased(snapshot, turn, user)
            turn.on_landed(self._has_leaving.set)

    def _stage_closed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, user_id: UserId) -> None:
        account = users.get_account(snapshot, user)
        if account is None or account.is_deactivated:
            raise NotFound("There is no such account any more")
        closed = account._replace(password_hash="", is_deactivated=True, is_admin=False)
        users.stage_account(turn, user, closed)
        self._sessions.stage_all_closed(snapshot, turn, user)
        for key, _ in list(openid_tokens.scan_of_user(snapshot, user)):
            openid_tokens.stage_removed(turn, key)
        words = name_words(user_id, profiles.get_profile(snapshot, user).get("displayname"))
        user_directory.stage_words(turn, user, words, frozenset())
        deactivated.stage_leaving(turn, user)

    async def run(self) -> None:
        """Has the deactivated leave their rooms: those that a restart interrupted, then everybody as it comes."""
        while True:
            self._has_leaving = trio.Event()
            try:
                await self._leave_all()
            except StorageFull:
                await trio.sleep(RETRY_S)
            else:
                await self._has_leaving.wait()

    async def _leave_all(self) -> None:
        with self._store.snapshot() as snapshot:
            leaving = [(user, short_ids.get_user_id(snapshot, user)) for user in deactivated.scan_leaving(snapshot)]
        for user, user_id in leaving:
            await self._leave_rooms(Requester(user_id=user_id, user=user, device_id=None))
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                deactivated.stage_left(turn, user)

    async def _leave_rooms(self, requester: Requester) -> None:
        with self._store.snapshot() as snapshot:
            room_ids = [
                RoomId(short_ids.get_room_record(snapshot, room).room_id)
                for kind in (JOIN, INVITE, KNOCK)
                for room, _ in members.scan_rooms(snapshot, requester.user, kind)
            ]
        for room_id in room_ids:
            try:
                await self._leave_room(requester, room_id)
            except MatrixError as error:
                # A room whose other servers are gone cannot always be left. It must not keep the user in the others.
                _log.warning("a deactivated user stays in a room", user_id=requester.user_id, room=room_id, why=error)


def _stage_erased(snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
    for key_name in profiles.get_profile(snapshot, user):
        profiles.stage_field_removed(turn, user, key_name)
    account_data.stage_all_removed(snapshot, turn, user)
    filters.stage_all_removed(snapshot, turn, user)
    deactivated.stage_erased(turn, user)
