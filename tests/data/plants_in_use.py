"""What can be wrong with memberships, accounts and reading, and rows that cannot be read."""

from __future__ import annotations

from conduit_py.data.notified import pack_users
from kvschema.catalog import account_data, members, receipts, relations, rooms, timeline, transactions, users
from kvschema.catalog.account_data import IGNORES, UserReason
from kvschema.catalog.members import INVITE, JOIN, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("roomuserid_member: RoomMember(")
def a_member_that_is_missing(planter: Planter) -> None:
    planter.drop_first(members.ROOMUSERID_MEMBER)


@PLANTS.add("roomuserid_member: RoomMember(")
def a_member_counted_as_remote(planter: Planter) -> None:
    key, event = planter.first(members.ROOMUSERID_MEMBER)
    planter.batch.delete(members.ROOMUSERID_MEMBER, key)
    planter.put(members.ROOMUSERID_MEMBER, key._replace(remote=1), event)


@PLANTS.add("roomid_membercount: RoomKind(")
def a_room_that_counts_one_more(planter: Planter) -> None:
    key, count = planter.first(members.ROOMID_MEMBERCOUNT)
    planter.put(members.ROOMID_MEMBERCOUNT, key, count + 1)


@PLANTS.add("roomserverids: RoomServer(")
def a_room_with_a_server_too_many(planter: Planter) -> None:
    key, _ = planter.first(members.ROOMSERVERIDS)
    planter.put(members.ROOMSERVERIDS, key._replace(server_name="two.test"), 1)


@PLANTS.add("serverroomids: ServerRoom(")
def a_server_that_misses_a_room(planter: Planter) -> None:
    planter.drop_first(members.SERVERROOMIDS)


@PLANTS.add("userroomid_membership: @* has no row in room")
def a_user_who_misses_a_room(planter: Planter) -> None:
    planter.drop_first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == JOIN)


@PLANTS.add("userroomid_membership: UserRoom(* is by *, which says join")
def a_joined_user_who_stands_as_left(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == JOIN)
    planter.put(members.USERROOMID_MEMBERSHIP, key._replace(kind=LEAVE), row)


@PLANTS.add("userroomid_membership: UserRoom(* has stripped state")
def an_invite_without_stripped_state(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP, lambda key, row: key.kind == INVITE)
    planter.put(members.USERROOMID_MEMBERSHIP, key, row._replace(stripped_state=None))


@PLANTS.add("userroomid_membership: UserRoom(* was changed by '@nobody:one.test'")
def a_membership_changed_by_another(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP)
    planter.put(members.USERROOMID_MEMBERSHIP, key, row._replace(sender="@nobody:one.test"))


@PLANTS.add("userroomid_membership: UserRoom(user=77* is of None")
def a_membership_of_nobody(planter: Planter) -> None:
    key, row = planter.first(members.USERROOMID_MEMBERSHIP)
    planter.put(members.USERROOMID_MEMBERSHIP, key._replace(user=ShortUserId(NOBODY)), row)


@PLANTS.add("userpos_membershipchange: UserPos(")
def a_change_of_membership_that_is_missing(planter: Planter) -> None:
    planter.drop_first(members.USERPOS_MEMBERSHIPCHANGE)


@PLANTS.add("userpos_membershipchange: UserPos(")
def a_change_of_membership_told_twice(planter: Planter) -> None:
    key, change = planter.first(members.USERPOS_MEMBERSHIPCHANGE)
    planter.put(members.USERPOS_MEMBERSHIPCHANGE, key._replace(pos=StreamPos(NOBODY)), change)


@PLANTS.add("userid_password: the account 77")
def an_account_of_nobody(planter: Planter) -> None:
    _, account = planter.first(users.USERID_ACCOUNT)
    planter.put(users.USERID_ACCOUNT, users.ByUser(ShortUserId(NOBODY)), account)


@PLANTS.add("useridprofilekey_value: there are rows of user 77")
def a_profile_of_nobody(planter: Planter) -> None:
    planter.put(users.USERIDPROFILEKEY_VALUE, users.UserKey(ShortUserId(NOBODY), "displayname"), "Nobody")


@PLANTS.add("userdeviceid_metadata: there are rows of user 77")
def a_device_of_nobody(planter: Planter) -> None:
    planter.put(users.USERDEVICEID_METADATA, users.UserDevice(ShortUserId(NOBODY), "D"), users.Device(0))


@PLANTS.add("token_userdeviceid: * is of the device")
def a_token_of_a_device_that_is_gone(planter: Planter) -> None:
    planter.drop_first(users.USERDEVICEID_METADATA)


@PLANTS.add("token_userdeviceid: * is of @nobody:one.test")
def a_token_of_somebody_else(planter: Planter) -> None:
    key, token = planter.first(users.TOKEN_USERDEVICEID)
    planter.put(users.TOKEN_USERDEVICEID, key, token._replace(user_id="@nobody:one.test"))


