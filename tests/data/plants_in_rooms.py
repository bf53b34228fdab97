"""What can be wrong with the server's facts, rooms, events and states, with what the check must say of it."""

from __future__ import annotations

from conduit_py.matrix.canonical_json import parse_json
from kvschema.catalog import rooms, server, state, timeline
from kvschema.catalog.rooms import ByRoom, ByShort, RoomRecord, ShortEventId, ShortRoomId
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("global: the product is")
def another_product(planter: Planter) -> None:
    planter.put(server.GLOBAL, server.ByName("product"), b"another")


@PLANTS.add("global: the position is 8, and shorteventid_pdu has")
def a_position_that_fell_back(planter: Planter) -> None:
    planter.put(server.GLOBAL, server.ByName("position"), (8).to_bytes(8, "big"))


@PLANTS.add("startgap: positions")
def starts_that_overlap(planter: Planter) -> None:
    key, _ = planter.first(server.STARTGAP)
    planter.put(server.STARTGAP, server.ByPos(key.pos + 1), key.pos + 2)


@PLANTS.add("roomid_shortroomid: !other:one.test leads to")
def two_rooms_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.ROOMID_SHORTROOMID)
    planter.put(rooms.ROOMID_SHORTROOMID, rooms.ByRoomId("!other:one.test"), short)


@PLANTS.add("shortroomid_room: 77 is !other:one.test, which does not lead back")
def a_room_without_a_way_to_it(planter: Planter) -> None:
    planter.put(rooms.SHORTROOMID_ROOM, ByRoom(ShortRoomId(NOBODY)), RoomRecord("!other:one.test", "12"))


@PLANTS.add("userid_shortuserid: @other:one.test leads to")
def two_users_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.USERID_SHORTUSERID)
    planter.put(rooms.USERID_SHORTUSERID, rooms.ByUserId("@other:one.test"), short)


@PLANTS.add("shortuserid_userid: ByShort(short=77) follows from nothing")
def a_user_without_a_way_to_them(planter: Planter) -> None:
    planter.put(rooms.SHORTUSERID_USERID, ByShort(NOBODY), "@other:one.test")


@PLANTS.add("statekey_shortstatekey: 00")
def two_state_keys_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.STATEKEY_SHORTSTATEKEY)
    planter.put(rooms.STATEKEY_SHORTSTATEKEY, rooms.ByStateKeyDigest(bytes(16)), short)


@PLANTS.add("shortstatekey_statekey: 77 is ('m.room.other', ''), which does not lead back")
def a_state_key_without_a_way_to_it(planter: Planter) -> None:
    planter.put(rooms.SHORTSTATEKEY_STATEKEY, ByShort(NOBODY), rooms.StateKeyRecord("m.room.other", ""))


@PLANTS.add("alias_roomid: #lost:one.test names !lost:one.test")
def an_alias_of_no_room(planter: Planter) -> None:
    record = rooms.AliasRecord("!lost:one.test", "@alice:one.test")
    planter.put(rooms.ALIAS_ROOMID, rooms.ByAlias("#lost:one.test"), record)


@PLANTS.add("aliasid_alias: ByRoomAlias(")
def a_room_that_misses_its_alias(planter: Planter) -> None:
    planter.drop_first(rooms.ROOMID_ALIAS)


@PLANTS.add("aliasid_alias: ByRoomAlias(room=77, alias='#lost:one.test') follows from nothing")
def a_room_with_an_alias_of_nothing(planter: Planter) -> None:
    planter.put(rooms.ROOMID_ALIAS, rooms.ByRoomAlias(ShortRoomId(NOBODY), "#lost:one.test"), None)


@PLANTS.add("publicroomids: there is no room 77")
def a_listed_room_that_there_is_not(planter: Planter) -> None:
    planter.put(rooms.PUBLICROOMIDS, ByRoom(ShortRoomId(NOBODY)), None)


