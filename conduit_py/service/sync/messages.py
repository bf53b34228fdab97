"""The reply to a long-poll that nothing but new messages woke, which is what most replies are.

A message wakes everybody in its room at once, and they are told the same of it: so what there is to tell is found once
for all of them, and what each is told is put together from it. The reply is byte for byte that which ``build`` makes.

The way leads only from quiet to messages. *Quiet* is a reply that found nothing new in any room of the user, whatever
the filter. From then on the hub notes for which rooms it wakes the request, and whether for anything else. The messages
are read from the store, and whatever is not plain about them (state, redactions, receipts, relations, holes, members
that a lazy-loading client does not know yet) is left to ``build``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from conduit_py.data import deactivated, gaps, receipts, row_fields, short_ids, timeline
from conduit_py.data.one_time_keys import Supply
from conduit_py.data.state import StateChain, get_current_state_id
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.news import Message, Messages, RoomNews
from conduit_py.service.rooms.client_events import render_transaction_id
from conduit_py.service.sync.ephemeral import build_unread
from conduit_py.service.sync.lazy import SentMembers
from conduit_py.service.sync.plan import get_joined_rooms
from conduit_py.service.sync.since import TIMELINE_LIMIT, View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import STATE, EventRow

_MEMBER = "m.room.member"
_AGE = b',"unsigned":{"age":'
_SECTION = (
    b'%s:{"%s":{"events":[]},"timeline":{"events":[%s],"limited":false,"prev_batch":"%s"},'
    b'"account_data":{"events":[]},"ephemeral":{"events":[]},%s}'
)


@dataclass(frozen=True, slots=True)
class Quiet:
    """There was nothing to tell, and nothing at all in the user's rooms.

    What is the same in the reply to come is put together before the request waits, and not when it is woken.
    """

    view: View
    token: SyncToken
    tail: bytes
    """The reply from behind the joined rooms on."""
    supply: Supply | None
    """The device's keys, as they stand in the tail."""
    timeline_limit: int = field(init=False)
    wants_room: Callable[[str], bool] = field(init=False)
    state_name: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeline_limit", self.view.timeline_limit)
        object.__setattr__(self, "wants_room", self.view.filter.room.matches_room)
        object.__setattr__(self, "state_name", (self.view.request.state_after or "state").encode())


def is_plain(view: View) -> bool:
    """Can a reply of this kind be given at all?"""
    filter_, request = view.filter, view.request
    return (
        view.since is not None
        and not request.full_state
        and filter_.event_format == "client"
        and filter_.event_fields is None
        and filter_.room.timeline.passes_all
        and not (filter_.room.state.lazy_load_members and filter_.room.state.include_redundant_members)
    )


def build_sections(
    snapshot: Snapshot, quiet: Quiet, news: RoomNews, now_ms: int, sent: SentMembers | None
) -> list[bytes] | None:
    """Members of ``rooms.join``; None if the reply is not one of this kind. ``sent`` as in ``begin_section``."""
    joined = get_joined_rooms(snapshot, quiet.view.requester.user)
    if not news.rooms.keys() <= joined:
        return None
    sections = []
    # In the order that ``build`` has.
    for room in news.rooms if len(news.rooms) == 1 else joined & news.rooms.keys():
        after = news.rooms[room]
        # Nobody was woken for what landed in between, if anything did.
        messages = None if after > quiet.view.until else get_messages(snapshot, room, news, after=after)
        if messages is None or not _may_be_told(quiet, messages, sent):
            return None
        sections.append(_render_section(snapshot, room, quiet, messages, now_ms))
    return sections


def _may_be_told(quiet: Quiet, messages: Messages, sent: SentMembers | None) -> bool:
    view = quiet.view
    return (
        # A wake-up may come late, for what the request was told before it began to wait.
        messages.start >= view.until
        and len(messages.timeline) <= quiet.timeline_limit
        and quiet.wants_room(messages.room_id)
        and view.ignored.isdisjoint(messages.senders)
        and (sent is None or sent.has_all(messages.members))
    )


def _render_section(snapshot: Snapshot, room: ShortRoomId, quiet: Quiet, messages: Messages, now_ms: int) -> bytes:
    requester, events = quiet.view.requester, []
    for event, sender, sent_ms, head in messages.timeline:
        own = render_transaction_id(snapshot, requester, event) if sender == requester.user_id else b""
        events.append(b'%s%d,"membership":"join"%s}}' % (head, now_ms - sent_ms, own))
    unread = build_unread(snapshot, room, quiet.view)
    return _SECTION % (
        messages.room_json,
        quiet.state_name,
        b",".join(events),
        messages.prev_batch,
        b",".join(unread),
    )


def get_messages(snapshot: Snapshot, room: ShortRoomId, news: RoomNews, *, after: int) -> Messages | None:
    """What is new in a room, if that is messages and nothing else. Found once for everybody who was woken."""
    if not snapshot.once(("plain", room, after), lambda: _has_only_events(snapshot, room, after)):
        return None
    until = news.pos
    return news.messages or snapshot.once(
        ("messages", room, after, until), lambda: _read_messages(snapshot, room, after, until)
    )


def _has_only_events(snapshot: Snapshot, room: ShortRoomId, after: int) -> bool:
    """Whether nothing but events is new in a room, and all of them are shown as they are stored."""
    return not (
        receipts.get_last_pos(snapshot, room) > after
        or any(True for _ in gaps.scan_places(snapshot, room, after=after, until=snapshot.pos))
        or deactivated.get_erased(snapshot)
    )


def _read_messages(snapshot: Snapshot, room: ShortRoomId, after: int, until: int) -> Messages | None:
    current = get_current_state_id(snapshot, room)
    if get_state_id_at(snapshot, room, after) != current:
        return None
    told: list[Message] = []
    start = until
    for pos, event, row in _scan_shown(snapshot, room, after, until):
        facts = row_fields.get_facts(snapshot, event)
        if len(told) == TIMELINE_LIMIT or row.flags & STATE or row.state_after != current or not facts.is_plain:
            return None
        told.append(Message.of_row(event, row, sender=facts.sender, sent_ms=facts.origin_server_ts))
        start = pos - 1
    if not told:
        return None
    room_id = short_ids.get_room_record(snapshot, room).room_id
    members = frozenset(_find_members(snapshot, room, {message.sender for message in told}))
    return Messages.of(room_id, tuple(reversed(told)), start, members)


def _scan_shown(
    snapshot: Snapshot, room: ShortRoomId, after: int, until: int
) -> Iterator[tuple[int, ShortEventId, EventRow]]:
    """The newest first, as a window is read."""
    for pos, event in timeline.scan_timeline(snapshot, room, after=until + 1, until=after + 1, reverse=True):
        row = timeline.require_row(snapshot, event)
        if not row_fields.is_hidden(row):
            yield pos, event, row


def _find_members(snapshot: Snapshot, room: ShortRoomId, user_ids: set[str]) -> Iterator[ShortEventId]:
    chain, state = StateChain(snapshot), get_current_state_id(snapshot, room)
    for user_id in user_ids:
        state_key = short_ids.get_state_key(snapshot, _MEMBER, user_id)
        event = None if state_key is None else chain.get(state, state_key)
        if event is not None:
            yield event
