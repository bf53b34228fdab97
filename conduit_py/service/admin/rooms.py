"""Commands about rooms: looking at them, shutting and removing them, and who is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import click
import trio

from conduit_py.data import members, short_ids
from conduit_py.data.admin import get_admin_room
from conduit_py.data.closed import get_disabled, get_removed, scan_disabled, scan_removed
from conduit_py.matrix.house import server_user_id
from conduit_py.matrix.ids import RoomAlias, RoomId, ServerName, UserId, parse_room_alias
from conduit_py.service.admin.commands import Answer, Call
from conduit_py.service.admin.room_facts import RoomLine, count_events, describe, get_marks, get_name, scan_rooms
from conduit_py.service.admin.room_media import find_media_of_room
from conduit_py.service.admin.things import (
    count_pages,
    find_room_id,
    page_line,
    page_option,
    show_time,
    take_page,
)
from conduit_py.service.admin.words import plural, require_account, table
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.closed import ClosedRooms, require_not_admin_room
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.removal import RoomRemoval
from conduit_py.service.users.store import Store
from kvschema.catalog.media import ByMxc
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortUserId

INVITERS_TRIED_MAX: Final = 20
SHOWN_MAX: Final = 100
ROOMS_AT_ONCE: Final = 1000
"""Rooms that are looked at in one go, about 5 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomTools:
    """What the commands work with."""

    store: Store
    server_name: ServerName
    removal: RoomRemoval
    closed: ClosedRooms
    membership: MembershipService
    aliases: AliasService
    receiver: Receiver
    remove_media: Callable[[ByMxc], Awaitable[bool]]

    def find_room(self, typed: str) -> RoomId:
        with self.store.snapshot() as snapshot:
            return find_room_id(snapshot, typed)

    def require_no_admin_room(self, room_id: RoomId) -> None:
        """Raises ``Forbidden`` for the room that commands are given in: who is in it follows from who administrates."""
        with self.store.snapshot() as snapshot:
            if room_id == get_admin_room(snapshot):
                raise Forbidden(f"{room_id} is the Admin Room: see make-admin and remove-admin")

    def require_user(self, typed: str) -> Requester:
        """A user of this server, as who does something. Raises ``NotFound``."""
        with self.store.snapshot() as snapshot:
            user_id, user, _ = require_account(snapshot, typed, self.server_name)
        return Requester(user_id=user_id, user=user, device_id=None, is_limited=False)


def build_room_commands(tools: RoomTools) -> tuple[click.Command, ...]:
    """All of them."""
    return (*_build_looking(tools), *_build_shutting(tools), *_build_membership(tools))


def _build_looking(tools: RoomTools) -> Iterable[click.Command]:
    store = tools.store

    @click.command("list-rooms")
    @click.argument("page", type=click.IntRange(min=1), default=1)
    @click.option("--disabled", is_flag=True, help="Only rooms that are disabled.")
    @click.option("--here", is_flag=True, help="Only rooms that a user of this server is in.")
    async def list_rooms(page: int, disabled: bool, here: bool) -> Answer:
        """List the rooms that this server knows, those with most members first."""
        lines = await _find_rooms(store, only_disabled=disabled, only_here=here)
        rows: list[tuple[str, ...]] = [("ROOM", "MEMBERS", "HERE", "VERSION", "EVENTS", "NAME")]
        for line in take_page(lines, page):
            # Each room by itself: counting events takes milliseconds in a large one.
            await trio.lowlevel.checkpoint()
            with store.snapshot() as snapshot:
                if short_ids.get_room(snapshot, line.room_id) != line.room:
                    continue
                marks = get_marks(snapshot, line.room, line.room_id)
                name = get_name(snapshot, line.room) + (f" ({', '.join(marks)})" if marks else "")
                version = short_ids.get_room_record(snapshot, line.room).room_version
                events = count_events(snapshot, line.room)
                local = len(members.get_local_joined(snapshot, line.room))
            rows.append((line.room_id, str(line.joined), str(local), version, events, name.strip()))
        more = f"\nlist-rooms {page + 1} shows more." if page < count_pages(len(lines)) else ""
        title = f"{plural(len(lines), 'room')}{page_line(page, len(lines))}:"
        return Answer(text=f"{title}\n{table(rows)}{more}", is_table=True)

    @click.command("room-info")
    @click.argument("room")
    async def room_info(room: str) -> Answer:
        """Show what this server knows of a room, given by its id or alias."""
        room_id = tools.find_room(room)
        with store.snapshot() as snapshot:
            short, removed = short_ids.get_room(snapshot, room_id), get_removed(snapshot, room_id)
            if short is None and removed is not None:
                return Answer(text=f"{room_id} is being removed since {show_time(removed.began_ms)} UTC.")
            if short is None:
                is_disabled = get_disabled(snapshot, room_id) is not None
                raise NotFound(f"This server does not know {room_id}{', and has disabled it' if is_disabled else ''}")
            facts = describe(snapshot, short, room_id)
        return Answer(text=table([(f"{name}:", value) for name, value in facts]), is_table=True)

    @click.command("list-members")
    @click.argument("room")
    @page_option
    async def list_members(room: str, page: int) -> Answer:
        """List who is joined to a room, users of this server first."""
        room_id = tools.find_room(room)
        with store.snapshot() as snapshot:
            short = short_ids.get_room(snapshot, room_id)
            if short is None:
                raise NotFound(f"This server does not know {room_id}")
            joined = [user for user, _ in members.scan_members(snapshot, short, JOIN)]
            named = [short_ids.get_user_id(snapshot, user) for user in take_page(joined, page)]
        title = f"{plural(len(joined), 'member')}{page_line(page, len(joined))}:"
        return Answer(text="\n".join([title, *named]), is_table=True)

    @click.command("incoming-federation")
    async def incoming_federation() -> Answer:
        """List the rooms of which events of other servers are being taken in now."""
        handled = list(islice(tools.receiver.scan_receiving(), SHOWN_MAX))
        if not handled:
            return Answer(text="Nothing is being taken in.")
        rows: list[tuple[str, ...]] = [("ROOM", "FROM"), *((room_id, origin) for room_id, origin in handled)]
        return Answer(text=f"{plural(len(handled), 'room')}:\n{table(rows)}", is_table=True)

    return list_rooms, room_info, list_members, incoming_federation


