"""Things that can be wrong in a store, each planted into a healthy one, with what the check must say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from conduit_py.data.timeline import split_pdu
from conduit_py.matrix.canonical_json import parse_json
from kvschema.batch import PUT, Write, WriteBatch
from kvschema.catalog import (
    account_data,
    members,
    receipts,
    relations,
    rooms,
    server,
    state,
    timeline,
    transactions,
    users,
)
from kvschema.catalog.members import INVITE, JOIN, LEAVE
from kvschema.catalog.rooms import ByRoom, ByShort, RoomRecord, ShortEventId, ShortRoomId, ShortUserId, StreamPos
from kvschema.catalog.timeline import EventRow
from kvschema.tree import Reader, Tree

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")

NOBODY = 77
"""A short id that is given to nothing."""


class Planter:
    """Writes what no server writes."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.batch = WriteBatch()

    def first(self, tree: Tree[K, V], where: Callable[[K, V], bool] = lambda key, value: True) -> tuple[K, V]:
        return next((key, value) for key, value in tree.scan(self.reader) if where(key, value))

    def put(self, tree: Tree[K, V], key: K, value: V) -> None:
        self.batch.put(tree, key, value)

    def drop_first(self, tree: Tree[K, V], where: Callable[[K, V], bool] = lambda key, value: True) -> None:
        self.batch.delete(tree, self.first(tree, where)[0])

    def put_raw(self, tree: Tree[Any, Any], key: bytes, value: bytes) -> None:
        self.batch.writes.append(Write(PUT, tree.name, key, value))

    def event(self, type: str) -> tuple[timeline.ByShortEvent, EventRow]:
        """The last event of a type that was not redacted."""
        wanted = f'"type":"{type}"'.encode()
        rows = timeline.SHORTEVENTID_PDU.scan(self.reader)
        return [(key, row) for key, row in rows if row.client.endswith(wanted) and not row.redacted_by][-1]

    def change_event(self, type: str, **fields: Any) -> None:
        key, row = self.event(type)
        self.put(timeline.SHORTEVENTID_PDU, key, row._replace(**fields))

    def change_json(self, type: str, **members: Any) -> None:
        """Another body under the same id."""
        _, row = self.event(type)
        json = parse_json(b"{" + row.client + b"," + row.federation + b"}") | members
        client, federation = split_pdu(json)
        self.change_event(type, client=client, federation=federation)


PLANTS: dict[str, tuple[str, Callable[[Planter], None]]] = {}
"""What the sentence begins with, and how it is planted; by name."""


def plant(says: str) -> Callable[[Callable[[Planter], None]], Callable[[Planter], None]]:
    def add(function: Callable[[Planter], None]) -> Callable[[Planter], None]:
        PLANTS[function.__name__] = says, function
        return function

    return add


@plant("global: the product is")
def another_product(planter: Planter) -> None:
    planter.put(server.GLOBAL, server.ByName("product"), b"another")


@plant("global: the position is 8, and shorteventid_pdu has")
def a_position_that_fell_back(planter: Planter) -> None:
    planter.put(server.GLOBAL, server.ByName("position"), (8).to_bytes(8, "big"))


@plant("startgap: positions")
def starts_that_overlap(planter: Planter) -> None:
    key, _ = planter.first(server.STARTGAP)
    planter.put(server.STARTGAP, server.ByPos(key.pos + 1), key.pos + 2)


@plant("roomid_shortroomid: !other:one.test leads to")
def two_rooms_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.ROOMID_SHORTROOMID)
    planter.put(rooms.ROOMID_SHORTROOMID, rooms.ByRoomId("!other:one.test"), short)


@plant("shortroomid_room: 77 is !other:one.test, which does not lead back")
def a_room_without_a_way_to_it(planter: Planter) -> None:
    planter.put(rooms.SHORTROOMID_ROOM, ByRoom(ShortRoomId(NOBODY)), RoomRecord("!other:one.test", "12"))


@plant("userid_shortuserid: @other:one.test leads to")
def two_users_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.USERID_SHORTUSERID)
    planter.put(rooms.USERID_SHORTUSERID, rooms.ByUserId("@other:one.test"), short)