@PLANTS.add("roomid_pduleaves: ByRoomEvent(")
def an_end_that_is_missing(planter: Planter) -> None:
    planter.drop_first(rooms.ROOMID_PDULEAVES)


@PLANTS.add("roomid_pduleaves: ByRoomEvent(")
def an_end_that_was_followed(planter: Planter) -> None:
    key, event = planter.first(timeline.PDUID_SHORTEVENTID)
    planter.put(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(key.room, ShortEventId(event)), None)


@PLANTS.add("roomid_pduleaves: room 77 ends in 77")
def an_end_of_no_room(planter: Planter) -> None:
    planter.put(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(ShortRoomId(NOBODY), ShortEventId(NOBODY)), None)


@PLANTS.add("eventid_shorteventid: $nothing leads to 77")
def an_event_id_that_leads_nowhere(planter: Planter) -> None:
    planter.put(timeline.EVENTID_SHORTEVENTID, timeline.ByEventId("$nothing"), NOBODY)


@PLANTS.add("shorteventid_pdu: ")
def an_event_that_no_id_leads_to(planter: Planter) -> None:
    planter.drop_first(timeline.EVENTID_SHORTEVENTID)


@PLANTS.add("pduid_shorteventid: PduId(")
def an_event_lost_from_the_timeline(planter: Planter) -> None:
    planter.drop_first(timeline.PDUID_SHORTEVENTID)


@PLANTS.add("pduid_shorteventid: PduId(")
def an_event_twice_in_the_timeline(planter: Planter) -> None:
    key, event = planter.first(timeline.PDUID_SHORTEVENTID)
    planter.put(timeline.PDUID_SHORTEVENTID, key._replace(pos=-key.pos), event)


@PLANTS.add("shorteventid_pdu: * belongs to room 77")
def an_event_of_no_room(planter: Planter) -> None:
    planter.change_event("m.room.message", room=NOBODY)


@PLANTS.add("shorteventid_pdu: * is not an event")
def an_event_that_is_no_json(planter: Planter) -> None:
    planter.change_event("m.room.message", client=b"nothing")


@PLANTS.add("shorteventid_pdu: * is not an event")
def an_event_with_its_halves_swapped(planter: Planter) -> None:
    _, row = planter.event("m.room.message")
    planter.change_event("m.room.message", client=row.federation, federation=row.client)


@PLANTS.add("shorteventid_pdu: * has another content than its hash says")
def an_event_with_another_content(planter: Planter) -> None:
    planter.change_json("m.room.message", content={"msgtype": "m.text", "body": "I never said that"})


@PLANTS.add("shorteventid_pdu: * has the reference hash of $")
def an_event_with_another_time(planter: Planter) -> None:
    planter.change_json("m.room.message", origin_server_ts=1)


@PLANTS.add("shorteventid_pdu: * is ours, and: there is no signature of one.test")
def an_event_of_ours_without_a_signature(planter: Planter) -> None:
    planter.change_json("m.room.message", signatures={})


@PLANTS.add("shorteventid_pdu: * is ours, and: the signature of one.test")
def an_event_of_ours_with_a_wrong_signature(planter: Planter) -> None:
    _, row = planter.event("m.room.topic")
    json = parse_json(b"{" + row.federation + b"}")
    planter.change_json("m.room.message", signatures=json["signatures"])


@PLANTS.add("shorteventid_pdu: * is marked wrongly as state")
def a_message_marked_as_state(planter: Planter) -> None:
    planter.change_event("m.room.message", flags=timeline.STATE)


@PLANTS.add("shorteventid_pdu: * is an outlier with a place")
def an_outlier_with_a_place(planter: Planter) -> None:
    planter.change_event("m.room.message", flags=timeline.OUTLIER)


@PLANTS.add("shorteventid_pdu: * was redacted, and has content")
def a_redaction_without_effect(planter: Planter) -> None:
    redaction, _ = planter.event("m.room.redaction")
    planter.change_event("m.room.message", redacted_by=redaction.event)