async def _find_rooms(store: Store, *, only_disabled: bool, only_here: bool) -> list[RoomLine]:
    """Those with most members first."""
    found: list[RoomLine] = []
    after: RoomId | None = None
    while True:
        with store.snapshot() as snapshot:
            some = list(islice(scan_rooms(snapshot, after), ROOMS_AT_ONCE))
            for line in some:
                is_here = not only_here or members.get_local_joined(snapshot, line.room)
                if is_here and (not only_disabled or get_disabled(snapshot, line.room_id) is not None):
                    found.append(line)
        if len(some) < ROOMS_AT_ONCE:
            return sorted(found, key=lambda line: (-line.joined, line.room_id))
        after = some[-1].room_id
        await trio.lowlevel.checkpoint()


def _build_shutting(tools: RoomTools) -> Iterable[click.Command]:
    @click.command("delete-room")
    @click.argument("room")
    @click.option("--disable", is_flag=True, help="Let nobody of this server into the room again.")
    @click.option("--purge-media", is_flag=True, help="Remove the media too that were sent there in the clear.")
    @click.option("--wait", is_flag=True, help="Answer when nothing of it is left, which takes minutes.")
    @click.pass_obj
    async def delete_room(call: Call, room: str, disable: bool, purge_media: bool, wait: bool) -> Answer:
        """Remove a room from this server, with everything in it.

        Its users leave it, and are told so. All of its history goes from the disk, which cannot be undone. Media that
        were sent there stay, unless they are purged; then they are gone wherever else they were sent, too. On other
        servers the room goes on.
        """
        room_id = tools.find_room(room)
        if purge_media:
            await _purge_media(tools, call, room_id)
        is_new = await tools.removal.begin(room_id)
        if disable:
            await tools.closed.disable(room_id)
        if wait:
            await tools.removal.wait_until_removed(room_id)
            return Answer(text=f"{room_id} is gone.")
        begun = f"{room_id} is being removed{'' if is_new else ' already'}."
        return Answer(text=f"{begun} It takes some minutes, whether the server is restarted or not: see list-removals.")

    @click.command("list-removals")
    async def list_removals() -> Answer:
        """List the rooms that are being removed."""
        with tools.store.snapshot() as snapshot:
            rows: list[tuple[str, ...]] = [
                (room_id, show_time(row.began_ms), "erasing" if row.is_cut_off else "letting users leave")
                for room_id, row in islice(scan_removed(snapshot), SHOWN_MAX)
            ]
        if not rows:
            return Answer(text="No room is being removed.")
        return Answer(text=table([("ROOM", "SINCE (UTC)", "STEP"), *rows]), is_table=True)

    @click.command("disable-room")
    @click.argument("room")
    async def disable_room(room: str) -> Answer:
        """Shut a room: nothing goes in or out of it on this server.

        Its users keep the history and may leave, and nothing else. What other servers send or ask about it is refused.
        It need not be known here: nobody can then join it.
        """
        room_id = tools.find_room(room)
        was_open = await tools.closed.disable(room_id)
        return Answer(text=f"{room_id} {'is disabled now' if was_open else 'was disabled already'}.")

    @click.command("enable-room")
    @click.argument("room")
    async def enable_room(room: str) -> Answer:
        """Open a room that was disabled."""
        room_id = tools.find_room(room)
        was_disabled = await tools.closed.enable(room_id)
        return Answer(text=f"{room_id} {'is enabled now' if was_disabled else 'was not disabled'}.")

    @click.command("list-disabled-rooms")
    @page_option
    async def list_disabled_rooms(page: int) -> Answer:
        """List the rooms that are disabled, those that are not known here too."""
        with tools.store.snapshot() as snapshot:
            disabled = list(scan_disabled(snapshot))
        rows: list[tuple[str, ...]] = [("ROOM", "SINCE (UTC)")]
        rows += [(room_id, show_time(row.disabled_ms)) for room_id, row in take_page(disabled, page)]
        title = f"{plural(len(disabled), 'disabled room')}{page_line(page, len(disabled))}"
        return Answer(text=f"{title}:\n{table(rows)}" if disabled else "No room is disabled.", is_table=bool(disabled))

    return delete_room, list_removals, disable_room, enable_room, list_disabled_rooms


