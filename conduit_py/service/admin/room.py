"""The Admin Room: made by the server's own account, with exactly the administrators in it.

In a room of version 12 nobody can ever take its power from whoever made it. Everything but talking and the room's looks
is out of the members' reach. The room is not federated, so nobody but users of this server can ever be in it.

Its members follow the administrators' flag: whoever gets it is joined, whoever loses it has to leave. An administrator
who leaves stays out until made an administrator again. Membership gives no power over the server; the flag does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from conduit_py.data import account_data, admin, profiles, rooms, short_ids, users
from conduit_py.data.apart import PUSH_RULES
from conduit_py.log import get_logger
from conduit_py.matrix.house import SERVER_LOCALPART, admin_room_alias
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.push.edit import NO_CHANGES
from conduit_py.matrix.room_versions import get_room_version
from conduit_py.service.admin.commands import Attachment
from conduit_py.service.admin.messages import build_attached, build_notices
from conduit_py.service.admin.queue import CommandQueue, find_admin_room
from conduit_py.service.errors import MatrixError
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.ignored import INVITE_PERMISSION
from conduit_py.service.rooms.member_events import MEMBER, get_shown_profile, membership_content
from conduit_py.service.rooms.redactions import REDACTION
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.push_rules import store_rules
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.account_data import GLOBAL_ROOM
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account
from kvschema.errors import StorageFull

_log = get_logger(__name__)

ROOM_VERSION: Final = "12"
MEMBERS_LEVEL: Final = 50
OWNERS_LEVEL: Final = 150
"""Nobody has it: who made the room stands above all levels."""
NEVER: Final = 2**53 - 1
"""The highest level that can be written down."""

POWER_LEVELS: Final[Mapping[str, Any]] = {
    "users": {},
    "users_default": MEMBERS_LEVEL,
    "events": {
        "m.room.name": MEMBERS_LEVEL,
        "m.room.avatar": MEMBERS_LEVEL,
        "m.room.topic": MEMBERS_LEVEL,
        "m.room.pinned_events": MEMBERS_LEVEL,
        "m.room.encryption": NEVER,
        "m.room.tombstone": NEVER,
    },
    "events_default": 0,
    "state_default": OWNERS_LEVEL,
    "ban": OWNERS_LEVEL,
    "kick": OWNERS_LEVEL,
    "redact": MEMBERS_LEVEL,
    "invite": OWNERS_LEVEL,
    "notifications": {"room": MEMBERS_LEVEL},
}

WELCOME: Final = """\
Welcome! In this room you steer {server_name}. I obey administrators of the server, and nobody else.

First steps:
- help lists all commands, help COMMAND explains one. Write them alone, after !admin, or after @conduit:{server_name}:
- Close registration if the server is for yourself: allow-registration false
- Let only those in whom you know: create-registration-token --uses 1 makes a token for one account, \
create-user NAME an account.
- Keep copies: the data directory has everything, and copying it is a backup.