@plant("shortuserid_userid: ByShort(short=77) follows from nothing")
def a_user_without_a_way_to_them(planter: Planter) -> None:
    planter.put(rooms.SHORTUSERID_USERID, ByShort(NOBODY), "@other:one.test")


@plant("statekey_shortstatekey: 00")
def two_state_keys_with_one_short_id(planter: Planter) -> None:
    _, short = planter.first(rooms.STATEKEY_SHORTSTATEKEY)
    planter.put(rooms.STATEKEY_SHORTSTATEKEY, rooms.ByStateKeyDigest(bytes(16)), short)


@plant("shortstatekey_statekey: 77 is ('m.room.other', ''), which does not lead back")
def a_state_key_without_a_way_to_it(planter: Planter) -> None:
    planter.put(rooms.SHORTSTATEKEY_STATEKEY, ByShort(NOBODY), rooms.StateKeyRecord("m.room.other", ""))


@plant("alias_roomid: #lost:one.test names !lost:one.test")
def an_alias_of_no_room(planter: Planter) -> None:
    record = rooms.AliasRecord("!lost:one.test", "@alice:one.test")
    planter.put(rooms.ALIAS_ROOMID, rooms.ByAlias("#lost:one.test"), record)


@plant("aliasid_alias: ByRoomAlias(")
def a_room_that_misses_its_alias(planter: Planter) -> None:
    planter.drop_first(rooms.ROOMID_ALIAS)


@plant("aliasid_alias: ByRoomAlias(room=77, alias='#lost:one.test') follows from nothing")
def a_room_with_an_alias_of_nothing(planter: Planter) -> None:
    planter.put(rooms.ROOMID_ALIAS, rooms.ByRoomAlias(ShortRoomId(NOBODY), "#lost:one.test"), None)


@plant("publicroomids: there is no room 77")
def a_listed_room_that_there_is_not(planter: Planter) -> None:
    planter.put(rooms.PUBLICROOMIDS, ByRoom(ShortRoomId(NOBODY)), None)


@plant("roomid_pduleaves: ByRoomEvent(")
def an_end_that_is_missing(planter: Planter) -> None:
    planter.drop_first(rooms.ROOMID_PDULEAVES)


@plant("roomid_pduleaves: ByRoomEvent(")
def an_end_that_was_followed(planter: Planter) -> None:
    key, event = planter.first(timeline.PDUID_SHORTEVENTID)
    planter.put(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(key.room, ShortEventId(event)), None)


@plant("roomid_pduleaves: room 77 ends in 77")
def an_end_of_no_room(planter: Planter) -> None:
    planter.put(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(ShortRoomId(NOBODY), ShortEventId(NOBODY)), None)


@plant("eventid_shorteventid: $nothing leads to 77")
def an_event_id_that_leads_nowhere(planter: Planter) -> None:
    planter.put(timeline.EVENTID_SHORTEVENTID, timeline.ByEventId("$nothing"), NOBODY)


@plant("shorteventid_pdu: ")
def an_event_that_no_id_leads_to(planter: Planter) -> None:
    planter.drop_first(timeline.EVENTID_SHORTEVENTID)


@plant("pduid_shorteventid: PduId(")
def an_event_lost_from_the_timeline(planter: Planter) -> None:
    planter.drop_first(timeline.PDUID_SHORTEVENTID)


@plant("pduid_shorteventid: PduId(")
def an_event_twice_in_the_timeline(planter: Planter) -> None:
    key, event = planter.first(timeline.PDUID_SHORTEVENTID)
    planter.put(timeline.PDUID_SHORTEVENTID, key._replace(pos=-key.pos), event)


@plant("shorteventid_pdu: * belongs to room 77")
def an_event_of_no_room(planter: Planter) -> None:
    planter.change_event("m.room.message", room=NOBODY)


@plant("shorteventid_pdu: * is not an event")
def an_event_that_is_no_json(planter: Planter) -> None:
    planter.change_event("m.room.message", client=b"nothing")


@plant("shorteventid_pdu: * is not an event")
def an_event_with_its_halves_swapped(planter: Planter) -> None:
    _, row = planter.event("m.room.message")
    planter.change_event("m.room.message", client=row.federation, federation=row.client)


@plant("shorteventid_pdu: * has another content than its hash says")
def an_event_with_another_content(planter: Planter) -> None:
    planter.change_json("m.room.message", content={"msgtype": "m.text", "body": "I never said that"})


