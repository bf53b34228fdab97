"""Builds one /sync reply, in slices.

The first snapshot fixes what the reply tells: ``plan`` lists the rooms to look at, and every later slice, with a
snapshot of its own, reads them as of the first one's position. Between two slices other tasks run, so a large initial
sync keeps nobody waiting. What has no history is newer in a later slice than the token says (member counts, unread
counts, receipts moved on since); the next reply tells it again.

The reply is put together from bytes: the only JSON that is encoded here is what this server says itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import orjson
import trio

from conduit_py.data import devices, short_ids, users
from conduit_py.data.apart import PUSH_RULES
from conduit_py.matrix.edus import PRESENCE, Presence, build_presence_event
from conduit_py.matrix.json_slices import Slices
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.e2ee.device_lists import Reading
from conduit_py.service.e2ee.news import NO_NEWS, Asked, DeviceNews, get_supply, read_device_news
from conduit_py.service.errors import UnknownToken
from conduit_py.service.hub import SyncHub
from conduit_py.service.news import RoomNews
from conduit_py.service.presence import PresenceService, build_shown_presence
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.typing import TypingService
from conduit_py.service.sync.lazy import SentMembers, SentMembersByDevice
from conduit_py.service.sync.messages import Quiet, build_sections, is_plain
from conduit_py.service.sync.plan import Plan, RoomEntry, plan_changes, plan_everything
from conduit_py.service.sync.sections import begin_section, render_data, render_events, render_farewell
from conduit_py.service.sync.since import SyncRequest, View
from conduit_py.service.sync.slice import Slice
from conduit_py.service.sync.stripped import build_glimpse
from conduit_py.service.users.push_rules import build_event_content, get_ruleset
from conduit_py.service.users.tokens import user_locked
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import INVITE, JOIN, KNOCK
from kvschema.catalog.rooms import ShortEventId

SLICE_S = 0.015
"""How long a slice goes on: with the last step of a room it stays well below 50 ms."""
_DONE = object()

_SECTION_OF = {JOIN: "join", INVITE: "invite", KNOCK: "knock"}


@dataclass(slots=True)
class Reply:
    """A reply that is being made."""

    token: SyncToken
    device_news: DeviceNews = NO_NEWS
    global_data: list[bytes] = field(default_factory=list)
    presence: list[bytes] = field(default_factory=list)
    rooms: dict[str, list[bytes]] = field(default_factory=lambda: {"join": [], "invite": [], "knock": [], "leave": []})
    quiet: Quiet | None = None
    """Set where the next reply may be made by ``build_messages``."""

    @property
    def is_empty(self) -> bool:
        return not (self.global_data or self.presence or any(self.rooms.values())) and self.device_news.is_empty

    def render(self) -> bytes:
        """The body. Sections of what this server does not have are there and empty, as clients expect."""
        head = _render_head(self.token, render_events(self.global_data), render_events(self.presence))
        return b"".join((head, b",".join(self.rooms["join"]), self.render_tail()))

    def render_tail(self) -> bytes:
        """What follows the joined rooms."""
        rest = [b'"%s":{%s}' % (name, b",".join(self.rooms[name.decode()])) for name in (b"invite", b"knock", b"leave")]
        return b"},%s},%s}" % (b",".join(rest), b",".join(self.device_news.render()))


_NO_EVENTS = render_events([])


def _render_head(token: SyncToken, global_data: bytes = _NO_EVENTS, presence: bytes = _NO_EVENTS) -> bytes:
    """Up to the joined rooms."""
    parts = str(token).encode(), global_data, presence
    return b'{"next_batch":"%s","account_data":%s,"presence":%s,"rooms":{"join":{' % parts


class SyncBuilder:
    """One per server. ``clock`` measures how long a slice takes, in seconds."""

    def __init__(
        self,
        database: Database,
        hub: SyncHub,
        typing: TypingService,
        presence: PresenceService,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._hub = hub
        self._typing = typing
        self._presence = presence
        self._now_ms = now_ms
        self._clock = clock
        self._sent = SentMembersByDevice()

    def require_session(self, requester: Requester) -> None:
        """Raises ``UnknownToken`` where the device that asks is gone, and ``M_USER_LOCKED``.

        Application services need no device.
        """
        with self._database.snapshot() as snapshot:
            account = users.get_account(snapshot, requester.user)
            device_id = requester.device_id
            is_gone = device_id is not None and devices.get_device(snapshot, requester.user, device_id) is None
        if is_gone or account is None or account.is_deactivated:
            raise UnknownToken("Unknown access token", extra={"soft_logout": False})
        if account.is_locked:
            raise user_locked()

    async def build(self, requester: Requester, request: SyncRequest) -> Reply:
        """What is new, as of now. An empty reply is one that nobody has to be told of."""
        with self._database.snapshot() as snapshot:
            work = self._begin(snapshot, requester, request)
            is_done = work.reading is None and self._go_on(snapshot, work)
            if is_done and work.is_quiet and work.reply.is_empty:
                work.reply.quiet = Quiet(
                    work.view, work.reply.token, work.reply.render_tail(), get_supply(snapshot, requester)
                )
        while not is_done:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                is_done = self._go_on(snapshot, work)
        if work.sent is not None:
            work.sent.tell(work.view.until, work.telling)
        return work.reply

    def build_messages(self, quiet: Quiet, news: RoomNews) -> bytes | None:
        """The body of what ``build`` would, where there was nothing to tell and messages woke the request.

        None for other news.
        """
        token, view = quiet.token, quiet.view
        if self._typing.changes != token.typing:
            return None
        is_lazy = view.filter.room.state.lazy_load_members
        sent = self._sent.go_on(view.requester, view.since) if is_lazy else None
        with self._database.snapshot() as snapshot:
            supply = get_supply(snapshot, view.requester)
            if supply is not quiet.supply and supply != quiet.supply:
                return None
            sections = build_sections(snapshot, quiet, news, self._now_ms(), sent)
        if sections is None:
            return None
        if sent is not None:
            sent.tell(news.pos, set())
        head = _render_head(SyncToken(news.pos, token.boot, token.typing, token.to_device))
        return head + b",".join(sections) + quiet.tail

    def _begin(self, snapshot: Snapshot, requester: Requester, request: SyncRequest) -> _Work:
        token = request.since
        is_gap = token is not None and snapshot.is_from_lost_future(token.pos)
        since = None if token is None or is_gap else token.pos
        view = View(
            requester=requester,
            request=request,
            since=since,
            until=snapshot.pos,
            is_gap=is_gap,
            now_ms=self._now_ms(),
            ignored=get_ignored_users(snapshot, requester.user) - {requester.user_id},
        )
        if since is None:
            plan = plan_everything(snapshot, view, self._typing)
        else:
            plan = plan_changes(snapshot, view, since, self._hub, self._typing)
        sent = self._sent.go_on(requester, since) if request.filter.room.state.lazy_load_members else None
        reply = Reply(SyncToken(snapshot.pos, self._typing.boot, self._typing.changes))
        reply.presence = self._build_presence(snapshot, view, plan)
        reply.rooms["leave"] += [
            render_farewell(farewell, view.until)
            for farewell in plan.farewells
            if view.filter.room.matches_room(farewell.room_id)
        ]
        reply.global_data = _build_global_data(snapshot, view, plan)
        reply.device_news, reading = _read_device_news(snapshot, view, plan)
        if reply.device_news.messages_until is not None:
            reply.token = replace(reply.token, to_device=reply.device_news.messages_until)
        return _Work(view, plan, reply, sent, reading, is_quiet=not plan.todo and is_plain(view))

    def _build_presence(self, snapshot: Snapshot, view: View, plan: Plan) -> list[bytes]:
        token, wants = view.request.since, view.filter.presence
        if token is None or view.since is None:
            told = self._presence.read_all(snapshot, view.requester)
        else:
            since = token.typing if token.boot == self._typing.boot else 0
            new = [entry.room for entry in plan.todo if entry.kind == JOIN and entry.after is None]
            told = self._presence.read_changes(snapshot, view.requester, since, new)
        return [_render_presence(snapshot, it) for it in told if wants.matches(PRESENCE, it.user_id)]

    def _go_on(self, snapshot: Snapshot, work: _Work) -> bool:
        """Do as much as fits into one slice. True when there is no more."""
        if work.reading is not None:
            work.reading.go_on(snapshot)
            if not work.reading.is_done:
                return False
            work.reply.device_news = replace(work.reply.device_news, changes=work.reading.changes)
            work.reading = None
            return not work.plan.todo
        ends = self._clock() + SLICE_S
        if work.slice_ is None:
            work.slice_ = Slice(snapshot, work.view)
        else:
            work.slice_.go_on(snapshot)
        while work.room is not None or work.plan.todo:
            if work.room is None:
                work.room = self._add_room(work.slice_, work, work.plan.todo.popleft())
            if next(work.room, _DONE) is _DONE:
                work.room = None
            if self._clock() >= ends and (work.room is not None or work.plan.todo):
                return False
        return True

    def _add_room(self, slice_: Slice, work: _Work, entry: RoomEntry) -> Slices[None]:
        """Yields wherever the slice may end."""
        room_id = short_ids.get_room_record(slice_.snapshot, entry.room).room_id
        if not work.view.filter.room.matches_room(room_id):
            return
        if entry.kind in (INVITE, KNOCK):
            assert entry.membership is not None
            glimpse = build_glimpse(slice_.snapshot, entry.kind, entry.membership)
            work.reply.rooms[_SECTION_OF[entry.kind]].append(orjson.dumps(room_id) + b":" + glimpse)
            return
        section = yield from begin_section(slice_, entry, work.sent, work.telling)
        yield
        while section.render_more(slice_):
            yield
        rendered = section.render(slice_, work.plan, self._typing)
        if rendered is not None:
            work.reply.rooms["join" if entry.kind == JOIN else "leave"].append(rendered)


@dataclass(slots=True)
class _Work:
    """A reply between two slices."""

    view: View
    plan: Plan
    reply: Reply
    sent: SentMembers | None
    reading: Reading | None
    """Whose device lists are to be told, as long as it is not known."""
    is_quiet: bool
    """Nothing happened in the user's rooms, and messages could be told by ``build_messages``."""
    telling: set[ShortEventId] = field(default_factory=set)
    slice_: Slice | None = None
    """The last one that looked at rooms."""
    room: Slices[None] | None = None
    """The room that is being added."""