This room is not encrypted. Never write a password here: commands that need one say how it is given."""


class AdminRoom:
    """One per server. There is none before ``prepare``."""

    def __init__(self, store: Store, writes: RoomWrites, queue: CommandQueue) -> None:
        self._store = store
        self._writes = writes
        self.queue = queue
        self._server_name = writes.append.server_name
        self.user_id = queue.user_id

    async def prepare(self) -> None:
        """Make the account and the room if they are missing, and see to it who is in it.

        Each is one batch, so that a start that was interrupted is gone on with.
        """
        await self._make_account()
        with self._store.snapshot() as snapshot:
            room = find_admin_room(snapshot)
        if room is None:
            await self._writes.create(self.user_id, self._stage_room)
            with self._store.snapshot() as snapshot:
                room = find_admin_room(snapshot)
        assert room is not None, "the room was just made"
        self.queue.open(room)
        await self.settle()

    async def settle(self, called: UserId | None = None) -> None:
        """Have those in the room who are administrators now.

        ``called`` is an administrator who comes in even after having left.
        """
        room_id = self.get_room_id()
        if room_id is not None:
            await self._writes.write(room_id, partial(self._stage_members, called))

    async def note_admin(self) -> None:
        """An administrator was made. What hinders joining the room is logged: the next start tries again."""
        try:
            await self.settle()
        except (MatrixError, StorageFull) as error:
            _log.warning("the Admin Room has not its new member yet", error=str(error))

    async def note_report(self, words: str) -> None:
        """Somebody reported something. It is on the list whether this can be said or not."""
        if self.get_room_id() is None:
            return
        text = f"{words}\nlist-reports shows every report."
        try:
            await self.write(lambda snapshot, turn, append: self.stage_said(append, text))
        except (MatrixError, StorageFull) as error:
            _log.warning("a report is not told in the Admin Room", error=str(error))

    def get_room_id(self) -> RoomId | None:
        with self._store.snapshot() as snapshot:
            return admin.get_admin_room(snapshot)

    async def write(self, stage: Callable[[Snapshot, Turn, RoomAppend], None]) -> None:
        """Change the room, which there is."""
        room_id = self.get_room_id()
        assert room_id is not None, "there is no Admin Room yet"
        await self._writes.write(room_id, stage)

    def stage_redacted(self, append: RoomAppend, event_id: EventId, reason: str) -> None:
        content = {"reason": reason}
        append.append(append.create_event(sender=self.user_id, type=REDACTION, content=content, redacts=event_id))

    def stage_said(
        self,
        append: RoomAppend,
        text: str,
        *,
        is_table: bool = False,
        to: EventId | None = None,
        thread: EventId | None = None,
    ) -> None:
        """Say something as the server's own account, in as many messages as it takes."""
        for content in build_notices(text, is_table=is_table, to=to, thread=thread):
            append.append(append.create_event(sender=self.user_id, type="m.room.message", content=content))

    def stage_shown(
        self, append: RoomAppend, attachment: Attachment, *, to: EventId | None = None, thread: EventId | None = None
    ) -> None:
        """Show a medium as the server's own account."""
        content = build_attached(attachment, to=to, thread=thread)
        append.append(append.create_event(sender=self.user_id, type="m.room.message", content=content))

    async def _make_account(self) -> None:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if users.get_local(snapshot, self.user_id) is not None:
                    return
                user = self._store.ids.intern_user(snapshot, turn, self.user_id)
                users.stage_new_account(turn, user, Account("", self._store.now_ms()))
                profiles.stage_field(turn, user, "displayname", SERVER_LOCALPART)
                for name, content in (
                    (PUSH_RULES, store_rules(NO_CHANGES)),
                    (INVITE_PERMISSION, '{"default_action":"block"}'),
                ):
                    account_data.stage_content(snapshot, turn, user, GLOBAL_ROOM, name, content)

    def _stage_room(self, snapshot: Snapshot, turn: Turn) -> RoomAppend:
        version = get_room_version(ROOM_VERSION)
        assert version is not None
        append = self._writes.append.begin_new(
            snapshot,
            turn,
            version=version,
            room_id=None,
            creator=self.user_id,
            content={"room_version": ROOM_VERSION, "m.federate": False},
        )
        for name, state_key, content in self._first_state():
            append.append(append.create_event(sender=self.user_id, type=name, content=content, state_key=state_key))
        alias, room = admin_room_alias(self._server_name), append.room
        record = rooms.get_alias(snapshot, alias)
        if record is not None:
            _log.warning("the alias of the Admin Room is taken from another room", alias=alias, room=record.room_id)
            other = short_ids.get_room(snapshot, RoomId(record.room_id))
            assert other is not None, f"{alias} names no room"
            rooms.stage_alias_taken(turn, other, room.short, room.room_id, alias, self.user_id)
        else:
            rooms.stage_alias(turn, room.short, room.room_id, alias, self.user_id)
        admin.stage_admin_room(turn, room.room_id)
        return append

    def _first_state(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        name = f"{self._server_name} Admin Room"
        topic = f"Steer {self._server_name}: write help. This room is not encrypted."
        yield MEMBER, self.user_id, membership_content("join", None, displayname=SERVER_LOCALPART)
        yield "m.room.power_levels", "", POWER_LEVELS
        yield "m.room.join_rules", "", {"join_rule": "invite"}
        yield "m.room.history_visibility", "", {"history_visibility": "shared"}
        yield "m.room.guest_access", "", {"guest_access": "forbidden"}
        yield "m.room.canonical_alias", "", {"alias": admin_room_alias(self._server_name)}
        yield "m.room.name", "", {"name": name}
        yield "m.room.topic", "", {"topic": topic, "m.topic": {"m.text": [{"mimetype": "text/plain", "body": topic}]}}

    def _stage_members(self, called: UserId | None, snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
        wanted = {user_id: user for user_id, user, account in users.scan_accounts(snapshot) if account.is_admin}
        wanted.pop(self.user_id, None)
        inside = {short_ids.get_user_id(snapshot, user) for user in append.scan_local_joined()} - {self.user_id}
        for user_id in sorted(inside - wanted.keys()):
            reason = "not an administrator any more"
            self._put_member(append, self.user_id, user_id, membership_content("leave", reason))
        coming = [user_id for user_id in sorted(wanted.keys() - inside) if _may_come(append, user_id, called)]
        came = [user_id for user_id in coming if self._try_to_bring(snapshot, append, user_id, wanted[user_id])]
        if came and not inside:
            self.stage_said(append, WELCOME.format(server_name=self._server_name))

    def _try_to_bring(self, snapshot: Snapshot, append: RoomAppend, user_id: UserId, user: ShortUserId) -> bool:
        profile = get_shown_profile(snapshot, user)
        try:
            self._put_member(append, self.user_id, user_id, {**profile, **membership_content("invite", None)})
            self._put_member(append, user_id, user_id, {**profile, **membership_content("join", None)})
        except MatrixError as error:
            _log.warning("an administrator cannot be brought into the Admin Room", user=user_id, error=str(error))
            return False
        return True

    def _put_member(self, append: RoomAppend, sender: UserId, user_id: UserId, content: Mapping[str, Any]) -> None:
        append.append(append.create_event(sender=sender, type=MEMBER, content=content, state_key=user_id))


def _may_come(append: RoomAppend, user_id: UserId, called: UserId | None) -> bool:
    """Has the administrator not left of their own accord?"""
    member = append.get_state(MEMBER, user_id)
    has_left = member is not None and member.content.get("membership") == "leave" and member.sender == user_id
    return not has_left or user_id == called