@plant("shorteventid_pdu: * has the reference hash of $")
def an_event_with_another_time(planter: Planter) -> None:
    planter.change_json("m.room.message", origin_server_ts=1)


@plant("shorteventid_pdu: * is ours, and: there is no signature of one.test")
def an_event_of_ours_without_a_signature(planter: Planter) -> None:
    planter.change_json("m.room.message", signatures={})


@plant("shorteventid_pdu: * is ours, and: the signature of one.test")
def an_event_of_ours_with_a_wrong_signature(planter: Planter) -> None:
    _, row = planter.event("m.room.topic")
    json = parse_json(b"{" + row.federation + b"}")
    planter.change_json("m.room.message", signatures=json["signatures"])


@plant("shorteventid_pdu: * is marked wrongly as state")
def a_message_marked_as_state(planter: Planter) -> None:
    planter.change_event("m.room.message", flags=timeline.STATE)


@plant("shorteventid_pdu: * is an outlier with a place")
def an_outlier_with_a_place(planter: Planter) -> None:
    planter.change_event("m.room.message", flags=timeline.OUTLIER)


@plant("shorteventid_pdu: * was redacted, and has content")
def a_redaction_without_effect(planter: Planter) -> None:
    redaction, _ = planter.event("m.room.redaction")
    planter.change_event("m.room.message", redacted_by=redaction.event)


@plant("shorteventid_pdu: * was redacted by")
def a_redaction_by_a_message(planter: Planter) -> None:
    message, _ = planter.event("m.room.message")
    planter.change_event("m.room.topic", redacted_by=message.event)


@plant("shorteventid_pdu: * took the place of")
def state_that_took_the_place_of_other_state(planter: Planter) -> None:
    name, _ = planter.event("m.room.name")
    planter.change_event("m.room.topic", replaces=name.event)


@plant("shorteventid_pdu: * leads to the state 77, which is not whole")
def an_event_after_which_there_is_no_state(planter: Planter) -> None:
    planter.change_event("m.room.message", state_after=NOBODY)


@plant("shorteventid_pdu: * changes the state by")
def a_message_that_changes_the_state(planter: Planter) -> None:
    _, row = planter.event("m.room.message")
    before = next(
        other.state_after
        for _, other in timeline.SHORTEVENTID_PDU.scan(planter.reader)
        if other.room == row.room and other.state_after != row.state_after
    )
    planter.change_event("m.room.message", state_after=before)


@plant("shortstatehash_statediff: * is based on 77")
def a_state_based_on_nothing(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF, lambda key, raw: raw[8:16] != bytes(8))
    planter.put(state.STATEID_STATEDIFF, key, raw[:8] + NOBODY.to_bytes(8, "big") + raw[16:])


@plant("shortstatehash_statediff: * of depth 999 is based on")
def a_state_of_the_wrong_depth(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, (999).to_bytes(8, "big") + raw[8:])


@plant("shortstatehash_statediff: * has 3 bytes")
def a_state_that_is_torn(planter: Planter) -> None:
    key, _ = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, b"abc")


@plant("shortstatehash_statediff: * has the event 77, which is not stored")
def a_state_with_an_event_that_there_is_not(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, raw[:-8] + NOBODY.to_bytes(8, "big"))


@plant("shortstatehash_statediff: * has $")
def a_state_with_a_message(planter: Planter) -> None:
    message, _ = planter.event("m.room.message")
    key, raw = planter.first(state.STATEID_STATEDIFF)
    planter.put(state.STATEID_STATEDIFF, key, raw[:-8] + message.event.to_bytes(8, "big"))


@plant("shortstatehash_statediff: * is not sorted")
def a_state_that_is_not_sorted(planter: Planter) -> None:
    key, raw = planter.first(state.STATEID_STATEDIFF, lambda key, raw: len(raw) > 32)
    planter.put(state.STATEID_STATEDIFF, key, raw[:16] + raw[32:48] + raw[16:32] + raw[48:])


@plant("roomid_shortstatehash: room * is in the state 77")
def a_room_in_no_state(planter: Planter) -> None:
    key, _ = planter.first(state.ROOMID_STATEID)
    planter.put(state.ROOMID_STATEID, key, NOBODY)


