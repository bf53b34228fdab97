"""Is the store in agreement with itself?

``check_consistency`` reads one snapshot and tells every contradiction in a sentence that begins with the name of a
tree. Each tree that is derived is made again from its source and compared both ways: rows that are missing or differ,
and rows that follow from nothing. Sources are checked for what must hold by themselves: that events have the id and
the signature of their content, that whatever is referred to exists, that no two strings share a short id.

Nothing is repaired here. Memory is bounded by the largest room, time grows with the store: for tests, and for an
operator who doubts a disk.

Every tree of the catalog is the subject of a check or listed in ``UNCHECKED`` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from conduit_py.data.closed import scan_removed
from conduit_py.data.consistency import (
    accounts,
    admin,
    appservices,
    chains,
    encryption,
    events,
    holes,
    media,
    memberships,
    order,
    pushing,
    reading,
    relating,
    sending,
    server,
    shorts,
    states,
    times,
    words,
)
from conduit_py.data.room_rows import OneRoom, without_rooms
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Snapshot
from kvschema.catalog import CATALOG, TREES_BY_NAME
from kvschema.errors import CorruptValue

CACHE_BYTES = 8_000_000
"""For what is read more than once during a check. The server's own cache could hide what is wrong on disk."""

ROWS_PER_STEP = 1000
"""Progress is told once in so many rows."""

