"""What can be wrong with keys, messages to devices, and key backups."""

from __future__ import annotations

from conduit_py.data.digest import digest
from kvschema.catalog import e2ee, members
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import ByUser
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("keyid_key: UserDevice(* holds the keys of ELSE")
def a_device_with_the_keys_of_another(planter: Planter) -> None:
    key, keys = planter.first(e2ee.DEVICE_KEYS)
    planter.put(e2ee.DEVICE_KEYS, key, keys | {"device_id": "ELSE"})


@PLANTS.add("onetimekeyid_onetimekeys: OneTimeKeyId(* was handed out before")
def a_key_that_is_handed_out_again(planter: Planter) -> None:
    where, key = planter.first(e2ee.ONE_TIME_KEYS)
    issued = e2ee.IssuedKey(where.user, where.device_id, digest(where.algorithm, key.key_id, key.key))
    planter.put(e2ee.ISSUED_KEYS, issued, 1)


@PLANTS.add("userdevicealgorithm_onetimekeycount: DeviceAlgorithm(")
def a_device_that_counts_one_key_more(planter: Planter) -> None:
    where, number = planter.first(e2ee.ONE_TIME_KEY_COUNT)
    planter.put(e2ee.ONE_TIME_KEY_COUNT, where, number + 1)


@PLANTS.add("userdeviceid_lastonetimekeyclaim: there are rows of UserDevice(user=77")
def a_claim_of_a_device_that_is_gone(planter: Planter) -> None:
    where, pos = planter.first(e2ee.LAST_CLAIM)
    planter.put(e2ee.LAST_CLAIM, where._replace(user=ShortUserId(NOBODY)), pos)


@PLANTS.add("issuedonetimekey_pos: there are rows of UserDevice(user=77")
def a_key_handed_out_for_a_device_that_is_gone(planter: Planter) -> None:
    where, pos = planter.first(e2ee.ISSUED_KEYS)
    planter.put(e2ee.ISSUED_KEYS, where._replace(user=ShortUserId(NOBODY)), pos)


@PLANTS.add("userdevicealgorithm_fallbackkey: there are rows of UserDevice(user=77")
def a_fallback_key_of_a_device_that_is_gone(planter: Planter) -> None:
    where, key = planter.first(e2ee.FALLBACK_KEYS)
    planter.put(e2ee.FALLBACK_KEYS, where._replace(user=ShortUserId(NOBODY)), key)


@PLANTS.add("userid_crosssigningkey: user * has a key and no master key")
def a_user_without_a_master_key(planter: Planter) -> None:
    planter.drop_first(e2ee.CROSS_SIGNING_KEYS, lambda key, _: key.usage == e2ee.MASTER)


@PLANTS.add("signerkeyid_signature: a signature of user * has another digest")
def a_signature_of_another_key(planter: Planter) -> None:
    key, row = planter.first(e2ee.SIGNATURES)
    planter.put(e2ee.SIGNATURES, key, row._replace(target="other"))


@PLANTS.add("keychangeid_userid: ByPosition(")
def a_change_of_keys_that_is_missing(planter: Planter) -> None:
    planter.drop_first(e2ee.KEY_CHANGE)


@PLANTS.add("keychangeid_userid: ByPosition(")
def a_change_of_keys_that_is_told_twice(planter: Planter) -> None:
    _, user = planter.first(e2ee.KEY_CHANGE)
    planter.put(e2ee.KEY_CHANGE, e2ee.ByPosition(StreamPos(NOBODY)), user)


@PLANTS.add("signerid_signeduser: user * is told 2 times")
def a_signature_that_is_told_twice(planter: Planter) -> None:
    key, owner = planter.first(e2ee.SIGNED_USER)
    planter.put(e2ee.SIGNED_USER, key._replace(pos=StreamPos(NOBODY)), owner)


@PLANTS.add("todeviceid_events: there are rows of UserDevice(user=77")
def a_message_to_a_device_that_is_gone(planter: Planter) -> None:
    where, message = planter.first(e2ee.TO_DEVICE)
    planter.put(e2ee.TO_DEVICE, where._replace(user=ShortUserId(NOBODY)), message)


@PLANTS.add("backupid_backup: BackupId(* has 1 keys instead of 2")
def a_backup_that_counts_one_key_more(planter: Planter) -> None:
    where, backup = planter.first(e2ee.BACKUPS)
    planter.put(e2ee.BACKUPS, where, backup._replace(key_count=2))


@PLANTS.add("backupkeyid_backup: BackupId(user=77* has keys, and there is no such backup")
def a_key_in_no_backup(planter: Planter) -> None:
    where, key = planter.first(e2ee.BACKUP_KEYS)
    planter.put(e2ee.BACKUP_KEYS, where._replace(user=ShortUserId(NOBODY)), key)


@PLANTS.add("userid_remotelist: user * is not of another server")
def a_list_of_a_local_user(planter: Planter) -> None:
    key, _ = planter.first(e2ee.USER_KEY_CHANGE)
    planter.put(e2ee.REMOTE_LISTS, key, e2ee.RemoteList(1, StreamPos(1)))


@PLANTS.add("serveruserid_outdatedlist: no list of user 77 is held")
def an_outdated_list_that_is_not_held(planter: Planter) -> None:
    planter.put(e2ee.OUTDATED_LISTS, e2ee.OutdatedList("two.test", ShortUserId(NOBODY)), 1)


@PLANTS.add("announcementid_userdevice: ByPosition(* is about user 77, who has no account")
def an_announcement_about_nobody(planter: Planter) -> None:
    announcement = e2ee.Announcement(ShortUserId(NOBODY), "PHONE")
    planter.put(e2ee.ANNOUNCEMENTS, e2ee.ByPosition(StreamPos(1)), announcement)


@PLANTS.add("userid_devicestreamid: there are rows of user 77")
def a_stream_of_nobody(planter: Planter) -> None:
    planter.put(e2ee.LIST_STREAM, ByUser(ShortUserId(NOBODY)), 1)


@PLANTS.add("receivedage_message: ReceivedAge(")
def a_received_message_without_an_age(planter: Planter) -> None:
    planter.put(e2ee.RECEIVED_MESSAGES, e2ee.ReceivedMessage(bytes(16)), 5)


@PLANTS.add("receivedage_message: ReceivedAge(")
def an_age_of_no_message(planter: Planter) -> None:
    planter.put(e2ee.RECEIVED_AGES, e2ee.ReceivedAge(5, bytes(16)), None)


@PLANTS.add("userroomid_remotejoined: RemoteRoom(user=77* is said, and is not so")
def a_room_of_somebody_who_is_not_in_it(planter: Planter) -> None:
    key, _ = planter.first(members.ROOMUSERID_MEMBER)
    planter.put(members.REMOTE_ROOMS, members.RemoteRoom(ShortUserId(NOBODY), key.room), 1)


@PLANTS.add("userroomid_remotejoined: user 77 is joined to room * and it is not said")
def a_member_of_another_server_without_the_room(planter: Planter) -> None:
    key, event = planter.first(members.ROOMUSERID_MEMBER, lambda key, _: key.kind == members.JOIN)
    planter.put(members.ROOMUSERID_MEMBER, key._replace(remote=1, user=ShortUserId(NOBODY)), event)


@PLANTS.add("userid_dehydrateddevice: GONE of user * has no keys")
def a_dehydrated_device_without_keys(planter: Planter) -> None:
    key, row = planter.first(e2ee.DEHYDRATED)
    planter.put(e2ee.DEHYDRATED, key, row._replace(device_id="GONE"))