@plant("roomstate_shorteventid: RoomStateKey(")
def a_room_in_an_earlier_state(planter: Planter) -> None:
    key, current = planter.first(state.ROOMID_STATEID)
    _, row = planter.first(
        timeline.SHORTEVENTID_PDU, lambda _, row: row.room == key.room and row.state_after != current
    )
    planter.put(state.ROOMID_STATEID, key, row.state_after)


@plant("roomstate_shorteventid: RoomStateKey(")
def an_entry_lost_from_the_state(planter: Planter) -> None:
    planter.drop_first(state.ROOMSTATE_SHORTEVENTID)


@plant("roomstate_shorteventid: the entries of room 77 follow from nothing")
def an_entry_of_no_room(planter: Planter) -> None:
    key, event = planter.first(state.ROOMSTATE_SHORTEVENTID)
    planter.put(state.ROOMSTATE_SHORTEVENTID, key._replace(room=ShortRoomId(NOBODY)), event)


@plant("roomuserid_member: RoomMember(")
def a_member_that_is_missing(planter: Planter) -> None:
    planter.drop_first(members.ROOMUSERID_MEMBER)


@plant("roomuserid_member: RoomMember(")
def a_member_counted_as_remote(planter: Planter) -> None:
    key, event = planter.first(members.ROOMUSERID_MEMBER)
    planter.batch.delete(members.ROOMUSERID_MEMBER, key)
    planter.put(members.ROOMUSERID_MEMBER, key._replace(remote=1), event)


@plant("roomid_membercount: RoomKind(")
def a_room_that_counts_one_more(planter: Planter) -> None:
    key, count = planter.first(members.ROOMID_MEMBERCOUNT)
    planter.put(members.ROOMID_MEMBERCOUNT, key, count + 1)


@plant("roomserverids: RoomServer(")
def a_room_with_a_server_too_many(planter: Planter) -> None:
    key, _ = planter.first(members.ROOMSERVERIDS)
    planter.put(members.ROOMSERVERIDS, key._replace(server_name="two.test"), 1)


@plant("serverroomids: ServerRoom(")
def a_server_that_misses_a_room(planter: Planter) -> None:
    planter.drop_first(members.SERVERROOMIDS)


@plant("userroomid_membership: @* has no row in room")
def a_user_who_misses_a_room(planter: Planter) -> None:
    planter.drop_first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == JOIN)


@plant("userroomid_membership: UserRoom(* is by *, which says join")
def a_joined_user_who_stands_as_left(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == JOIN)
    planter.put(members.USERROOMID_MEMBERSHIP, key._replace(kind=LEAVE), row)


@plant("userroomid_membership: UserRoom(* has stripped state")
def an_invite_without_stripped_state(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == INVITE)
    planter.put(members.USERROOMID_MEMBERSHIP, key, row._replace(stripped_state=None))


@plant("userroomid_membership: UserRoom(* was changed by '@nobody:one.test'")
def a_membership_changed_by_another(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP)
    planter.put(members.USERROOMID_MEMBERSHIP, key, row._replace(sender="@nobody:one.test"))


@plant("userroomid_membership: UserRoom(user=77* is of None")
def a_membership_of_nobody(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP)
    planter.put(members.USERROOMID_MEMBERSHIP, key._replace(user=ShortUserId(NOBODY)), row)


@plant("userpos_membershipchange: UserPos(")
def a_change_of_membership_that_is_missing(planter: Planter) -> None:
    planter.drop_first(members.USERPOS_MEMBERSHIPCHANGE)


@plant("userpos_membershipchange: UserPos(")
def a_change_of_membership_told_twice(planter: Planter) -> None:
    key, change = planter.first(members.USERPOS_MEMBERSHIPCHANGE)
    planter.put(members.USERPOS_MEMBERSHIPCHANGE, key._replace(pos=StreamPos(NOBODY)), change)


@plant("userid_password: the account 77")
def an_account_of_nobody(planter: Planter) -> None:
    _, account = planter.first(users.USERID_ACCOUNT)
    planter.put(users.USERID_ACCOUNT, users.ByUser(ShortUserId(NOBODY)), account)


