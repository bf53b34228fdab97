"""The reply to a long-poll that nothing but new messages woke, which is what most replies are.

A message wakes everybody in its room at once, and they are told the same of it: so what there is to tell is found once
for all of them, and what each is told is put together from it. The reply is byte for byte that which ``build`` makes.

The way leads only from quiet to messages. *Quiet* is a reply that found nothing new in any room of the user, whatever
the filter. From then on the hub notes for which rooms it wakes the request, and whether for anything else. The messages
are read from the store, and whatever is not plain about them (state, redactions, receipts, relations, holes, the
requester's own messages, members that a lazy-loading client does not know yet) is left to ``build``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from conduit_py.data import deactivated, gaps, receipts, row_fields, short_ids, timeline
from conduit_py.data.state import StateChain, get_current_state_id
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.sync_token import SyncToken, format_place
from conduit_py.service.hub import RoomNews
from conduit_py.service.sync.ephemeral import build_unread
from conduit_py.service.sync.lazy import SentMembers
from conduit_py.service.sync.plan import get_joined_rooms
from conduit_py.service.sync.since import TIMELINE_LIMIT, View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import STATE, EventRow

_MEMBER = "m.room.member"
_AGE = b',"unsigned":{"age":'
_MEMBERSHIP = b',"membership":"join"}}'


@dataclass(frozen=True, slots=True)
class Quiet:
    """There was nothing to tell, and nothing at all in the user's rooms."""

    view: View
    token: SyncToken


@dataclass(frozen=True, slots=True)
class Messages:
    """New messages of a room, as everybody in it gets them who sent none of them."""

    room_id: str
    timeline: tuple[tuple[bytes, int], ...]
    """Each event up to its age, and when it was sent."""
    start: int
    """The place right before them."""
    senders: frozenset[str]
    members: frozenset[ShortEventId]
    """Membership events of the senders."""

    def render(self, now_ms: int) -> bytes:
        events = b",".join(b"%s%d%s" % (head, now_ms - sent_ms, _MEMBERSHIP) for head, sent_ms in self.timeline)
        return b'{"events":[%s],"limited":false,"prev_batch":"%s"}' % (events, format_place(self.start).encode())


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
    rooms = [room for room in joined if room in news.rooms]
    if len(rooms) < len(news.rooms):
        return None
    sections = []
    for room in rooms:
        after = news.rooms[room]
        # Nobody was woken for what landed in between, if anything did.
        messages = None if after > quiet.view.until else get_messages(snapshot, room, after=after, until=news.pos)
        if messages is None or not _may_be_told(quiet.view, messages, sent):
            return None
        sections.append(_render_section(snapshot, room, quiet.view, messages, now_ms))
    return sections


def _may_be_told(view: View, messages: Messages, sent: SentMembers | None) -> bool:
    return (
        # A wake-up may come late, for what the request was told before it began to wait.
        messages.start >= view.until
        and len(messages.timeline) <= view.timeline_limit
        and view.filter.room.matches_room(messages.room_id)
        and view.requester.user_id not in messages.senders
        and view.ignored.isdisjoint(messages.senders)
        and (sent is None or sent.has_all(messages.members))
    )


def _render_section(snapshot: Snapshot, room: ShortRoomId, view: View, messages: Messages, now_ms: int) -> bytes:
    state_name = view.request.state_after or "state"
    parts = [
        b'%s:{"%s":{"events":[]}' % (orjson.dumps(messages.room_id), state_name.encode()),
        b'"timeline":' + messages.render(now_ms),
        b'"account_data":{"events":[]},"ephemeral":{"events":[]}',
        *build_unread(snapshot, room, view),
    ]
    return b",".join(parts) + b"}"


def get_messages(snapshot: Snapshot, room: ShortRoomId, *, after: int, until: int) -> Messages | None:
    """What is new in a room, if that is messages and nothing else. Found once for everybody who was woken."""
    return snapshot.once(("messages", room, after, until), lambda: _read_messages(snapshot, room, after, until))


def _read_messages(snapshot: Snapshot, room: ShortRoomId, after: int, until: int) -> Messages | None:
    current = get_current_state_id(snapshot, room)
    if (
        receipts.get_last_pos(snapshot, room) > after
        or get_state_id_at(snapshot, room, after) != current
        or any(True for _ in gaps.scan_places(snapshot, room, after=after, until=until))
        or deactivated.get_erased(snapshot)
    ):
        return None
    told: list[tuple[bytes, int]] = []
    senders: set[str] = set()
    start = until
    for pos, event, row in _scan_shown(snapshot, room, after, until):
        facts = row_fields.get_facts(snapshot, event)
        if len(told) == TIMELINE_LIMIT or row.flags & STATE or row.state_after != current or not facts.is_plain:
            return None
        told.append((b"{" + row.client + facts.id_json + _AGE, facts.origin_server_ts))
        senders.add(facts.sender)
        start = pos - 1
    if not told:
        return None
    room_id = short_ids.get_room_record(snapshot, room).room_id
    members = frozenset(_find_members(snapshot, room, senders))
    return Messages(room_id, tuple(reversed(told)), start, frozenset(senders), members)


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