@PLANTS.add("userdeviceid_token: UserDeviceToken(")
def a_token_that_no_logout_would_close(planter: Planter) -> None:
    planter.drop_first(users.USERDEVICEID_TOKEN)


@PLANTS.add("userdeviceid_token: UserDeviceToken(* follows from nothing")
def a_device_with_a_token_that_there_is_not(planter: Planter) -> None:
    planter.drop_first(users.TOKEN_USERDEVICEID)


@PLANTS.add("userfilterid_filter: the filter")
def a_filter_under_another_digest(planter: Planter) -> None:
    key, _ = planter.first(users.USERFILTERID_FILTER)
    planter.put(users.USERFILTERID_FILTER, key, '{"another":1}')


@PLANTS.add("nameword_userid: NameWord(* is missing")
def a_name_that_no_search_finds(planter: Planter) -> None:
    planter.drop_first(users.NAMEWORD_USERID)


@PLANTS.add("nameword_userid: NameWord(word='zebra'* follows from nothing")
def somebody_found_under_another_name(planter: Planter) -> None:
    key, _ = planter.first(users.NAMEWORD_USERID)
    planter.put(users.NAMEWORD_USERID, key._replace(word="zebra"), None)


@PLANTS.add("roomuserdataid_accountdata: UserPos(* is of room 77")
def account_data_of_no_room(planter: Planter) -> None:
    key, row = planter.first(account_data.USERPOS_ACCOUNTDATA)
    planter.put(account_data.USERPOS_ACCOUNTDATA, key, row._replace(room=ShortRoomId(NOBODY)))


@PLANTS.add("roomusertype_roomuserdataid: UserRoomType(")
def account_data_that_nobody_finds(planter: Planter) -> None:
    planter.drop_first(account_data.USERROOMTYPE_POS)


@PLANTS.add("roomusertype_roomuserdataid: UserRoomType(* follows from nothing")
def an_index_of_account_data_that_leads_nowhere(planter: Planter) -> None:
    planter.drop_first(account_data.USERPOS_ACCOUNTDATA)


@PLANTS.add("userdevicetxnid_response: * was answered with $nothing")
def an_answer_that_names_no_event(planter: Planter) -> None:
    key, row = planter.first(transactions.USERDEVICETXNID_RESPONSE)
    planter.put(transactions.USERDEVICETXNID_RESPONSE, key, row._replace(event_id="$nothing"))


@PLANTS.add("userdevicetxnid_response: * was answered with $*, which was sent by None")
def an_event_that_forgot_how_it_was_sent(planter: Planter) -> None:
    planter.drop_first(transactions.SHORTEVENTID_TRANSACTION)


@PLANTS.add("txnage_userdevicetxnid: TransactionAge(")
def an_answer_that_no_sweep_finds(planter: Planter) -> None:
    planter.drop_first(transactions.TXNAGE)


@PLANTS.add("txnage_userdevicetxnid: TransactionAge(* follows from nothing")
def an_age_without_an_answer(planter: Planter) -> None:
    planter.drop_first(transactions.USERDEVICETXNID_RESPONSE)


@PLANTS.add("shorteventid_transaction: there is no event 77")
def a_transaction_that_sent_nothing(planter: Planter) -> None:
    _, sent = planter.first(transactions.SHORTEVENTID_TRANSACTION)
    planter.put(transactions.SHORTEVENTID_TRANSACTION, timeline.ByShortEvent(ShortEventId(NOBODY)), sent)


@PLANTS.add("readreceiptid_readreceipt: RoomPos(room=77")
def a_receipt_of_no_room(planter: Planter) -> None:
    key, row = planter.first(receipts.READRECEIPT)
    planter.put(receipts.READRECEIPT, key._replace(room=ShortRoomId(NOBODY)), row)


@PLANTS.add("readreceiptid_readreceipt: RoomPos(* is of @nobody:one.test")
def a_receipt_of_nobody(planter: Planter) -> None:
    key, row = planter.first(receipts.READRECEIPT)
    planter.put(receipts.READRECEIPT, key, row._replace(user_id="@nobody:one.test"))


@PLANTS.add("roomuserid_lastreceipt: RoomUserThread(")
def a_receipt_that_nobody_finds(planter: Planter) -> None:
    planter.drop_first(receipts.ROOMUSERTHREAD_RECEIPT)


@PLANTS.add("roomuserid_lastreceipt: RoomUserThread(* follows from nothing")
def an_index_of_receipts_that_leads_nowhere(planter: Planter) -> None:
    planter.drop_first(receipts.READRECEIPT)


@PLANTS.add("roompos_notified: RoomPos(* is not in the room's timeline")
def an_event_that_notified_and_that_there_is_not(planter: Planter) -> None:
    key, row = planter.first(receipts.ROOMPOS_NOTIFIED)
    planter.put(receipts.ROOMPOS_NOTIFIED, key._replace(pos=StreamPos(NOBODY)), row)


@PLANTS.add("roompos_notified: RoomPos(* is in the thread 77")
def an_event_that_notified_in_a_lost_thread(planter: Planter) -> None:
    key, row = planter.first(receipts.ROOMPOS_NOTIFIED)
    planter.put(receipts.ROOMPOS_NOTIFIED, key, row._replace(thread=ShortEventId(NOBODY)))