@plant("useridprofilekey_value: there are rows of user 77")
def a_profile_of_nobody(planter: Planter) -> None:
    planter.put(users.USERIDPROFILEKEY_VALUE, users.UserKey(ShortUserId(NOBODY), "displayname"), "Nobody")


@plant("userdeviceid_metadata: there are rows of user 77")
def a_device_of_nobody(planter: Planter) -> None:
    planter.put(users.USERDEVICEID_METADATA, users.UserDevice(ShortUserId(NOBODY), "D"), users.Device(0))


@plant("token_userdeviceid: * is of the device")
def a_token_of_a_device_that_is_gone(planter: Planter) -> None:
    planter.drop_first(users.USERDEVICEID_METADATA)


@plant("token_userdeviceid: * is of @nobody:one.test")
def a_token_of_somebody_else(planter: Planter) -> None:
    key, token = planter.first(users.TOKEN_USERDEVICEID)
    planter.put(users.TOKEN_USERDEVICEID, key, token._replace(user_id="@nobody:one.test"))


@plant("userdeviceid_token: UserDeviceToken(")
def a_token_that_no_logout_would_close(planter: Planter) -> None:
    planter.drop_first(users.USERDEVICEID_TOKEN)


@plant("userdeviceid_token: UserDeviceToken(* follows from nothing")
def a_device_with_a_token_that_there_is_not(planter: Planter) -> None:
    planter.drop_first(users.TOKEN_USERDEVICEID)


@plant("userfilterid_filter: the filter")
def a_filter_under_another_digest(planter: Planter) -> None:
    key, _ = planter.first(users.USERFILTERID_FILTER)
    planter.put(users.USERFILTERID_FILTER, key, '{"another":1}')


@plant("roomuserdataid_accountdata: UserPos(* is of room 77")
def account_data_of_no_room(planter: Planter) -> None:
    key, row = planter.first(account_data.USERPOS_ACCOUNTDATA)
    planter.put(account_data.USERPOS_ACCOUNTDATA, key, row._replace(room=ShortRoomId(NOBODY)))


@plant("roomusertype_roomuserdataid: UserRoomType(")
def account_data_that_nobody_finds(planter: Planter) -> None:
    planter.drop_first(account_data.USERROOMTYPE_POS)


@plant("roomusertype_roomuserdataid: UserRoomType(* follows from nothing")
def an_index_of_account_data_that_leads_nowhere(planter: Planter) -> None:
    planter.drop_first(account_data.USERPOS_ACCOUNTDATA)


@plant("userdevicetxnid_response: * was answered with $nothing")
def an_answer_that_names_no_event(planter: Planter) -> None:
    key, row = planter.first(transactions.USERDEVICETXNID_RESPONSE)
    planter.put(transactions.USERDEVICETXNID_RESPONSE, key, row._replace(event_id="$nothing"))


@plant("userdevicetxnid_response: * was answered with $*, which was sent by None")
def an_event_that_forgot_how_it_was_sent(planter: Planter) -> None:
    planter.drop_first(transactions.SHORTEVENTID_TRANSACTION)


@plant("txnage_userdevicetxnid: TransactionAge(")
def an_answer_that_no_sweep_finds(planter: Planter) -> None:
    planter.drop_first(transactions.TXNAGE)


@plant("txnage_userdevicetxnid: TransactionAge(* follows from nothing")
def an_age_without_an_answer(planter: Planter) -> None:
    planter.drop_first(transactions.USERDEVICETXNID_RESPONSE)


@plant("shorteventid_transaction: there is no event 77")
def a_transaction_that_sent_nothing(planter: Planter) -> None:
    _, sent = planter.first(transactions.SHORTEVENTID_TRANSACTION)
    planter.put(transactions.SHORTEVENTID_TRANSACTION, timeline.ByShortEvent(ShortEventId(NOBODY)), sent)


@plant("readreceiptid_readreceipt: RoomPos(room=77")
def a_receipt_of_no_room(planter: Planter) -> None:
    key, row = planter.first(receipts.READRECEIPT)
    planter.put(receipts.READRECEIPT, key._replace(room=ShortRoomId(NOBODY)), row)


@plant("readreceiptid_readreceipt: RoomPos(* is of @nobody:one.test")
def a_receipt_of_nobody(planter: Planter) -> None:
    key, row = planter.first(receipts.READRECEIPT)
    planter.put(receipts.READRECEIPT, key, row._replace(user_id="@nobody:one.test"))