def _read_device_news(snapshot: Snapshot, view: View, plan: Plan) -> tuple[DeviceNews, Reading | None]:
    token = view.request.since
    asked = Asked(
        since=view.since,
        until=view.until,
        to_device_since=0 if token is None or view.is_gap else token.to_device_pos,
        is_gap=view.is_gap,
    )
    return read_device_news(snapshot, view.requester, asked, [entry.room for entry in plan.todo if entry.has_news])


def _render_presence(snapshot: Snapshot, update: Presence) -> bytes:
    user = short_ids.get_user(snapshot, update.user_id)
    return orjson.dumps(build_presence_event(update) if user is None else build_shown_presence(snapshot, user, update))


def _build_global_data(snapshot: Snapshot, view: View, plan: Plan) -> list[bytes]:
    """Push rules are told as they are in force; of what is stored they are only the changes.

    Spec: client-server-api/#mpush_rules
    """
    filter_, requester = view.filter.account_data, view.requester
    contents = {row.type: row.content.encode() for row in plan.global_data}
    if PUSH_RULES in contents:
        contents[PUSH_RULES] = orjson.dumps(build_event_content(contents[PUSH_RULES].decode(), requester.user_id))
    elif view.since is None:
        rules = get_ruleset(snapshot, requester.user, requester.user_id)
        contents[PUSH_RULES] = orjson.dumps({"global": rules.to_json()})
    return [render_data(type_, content) for type_, content in contents.items() if filter_.matches_type(type_)]
