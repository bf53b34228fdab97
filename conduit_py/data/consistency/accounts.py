"""Accounts, devices, tokens, account data and transactions of local users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit_py.data.apart import REASON_OF, is_apart
from conduit_py.data.consistency.derived import compare_rows, compare_tree, scan_owners
from conduit_py.data.consistency.server import get_server_name
from conduit_py.data.digest import digest
from conduit_py.data.filters import hash_filter
from conduit_py.data.timeline import get_row
from conduit_py.data.user_directory import name_words
from conduit_py.matrix.ids import UserId, server_name_of
from conduit_py.storage.database import Snapshot
from kvschema.catalog import account_data, rooms, transactions, users
from kvschema.catalog.account_data import GLOBAL_ROOM, UserReason, UserRoomType
from kvschema.catalog.members import UserPos
from kvschema.catalog.rooms import ByRoom, ByShort, ShortUserId, StreamPos
from kvschema.catalog.timeline import ByShortEvent
from kvschema.catalog.transactions import TransactionAge, TransactionKey
from kvschema.catalog.users import ByTokenHash, ByUser, NameWord, UserDevice, UserDeviceToken, UserKey
from kvschema.tree import Tree


def check_accounts(snapshot: Snapshot) -> Iterator[str]:
    """Accounts are of users of this server."""
    own = get_server_name(snapshot)
    for key in users.USERID_ACCOUNT.scan_keys(snapshot):
        user_id = rooms.SHORTUSERID_USERID.get(snapshot, ByShort(key.user))
        if user_id is None or server_name_of(UserId(user_id)) != own:
            yield f"userid_password: the account {key.user} is of {user_id}"


def check_profiles(snapshot: Snapshot) -> Iterator[str]:
    return _without_account(snapshot, users.USERIDPROFILEKEY_VALUE)


def check_devices(snapshot: Snapshot) -> Iterator[str]:
    return _without_account(snapshot, users.USERDEVICEID_METADATA)


def check_tokens(snapshot: Snapshot) -> Iterator[str]:
    """Tokens open sessions of users that there are, on devices that there are."""
    for key, token in users.TOKEN_USERDEVICEID.scan(snapshot):
        where = f"token_userdeviceid: {key.token_hash.hex()[:16]}"
        if rooms.SHORTUSERID_USERID.get(snapshot, ByShort(token.user)) != token.user_id:
            yield f"{where} is of {token.user_id}, who is not {token.user}"
        if not users.USERDEVICEID_METADATA.has(snapshot, UserDevice(token.user, token.device_id)):
            yield f"{where} is of the device {token.device_id!r} of {token.user_id}, which there is not"


def check_tokens_of_devices(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: UserDeviceToken, _: None) -> bool:
        token = users.TOKEN_USERDEVICEID.get(snapshot, ByTokenHash(key.token_hash))
        return token is not None and (token.user, token.device_id) == (key.user, key.device_id)

    return compare_tree(
        snapshot,
        users.USERDEVICEID_TOKEN,
        (
            (UserDeviceToken(token.user, token.device_id, key.token_hash), None)
            for key, token in users.TOKEN_USERDEVICEID.scan(snapshot)
        ),
        follows,
    )


def check_filters(snapshot: Snapshot) -> Iterator[str]:
    """Filters stand under their digest."""
    for key, text in users.USERFILTERID_FILTER.scan(snapshot):
        if hash_filter(text) != key.digest:
            yield f"userfilterid_filter: the filter {key.digest.hex()} of user {key.user} has another digest"
    yield from _without_account(snapshot, users.USERFILTERID_FILTER)


def check_name_words(snapshot: Snapshot) -> Iterator[str]:
    """Every account that was not deactivated is found under the words of its names, and nobody under others."""

    def words_of(user: ShortUserId) -> frozenset[str]:
        account = users.USERID_ACCOUNT.get(snapshot, ByUser(user))
        user_id = rooms.SHORTUSERID_USERID.get(snapshot, ByShort(user))
        if account is None or account.is_deactivated or user_id is None:
            return frozenset()
        return name_words(UserId(user_id), users.USERIDPROFILEKEY_VALUE.get(snapshot, UserKey(user, "displayname")))

    return compare_tree(
        snapshot,
        users.NAMEWORD_USERID,
        (
            (NameWord(word, key.user), None)
            for key in users.USERID_ACCOUNT.scan_keys(snapshot)
            for word in sorted(words_of(key.user))
        ),
        lambda key, _: key.word in words_of(key.user),
    )


def check_account_data(snapshot: Snapshot) -> Iterator[str]:
    """Account data is of rooms that there are, or of none."""
    for key, row in account_data.USERPOS_ACCOUNTDATA.scan(snapshot):
        if row.room != GLOBAL_ROOM and not rooms.SHORTROOMID_ROOM.has(snapshot, ByRoom(row.room)):
            yield f"roomuserdataid_accountdata: {key} is of room {row.room}, which there is not"
    yield from _without_account(snapshot, account_data.USERPOS_ACCOUNTDATA)


def check_account_data_types(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: UserRoomType, pos: int) -> bool:
        row = account_data.USERPOS_ACCOUNTDATA.get(snapshot, UserPos(key.user, StreamPos(pos)))
        return row is not None and (row.room, digest(row.type)) == (key.room, key.type_digest)

    return compare_tree(
        snapshot,
        account_data.USERROOMTYPE_POS,
        (
            (UserRoomType(key.user, row.room, digest(row.type)), int(key.pos))
            for key, row in account_data.USERPOS_ACCOUNTDATA.scan(snapshot)
        ),
        follows,
    )


def check_users_apart(snapshot: Snapshot) -> Iterator[str]:
    """Whoever changed a push rule or ignores somebody, and nobody else."""
    expected = {
        UserReason(key.user, REASON_OF[row.type]): None
        for key, row in account_data.USERPOS_ACCOUNTDATA.scan(snapshot)
        if row.room == GLOBAL_ROOM and row.type in REASON_OF and is_apart(row.type, row.content)
    }
    stored = dict(account_data.USERREASON_APART.scan(snapshot))
    return compare_rows(account_data.USERREASON_APART, stored, expected)


def check_transactions(snapshot: Snapshot) -> Iterator[str]:
    """What was answered is an event that there is, and the event knows how it was sent."""
    for key, row in transactions.USERDEVICETXNID_RESPONSE.scan(snapshot):
        if not row.event:
            continue
        where = f"userdevicetxnid_response: {key.digest.hex()} of user {key.user}"
        event = get_row(snapshot, row.event)
        if event is None or event.event_id != row.event_id:
            yield f"{where} was answered with {row.event_id}, which is not the event {row.event}"
        sent = transactions.SHORTEVENTID_TRANSACTION.get(snapshot, ByShortEvent(row.event))
        if sent is None or sent.user != key.user:
            yield f"{where} was answered with {row.event_id}, which was sent by {sent}"


def check_transaction_ages(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: TransactionAge, _: None) -> bool:
        row = transactions.USERDEVICETXNID_RESPONSE.get(snapshot, TransactionKey(key.user, key.digest))
        return row is not None and row.done_ms == key.done_ms

    return compare_tree(
        snapshot,
        transactions.TXNAGE,
        (
            (TransactionAge(row.done_ms, key.user, key.digest), None)
            for key, row in transactions.USERDEVICETXNID_RESPONSE.scan(snapshot)
        ),
        follows,
    )


def check_transactions_of_events(snapshot: Snapshot) -> Iterator[str]:
    """Only events that there are were sent, each by one of our users."""
    for key, sent in transactions.SHORTEVENTID_TRANSACTION.scan(snapshot):
        if get_row(snapshot, key.event) is None:
            yield f"shorteventid_transaction: there is no event {key.event}"
        if not users.USERID_ACCOUNT.has(snapshot, ByUser(sent.user)):
            yield f"shorteventid_transaction: {key.event} was sent by user {sent.user}, who has no account"


def _without_account(snapshot: Snapshot, tree: Tree[Any, Any]) -> Iterator[str]:
    """For trees whose key begins with a local user."""
    for user in scan_owners(snapshot, tree):
        if not users.USERID_ACCOUNT.has(snapshot, ByUser(ShortUserId(user))):
            yield f"{tree.name}: there are rows of user {user}, who has no account"