@plant("roomuserid_lastreceipt: RoomUserThread(")
def a_receipt_that_nobody_finds(planter: Planter) -> None:
    planter.drop_first(receipts.ROOMUSERTHREAD_RECEIPT)


@plant("roomuserid_lastreceipt: RoomUserThread(* follows from nothing")
def an_index_of_receipts_that_leads_nowhere(planter: Planter) -> None:
    planter.drop_first(receipts.READRECEIPT)


@plant("userroomid_notification: UserRoomPos(* is not in the room's timeline")
def an_unread_event_that_there_is_not(planter: Planter) -> None:
    key, row = planter.first(receipts.USERROOMPOS_UNREAD)
    planter.put(receipts.USERROOMPOS_UNREAD, key._replace(pos=NOBODY), row)


@plant("userroomid_notification: UserRoomPos(* is of a user that is not in the room")
def an_unread_event_of_somebody_who_left(planter: Planter) -> None:
    left, _ = planter.first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == LEAVE)
    key, row = planter.first(receipts.USERROOMPOS_UNREAD, lambda key, row: key.room == left.room)
    planter.put(receipts.USERROOMPOS_UNREAD, key._replace(user=left.user), row)


@plant("userroomid_notification: UserRoomPos(* is in the thread 77")
def an_unread_event_of_a_lost_thread(planter: Planter) -> None:
    key, row = planter.first(receipts.USERROOMPOS_UNREAD)
    planter.put(receipts.USERROOMPOS_UNREAD, key, row._replace(thread=ShortEventId(NOBODY)))


@plant("userid_password: the row at 0000000000000001 cannot be read")
def a_row_that_cannot_be_read(planter: Planter) -> None:
    planter.put_raw(users.USERID_ACCOUNT, (1).to_bytes(8, "big"), b"\xc1")


@plant("shortuserid_userid: the row at 00 cannot be read")
def a_key_that_cannot_be_read(planter: Planter) -> None:
    planter.put_raw(rooms.SHORTUSERID_USERID, b"\x00", b"")


@plant("tofrom_relation: ChildPlace*is missing")
def a_relation_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.TOFROM_RELATION, lambda key, row: key.kind == relations.ANNOTATION)


@plant("tofrom_relation: ChildPlace*follows from nothing")
def a_relation_to_another_event(planter: Planter) -> None:
    key, row = planter.first(relations.TOFROM_RELATION)
    planter.put(relations.TOFROM_RELATION, key._replace(parent="$other"), row)


@plant("parent_bundledcount: ByParent*holds 77 instead of")
def a_wrong_count_of_what_is_bundled(planter: Planter) -> None:
    key, _ = planter.first(relations.PARENT_BUNDLED)
    planter.put(relations.PARENT_BUNDLED, key, 77)


@plant("parent_bundledcount: ByParent*follows from nothing")
def a_count_for_an_event_without_children(planter: Planter) -> None:
    key, _ = planter.first(relations.PARENT_BUNDLED)
    planter.put(relations.PARENT_BUNDLED, key._replace(parent="$other"), 1)


@plant("parentlike_relation: LikeChild*is missing")
def an_edit_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.LIKECHILD)


@plant("parentlike_relation: LikeChild*follows from nothing")
def an_edit_at_another_time(planter: Planter) -> None:
    key, _ = planter.first(relations.LIKECHILD)
    planter.put(relations.LIKECHILD, key._replace(ts_ms=key.ts_ms + 1), None)


@plant("threaduser_count: ThreadUser*holds 77 instead of")
def a_wrong_count_of_a_thread(planter: Planter) -> None:
    key, _ = planter.first(relations.THREADUSER_COUNT)
    planter.put(relations.THREADUSER_COUNT, key, 77)


@plant("threadactivity_root: ThreadPlace*is missing")
def a_thread_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.THREADACTIVITY)


@plant("threadactivity_root: ThreadPlace*follows from nothing")
def a_thread_with_a_place_too_many(planter: Planter) -> None:
    key, root = planter.first(relations.THREADACTIVITY)
    planter.put(relations.THREADACTIVITY, key._replace(pos=NOBODY), root)