@PLANTS.add("roompos_notified: RoomPos(* names the user 77, who is not there")
def an_event_that_notified_nobody_there_is(planter: Planter) -> None:
    key, row = planter.first(receipts.ROOMPOS_NOTIFIED)
    group = [False, ["notify"], pack_users([ShortUserId(NOBODY)])]
    planter.put(receipts.ROOMPOS_NOTIFIED, key, row._replace(groups=[group]))


@PLANTS.add("roompos_notified: RoomPos(* names somebody twice")
def an_event_that_notified_somebody_twice(planter: Planter) -> None:
    key, row = planter.first(receipts.ROOMPOS_NOTIFIED, lambda key, row: bool(row.groups))
    planter.put(receipts.ROOMPOS_NOTIFIED, key, row._replace(groups=[*row.groups, row.groups[0]]))


@PLANTS.add("roompos_notified: RoomPos(* names users out of order")
def an_event_that_notified_users_out_of_order(planter: Planter) -> None:
    key, row = planter.first(receipts.ROOMPOS_NOTIFIED)
    first, second = list(rooms.SHORTUSERID_USERID.scan_keys(planter.reader))[:2]
    users = pack_users([ShortUserId(second.short)]) + pack_users([ShortUserId(first.short)])
    planter.put(receipts.ROOMPOS_NOTIFIED, key, row._replace(sender=ShortUserId(0), groups=[[False, [], users]]))


@PLANTS.add("userid_notifiedapart: UserReason(* is missing")
def a_user_apart_that_nobody_knows_of(planter: Planter) -> None:
    planter.drop_first(account_data.USERREASON_APART)


@PLANTS.add("userid_notifiedapart: UserReason(* follows from nothing")
def a_user_who_is_not_apart(planter: Planter) -> None:
    apart = {key.user for key, _ in account_data.USERREASON_APART.scan(planter.reader)}
    key, _ = planter.first(users.USERID_ACCOUNT, lambda key, row: key.user not in apart)
    planter.put(account_data.USERREASON_APART, UserReason(key.user, IGNORES), None)


@PLANTS.add("userid_password: the row at 0000000000000001 cannot be read")
def a_row_that_cannot_be_read(planter: Planter) -> None:
    planter.put_raw(users.USERID_ACCOUNT, (1).to_bytes(8, "big"), b"\xc1")


@PLANTS.add("shortuserid_userid: the row at 00 cannot be read")
def a_key_that_cannot_be_read(planter: Planter) -> None:
    planter.put_raw(rooms.SHORTUSERID_USERID, b"\x00", b"")


@PLANTS.add("tofrom_relation: ChildPlace*is missing")
def a_relation_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.TOFROM_RELATION, lambda key, row: key.kind == relations.ANNOTATION)


@PLANTS.add("tofrom_relation: ChildPlace*follows from nothing")
def a_relation_to_another_event(planter: Planter) -> None:
    key, row = planter.first(relations.TOFROM_RELATION)
    planter.put(relations.TOFROM_RELATION, key._replace(parent="$other"), row)


@PLANTS.add("parent_bundledcount: ByParent*holds 77 instead of")
def a_wrong_count_of_what_is_bundled(planter: Planter) -> None:
    key, _ = planter.first(relations.PARENT_BUNDLED)
    planter.put(relations.PARENT_BUNDLED, key, 77)


@PLANTS.add("parent_bundledcount: ByParent*follows from nothing")
def a_count_for_an_event_without_children(planter: Planter) -> None:
    key, _ = planter.first(relations.PARENT_BUNDLED)
    planter.put(relations.PARENT_BUNDLED, key._replace(parent="$other"), 1)


@PLANTS.add("parentlike_relation: LikeChild*is missing")
def an_edit_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.LIKECHILD)


@PLANTS.add("parentlike_relation: LikeChild*follows from nothing")
def an_edit_at_another_time(planter: Planter) -> None:
    key, _ = planter.first(relations.LIKECHILD)
    planter.put(relations.LIKECHILD, key._replace(ts_ms=key.ts_ms + 1), None)


@PLANTS.add("threaduser_count: ThreadUser*holds 77 instead of")
def a_wrong_count_of_a_thread(planter: Planter) -> None:
    key, _ = planter.first(relations.THREADUSER_COUNT)
    planter.put(relations.THREADUSER_COUNT, key, 77)


@PLANTS.add("threadactivity_root: ThreadPlace*is missing")
def a_thread_that_is_missing(planter: Planter) -> None:
    planter.drop_first(relations.THREADACTIVITY)


@PLANTS.add("threadactivity_root: ThreadPlace*follows from nothing")
def a_thread_with_a_place_too_many(planter: Planter) -> None:
    key, root = planter.first(relations.THREADACTIVITY)
    planter.put(relations.THREADACTIVITY, key._replace(pos=NOBODY), root)