RowsCheck = Callable[[Snapshot], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise about the store."""

    tree: str
    """The tree whose rows it speaks of."""
    run: RowsCheck


def _checks(table: Mapping[str, tuple[RowsCheck, ...]]) -> tuple[Check, ...]:
    return tuple(Check(tree, run) for tree, runs in table.items() for run in runs)


CHECKS = _checks(
    {
        "global": (server.check_facts, server.check_position, admin.check_room),
        "startgap": (server.check_start_gaps,),
        "roomid_shortroomid": (shorts.check_room_ids,),
        "shortroomid_room": (shorts.check_rooms,),
        "userid_shortuserid": (shorts.check_user_ids,),
        "shortuserid_userid": (shorts.check_users,),
        "statekey_shortstatekey": (shorts.check_state_key_digests,),
        "shortstatekey_statekey": (shorts.check_state_keys,),
        "alias_roomid": (shorts.check_aliases,),
        "aliasid_alias": (shorts.check_aliases_of_rooms,),
        "publicroomids": (shorts.check_public_rooms,),
        "eventid_shorteventid": (events.check_event_ids,),
        "shorteventid_pdu": (events.check_events, order.check_states_after),
        "pduid_shorteventid": (events.check_timelines,),
        "roomtime_shorteventid": (times.check_times,),
        "shorteventid_authevents": (chains.check_auth_events,),
        "roomid_gap": (holes.check_gaps,),
        "tokenids": (words.check_words,),
        "roomid_pduleaves": (order.check_extremities,),
        "tofrom_relation": (relating.check_relations,),
        "parent_bundledcount": (relating.check_bundled,),
        "parentlike_relation": (relating.check_alike,),
        "threaduser_count": (relating.check_thread_counts,),
        "threadactivity_root": (relating.check_threads,),
        "shortstatehash_statediff": (states.check_differences,),
        "roomid_shortstatehash": (states.check_current_ids, holes.check_current_places),
        "roomstate_shorteventid": (states.check_current_entries,),
        "roompos_stateid": (holes.check_states_at,),
        "roomuserid_member": (memberships.check_members,),
        "roomid_membercount": (memberships.check_member_counts,),
        "roomserverids": (memberships.check_servers_of_rooms,),
        "serverroomids": (memberships.check_rooms_of_servers,),
        "userroomid_membership": (memberships.check_memberships,),
        "userpos_membershipchange": (memberships.check_changes,),
        "userid_password": (accounts.check_accounts,),
        "useridprofilekey_value": (accounts.check_profiles,),
        "userdeviceid_metadata": (accounts.check_devices,),
        "token_userdeviceid": (accounts.check_tokens,),
        "userdeviceid_token": (accounts.check_tokens_of_devices,),
        "userfilterid_filter": (accounts.check_filters,),
        "nameword_userid": (accounts.check_name_words,),
        "roomuserdataid_accountdata": (accounts.check_account_data,),
        "roomusertype_roomuserdataid": (accounts.check_account_data_types,),
        "userid_notifiedapart": (accounts.check_users_apart,),
        "userdevicetxnid_response": (accounts.check_transactions,),
        "txnage_userdevicetxnid": (accounts.check_transaction_ages,),
        "shorteventid_transaction": (accounts.check_transactions_of_events,),
        "readreceiptid_readreceipt": (reading.check_receipts,),
        "roomuserid_lastreceipt": (reading.check_newest_receipts,),
        "roompos_notified": (reading.check_notified,),
        "senderkey_pusher": (pushing.check_pushers,),
        "pushkey_userid": (pushing.check_pushkeys,),
        "senderkey_pushed": (pushing.check_pushed,),
        "keyid_key": (encryption.check_device_keys,),
        "onetimekeyid_onetimekeys": (encryption.check_one_time_keys,),
        "userdevicealgorithm_onetimekeycount": (encryption.check_one_time_key_counts,),
        "userdeviceid_lastonetimekeyclaim": (encryption.check_claims,),
        "issuedonetimekey_pos": (encryption.check_issued_keys,),
        "userdevicealgorithm_fallbackkey": (encryption.check_fallback_keys,),
        "userid_crosssigningkey": (encryption.check_cross_signing_keys,),
        "signerkeyid_signature": (encryption.check_signatures,),
        "keychangeid_userid": (encryption.check_key_changes,),
        "signerid_signeduser": (encryption.check_signed_users,),
        "todeviceid_events": (encryption.check_to_device,),
        "backupid_backup": (encryption.check_backups,),
        "backupkeyid_backup": (encryption.check_backup_keys,),
        "userid_remotelist": (encryption.check_remote_lists,),
        "serveruserid_outdatedlist": (encryption.check_outdated_lists,),
        "userid_dehydrateddevice": (encryption.check_dehydrated,),
        "announcementid_userdevice": (encryption.check_announcements,),
        "userid_devicestreamid": (encryption.check_list_streams,),
        "receivedage_message": (encryption.check_received_ages,),
        "userroomid_remotejoined": (memberships.check_remote_rooms,),
        "servernamemediaid_metadata": (media.check_media,),
        "filehash_servername_mediaid": (media.check_media_of_files,),
        "filehash_metadata": (media.check_files,),
        "accessedms_filehash": (media.check_accesses,),
        "thumbnailid_metadata": (media.check_thumbnails,),
        "filehash_thumbnailid": (media.check_thumbnails_of_files,),
        "mediaid_pending": (media.check_pending,),
        "userid_pendingmediaid": (media.check_pending_of_users,),
        "servernameevent_data": (sending.check_events,),
        "servernameroom_lastevent": (sending.check_last_events,),
        "servernameedu_data": (sending.check_edus,),
        "servername_sending": (sending.check_sending,),
        "appserviceidpos_event": (appservices.check_events,),
        "appserviceidpos_outside": (appservices.check_outside,),
        "appserviceid_sending": (appservices.check_sending,),
        "instanceidroomid": (appservices.check_listed,),
        "admincommand": (admin.check_commands,),
    }
)

UNCHECKED: Mapping[str, str] = {
    "logintoken_expiresatuserid": "each row stands alone, and lives for minutes",
    "userdevicesessionid_uiaainfo": "each row stands alone, and lives for an hour",
    "id_appserviceregistrations": "each row stands alone, and was given by an administrator",
    "passwordlink": "each row stands alone, and is good for a day",
    "openidtoken_expiresatuserid": "each row stands alone, and lives for an hour",
    "registrationtoken_info": "each row stands alone",
    "blocked_servernamemediaid": "each row stands alone: what it names need not be here",
    "disabledroomids": "each row stands alone: what it names need not be here",
    "userpos_farewell": "each row stands alone: what it names is not here any more",
    "removedroomids": "each row stands alone, and goes with the room that it names",
    "blocked_filehash": "each row stands alone: what it names need not be here",
    "userid_presence": "each row stands alone",
    "userid_report": "each row stands alone: what it names need not exist any more",
    "leavinguserids": "each row stands alone, and goes when the rooms are left",
    "userid_erasedpos": "each row stands alone",
    "receivedmessage_ms": "each row stands alone, and was said by somebody else",
    "userid_keychangeid": "each row stands alone: users of other servers have one as well",
    "deletedbackupids": "each row stands alone, and goes when the backup's keys are removed",
    "servername_destination": "each row stands alone, and was said by somebody else",
    "redactedid_redaction": "each row stands alone: what it names is not there",
    "roompos_waitingpdu": "each row stands alone, and was said by somebody else",
    "servertxnid_response": "each row stands alone, and is kept for a day",
    "server_signingkeys": "each row stands alone, and was said by somebody else",
    "server_keyresponse": "each row stands alone, and was said by somebody else",
}
"""Trees that nothing can be said about beyond that their rows can be read."""


def check_consistency(
    snapshot: Snapshot, on_rows: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[str]:
    """One sentence for each contradiction; nothing for a healthy store.

    Rooms that are being removed are passed over: what is left of them agrees with nothing.

    :param on_rows: told now and then how many rows were looked at, of how many; a row is looked at more than once.
    """
    hidden = [OneRoom(row.room, room_id) for room_id, row in scan_removed(snapshot) if row.is_cut_off]
    with Snapshot(nullcontext(without_rooms(snapshot, hidden)), ObjectCache(CACHE_BYTES)) as fresh:
        progress = _Progress(fresh, on_rows)
        unreadable = False
        for problem in check_readable(fresh, progress.begin):
            unreadable = True
            yield problem
        if unreadable:
            yield "nothing else was checked, because rows that cannot be read take part in everything else"
            return
        for check in CHECKS:
            progress.begin(check.tree)
            yield from check.run(fresh)


class _Progress:
    """Counts the rows of the tree that is being checked, as they are scanned."""

    def __init__(self, snapshot: Snapshot, on_rows: Callable[[int, int], None]) -> None:
        self._snapshot, self._scan, self._on_rows = snapshot, snapshot.scan, on_rows
        subjects = [*(tree.name for tree in CATALOG), *(check.tree for check in CHECKS)]
        self._total = sum(map(snapshot.count, subjects))
        self._tree, self._before, self._end = "", 0, 0
        snapshot.scan = self._watch

    def begin(self, tree: str) -> None:
        """From here on the rows of this tree count, each once."""
        self._tree, self._before = tree, self._end
        self._end += self._snapshot.count(tree)
        self._on_rows(self._before, self._total)

    def _watch(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._scan(tree, prefix, start, stop, reverse)
        return self._count(rows) if tree == self._tree and not prefix else rows

    def _count(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for number, row in enumerate(rows):
            if number % ROWS_PER_STEP == 0:
                self._on_rows(min(self._before + number, self._end), self._total)
            yield row


def check_readable(snapshot: Snapshot, on_tree: Callable[[str], None] = lambda tree: None) -> Iterator[str]:
    """Keys and values of every tree can be decoded, and a key that is encoded again is the key."""
    for tree in CATALOG:
        on_tree(tree.name)
        for raw_key, raw in snapshot.scan(tree.name, b"", b"", b"", False):
            try:
                key: Any = tree.key.decode(raw_key)
                tree.value.decode(raw)
            except (CorruptValue, UnicodeDecodeError) as error:
                yield f"{tree.name}: the row at {raw_key.hex()} cannot be read: {error}"
            else:
                if tree.key.encode(key) != raw_key:
                    yield f"{tree.name}: the row at {raw_key.hex()} has a key that is never written"


assert {check.tree for check in CHECKS} <= TREES_BY_NAME.keys()