@PLANTS.add("shorteventid_pdu: * was redacted by")
def a_redaction_by_a_message(planter: Planter) -> None:
    message, _ = planter.event("m.room.message")
    planter.change_event("m.room.topic", redacted_by=message.event)


@PLANTS.add("shorteventid_pdu: * took the place of")
def state_that_took_the_place_of_other_state(planter: Planter) -> None:
    name, _ = planter.event("m.room.name")
    planter.change_event("m.room.topic", replaces=name.event)


@PLANTS.add("shorteventid_pdu: * leads to the state 77, which is not whole")
def an_event_after_which_there_is_no_state(planter: Planter) -> None:
    planter.change_event("m.room.message", state_after=NOBODY)


@PLANTS.add("shorteventid_pdu: * changes the state by")
def a_message_that_changes_the_state(planter: Planter) -> None:
    _, row = planter.event("m.room.message")
    before = next(
        other.state_after
        for _, other in timeline.SHORTEVENTID_PDU.scan(planter.reader)
        if other.room == row.room and other.state_after != row.state_after
    )
    planter.change_event("m.room.message", state_after=before)


@PLANTS.add("shortstatehash_statediff: * is based on 77")
def a_state_based_on_nothing(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF, lambda key, raw: raw[8:16] != bytes(8))
    planter.put(state.STATEID_STATEDIFF, key, raw[:8] + NOBODY.to_bytes(8, "big") + raw[16:])


@PLANTS.add("shortstatehash_statediff: * of depth 999 is based on")
def a_state_of_the_wrong_depth(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, (999).to_bytes(8, "big") + raw[8:])


@PLANTS.add("shortstatehash_statediff: * has 3 bytes")
def a_state_that_is_torn(planter: Planter) -> None:
    key, _ = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, b"abc")


@PLANTS.add("shortstatehash_statediff: * has the event 77, which is not stored")
def a_state_with_an_event_that_there_is_not(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, raw[:-8] + NOBODY.to_bytes(8, "big"))


@PLANTS.add("shortstatehash_statediff: * has $")
def a_state_with_a_message(planter: Planter) -> None:
    message, _ = planter.event("m.room.message")
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, raw[:-8] + message.event.to_bytes(8, "big"))


@PLANTS.add("shortstatehash_statediff: * is not sorted")
def a_state_that_is_not_sorted(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF, lambda key, raw: len(raw) > 32)
    planter.put(state.STATEID_STATEDIFF, key, raw[:16] + raw[32:48] + raw[16:32] + raw[48:])


@PLANTS.add("roomid_shortstatehash: room * is in the state 77")
def a_room_in_no_state(planter: Planter) -> None:
    key, _ = planter.first(state.ROOMID_STATEID)
    planter.put(state.ROOMID_STATEID, key, NOBODY)


@PLANTS.add("roomstate_shorteventid: RoomStateKey(")
def a_room_in_an_earlier_state(planter: Planter) -> None:
    key, current = planter.first(state.ROOMID_STATEID)
    _, row = planter.first(
        timeline.SHORTEVENTID_PDU, lambda _, row: row.room == key.room and row.state_after != current
    )
    planter.put(state.ROOMID_STATEID, key, row.state_after)


@PLANTS.add("roomstate_shorteventid: RoomStateKey(")
def an_entry_lost_from_the_state(planter: Planter) -> None:
    planter.drop_first(state.ROOMSTATE_SHORTEVENTID)


@PLANTS.add("roomstate_shorteventid: the entries of room 77 follow from nothing")
def an_entry_of_no_room(planter: Planter) -> None:
    key, event = planter.first(state.ROOMSTATE_SHORTEVENTID)
    planter.put(state.ROOMSTATE_SHORTEVENTID, key._replace(room=ShortRoomId(NOBODY)), event)
