"""What can be wrong with what events were allowed by, and with holes in timelines."""

from __future__ import annotations

from kvschema.catalog import state, timeline
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import ByShortEvent, PduId
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("shorteventid_authevents: ByShortEvent(")
def a_state_event_allowed_by_nothing(planter: Planter) -> None:
    planter.drop_first(timeline.SHORTEVENTID_AUTHEVENTS)


@PLANTS.add("shorteventid_authevents: ByShortEvent(event=77) follows from nothing")
def what_allowed_no_event(planter: Planter) -> None:
    planter.put(timeline.SHORTEVENTID_AUTHEVENTS, ByShortEvent(ShortEventId(NOBODY)), ())


@PLANTS.add("shorteventid_authevents: * which is no older")
def an_event_that_allowed_itself(planter: Planter) -> None:
    key, _ = planter.first(timeline.SHORTEVENTID_AUTHEVENTS)
    planter.put(timeline.SHORTEVENTID_AUTHEVENTS, key, (key.event,))


@PLANTS.add("roomid_gap: PduId(room=77, pos=77) is before no event")
def a_gap_before_nothing(planter: Planter) -> None:
    _, gap = planter.first(timeline.ROOMID_GAP)
    planter.put(timeline.ROOMID_GAP, PduId(ShortRoomId(NOBODY), NOBODY), gap)


@PLANTS.add("roomid_gap: * has events at the places")
def a_gap_that_overlaps_the_timeline(planter: Planter) -> None:
    key, gap = planter.first(timeline.ROOMID_GAP)
    event, _ = planter.event("m.room.message")
    planter.put(timeline.PDUID_SHORTEVENTID, PduId(key.room, gap.next_pos), event.event)


@PLANTS.add("roomid_gap: * has the places")
def a_gap_with_places_behind_it(planter: Planter) -> None:
    key, gap = planter.first(timeline.ROOMID_GAP)
    planter.put(timeline.ROOMID_GAP, key, gap._replace(next_pos=key.pos))


@PLANTS.add("roomid_gap: * misses 0 events")
def a_gap_without_anything_missing(planter: Planter) -> None:
    key, gap = planter.first(timeline.ROOMID_GAP)
    planter.put(timeline.ROOMID_GAP, key, gap._replace(missing=[]))


@PLANTS.add("roomid_gap: * which is there")
def a_gap_that_misses_what_is_there(planter: Planter) -> None:
    key, gap = planter.first(timeline.ROOMID_GAP)
    _, row = planter.event("m.room.message")
    planter.put(timeline.ROOMID_GAP, key, gap._replace(missing=[row.event_id]))


@PLANTS.add("roompos_stateid: * is the state 77, which is not stored")
def a_place_in_no_state(planter: Planter) -> None:
    key, _ = planter.first(state.ROOMPOS_STATEID)
    planter.put(state.ROOMPOS_STATEID, key, NOBODY)


@PLANTS.add("roompos_stateid: * is of a room that has no state")
def a_place_in_no_room(planter: Planter) -> None:
    key, state_id = planter.first(state.ROOMPOS_STATEID)
    planter.put(state.ROOMPOS_STATEID, key._replace(room=ShortRoomId(NOBODY)), state_id)


@PLANTS.add("roomid_shortstatehash: room * and its timeline ends in")
def a_room_that_is_not_where_its_timeline_ends(planter: Planter) -> None:
    key, state_id = planter.first(state.ROOMPOS_STATEID)
    other, _ = planter.first(state.STATEID_STATEDIFF, lambda other, _: other.state != state_id)
    planter.put(state.ROOMPOS_STATEID, key, other.state)