async def _purge_media(tools: RoomTools, call: Call, room_id: RoomId) -> None:
    with tools.store.snapshot() as snapshot:
        require_not_admin_room(snapshot, room_id)
        room = short_ids.get_room(snapshot, room_id)
    found = [] if room is None else await find_media_of_room(tools.store, room)
    for number, mxc in enumerate(found, 1):
        await tools.remove_media(mxc)
        call.report(number, len(found))


def _build_membership(tools: RoomTools) -> Iterable[click.Command]:
    @click.command("force-join-user")
    @click.argument("user")
    @click.argument("room")
    @click.option("--via", multiple=True, help="A server that is in the room, for one that this server is not in.")
    async def force_join_user(user: str, room: str, via: tuple[str, ...]) -> Answer:
        """Bring a user of this server into a room.

        Where the room lets in only those who are invited, somebody of this server who may invite does it.
        """
        requester, room_id = tools.require_user(user), tools.find_room(room)
        tools.require_no_admin_room(room_id)
        servers = tuple(ServerName(name) for name in via)

        async def join() -> None:
            await tools.membership.join(requester, room_id, via=servers)

        inviter = await _join_somehow(tools, requester, room_id, join)
        how = "" if inviter is None else f", invited by {inviter}"
        return Answer(text=f"{requester.user_id} is in {room_id}{how}.")

    @click.command("force-leave-user")
    @click.argument("user")
    @click.argument("room")
    async def force_leave_user(user: str, room: str) -> Answer:
        """Have a user of this server leave a room, or refuse the invite to it."""
        requester, room_id = tools.require_user(user), tools.find_room(room)
        tools.require_no_admin_room(room_id)
        await tools.membership.leave(requester, room_id)
        return Answer(text=f"{requester.user_id} is not in {room_id} any more.")

    @click.command("remove-alias")
    @click.argument("alias")
    @click.pass_obj
    async def remove_alias(call: Call, alias: str) -> Answer:
        """Take an alias of this server away from its room."""
        parsed = RoomAlias(parse_room_alias(alias))
        await tools.aliases.delete_alias(_as_administrator(tools, call), parsed)
        return Answer(text=f"{parsed} is free now.")

    return force_join_user, force_leave_user, remove_alias


async def _join_somehow(
    tools: RoomTools, requester: Requester, room_id: RoomId, join: Callable[[], Awaitable[Any]]
) -> UserId | None:
    """Join, after an invite if it has to be. Returns who invited. Raises what joining is refused with at first."""
    try:
        await join()
    except MatrixError as error:
        for inviter in _find_inviters(tools, room_id):
            try:
                await tools.membership.invite(inviter, room_id, requester.user_id)
            except MatrixError:
                continue
            await join()
            return inviter.user_id
        raise error from None
    return None


def _find_inviters(tools: RoomTools, room_id: RoomId) -> list[Requester]:
    with tools.store.snapshot() as snapshot:
        room = short_ids.get_room(snapshot, room_id)
        found = () if room is None else members.scan_members(snapshot, room, JOIN, local_only=True)
        return [
            Requester(user_id=short_ids.get_user_id(snapshot, user), user=user, device_id=None, is_limited=False)
            for user, _ in islice(found, INVITERS_TRIED_MAX)
        ]


def _as_administrator(tools: RoomTools, call: Call) -> Requester:
    """Who gives the command; on the command line that is the server itself."""
    user_id = call.caller or server_user_id(tools.server_name)
    with tools.store.snapshot() as snapshot:
        user = short_ids.get_user(snapshot, user_id) or ShortUserId(0)
    return Requester(user_id=user_id, user=user, device_id=None, is_admin=True, is_limited=False)
