"""When the device lists and cross-signing keys of users last changed."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import ByPosition
from kvschema.catalog.members import UserPos
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import ByUser


def scan_changed(snapshot: Snapshot, *, after: int, until: int) -> Iterator[ShortUserId]:
    """Users whose last change lies past ``after``, up to ``until``."""
    # Every /sync asks, and mostly there are none.
    if after >= snapshot.once("lastkeychange", lambda: _read_last_changed(snapshot)):
        return
    start, stop = ByPosition(StreamPos(after)), ByPosition(StreamPos(until))
    for _, user in e2ee.KEY_CHANGE.scan(snapshot, after=start, until=stop):
        yield ShortUserId(user)


def _read_last_changed(snapshot: Snapshot) -> int:
    return next((key.pos for key in e2ee.KEY_CHANGE.scan_keys(snapshot, reverse=True)), 0)


def stage_changed(snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
    """Note a change. Once in a turn, and under the lock of the account."""
    old = e2ee.USER_KEY_CHANGE.get(snapshot, ByUser(user))
    if old is not None:
        turn.batch.delete(e2ee.KEY_CHANGE, ByPosition(StreamPos(old)))
    pos = StreamPos(turn.take_pos())
    turn.batch.put(e2ee.KEY_CHANGE, ByPosition(pos), user)
    turn.batch.put(e2ee.USER_KEY_CHANGE, ByUser(user), pos)


def scan_signed(snapshot: Snapshot, signer: ShortUserId, *, after: int, until: int) -> Iterator[ShortUserId]:
    """Users whose keys ``signer`` signed past ``after``, up to ``until``."""
    start, stop = UserPos(signer, StreamPos(after)), UserPos(signer, StreamPos(until))
    for _, user in e2ee.SIGNED_USER.scan(snapshot, signer, after=start, until=stop):
        yield ShortUserId(user)


def stage_signed(snapshot: Snapshot, turn: Turn, signer: ShortUserId, owner: ShortUserId) -> None:
    """Note that ``signer`` signed a key of ``owner``. Once in a turn for each, and under the lock of the account."""
    for key, user in e2ee.SIGNED_USER.scan(snapshot, signer):
        if user == owner:
            turn.batch.delete(e2ee.SIGNED_USER, key)
    turn.batch.put(e2ee.SIGNED_USER, UserPos(signer, StreamPos(turn.take_pos())), owner)
