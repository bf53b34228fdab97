"""Backups of room keys: versions, the keys in them, and which of two keys for one session is kept.

What is large is written and read in pages, each in a turn or snapshot of its own: a backup of any size keeps nobody
waiting and is never in memory as a whole. A request that is cut off has stored some pages, and may be sent again.

Spec: client-server-api/#server-side-key-backups
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import groupby, islice
from typing import Any, Final

import orjson
import trio

from conduit_py.data import key_backup
from conduit_py.data.key_backup import BackedUpKey, Backup, BackupKeyId
from conduit_py.matrix.canonical_json import INT_MAX
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.errors import BadJson, Forbidden, InvalidParam, MatrixError, NotFound, TooLarge
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import BACKUP_KEYS_MAX, BACKUPS_PER_USER_MAX, SESSION_ID_BYTES_MAX
from kvschema.catalog.rooms import ShortUserId

AUTH_DATA_BYTES_MAX: Final = 64 * 1024
SESSION_DATA_BYTES_MAX: Final = 64 * 1024
ALGORITHM_CHARS_MAX: Final = 255
PAGE: Final = 500
"""Keys that are read or written at a time, about 10 ms."""

Json = Mapping[str, Any]
Rooms = Mapping[str, Mapping[str, Json]]
"""Keys by room id and session id."""


class KeyBackupService:
    """One per server. Versions are as clients write them; a ``room_id`` of None means every room."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, requester: Requester, algorithm: str, auth_data: Json) -> str:
        """Begin a new backup, which is the current one from now on. Returns its version."""
        text = _encode_auth_data(algorithm, auth_data)
        async with self._store.locks.hold(_lock(requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                _stage_place(snapshot, turn, requester.user)
                version = turn.take_pos()
                key_backup.stage_backup(turn, requester.user, version, Backup(algorithm, text, version))
        return str(version)

    def require_info(self, requester: Requester, version: str | None) -> dict[str, Any]:
        """A version, or the current one, in the form of the spec. Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            if version is not None:
                number, backup = _require(snapshot, requester.user, version)
            else:
                number, backup = _require_current(snapshot, requester.user)
        return {
            "algorithm": backup.algorithm,
            "auth_data": orjson.loads(backup.auth_data),
            "count": backup.key_count,
            "etag": str(backup.etag),
            "version": str(number),
        }

    async def set_auth_data(
        self, requester: Requester, version: str, algorithm: str, auth_data: Json, in_body: str | None
    ) -> None:
        """Raises ``NotFound``, and ``InvalidParam`` for another algorithm or if the body names another version."""
        if in_body not in (None, version):
            raise InvalidParam("The version in the body is not that of the path")
        text = _encode_auth_data(algorithm, auth_data)
        async with self._store.locks.hold(_lock(requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                number, backup = _require(snapshot, requester.user, version)
                if backup.algorithm != algorithm:
                    raise InvalidParam("Algorithm does not match")
                key_backup.stage_backup(turn, requester.user, number, backup._replace(auth_data=text))

    async def delete(self, requester: Requester, version: str) -> None:
        """Delete a version with its keys; once more is no error. Raises ``NotFound`` for one that never was."""
        user = requester.user
        async with self._store.locks.hold(_lock(user)):
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    number = _parse_version(version)
                    backup = key_backup.get_backup(snapshot, user, number)
                    if backup is None:
                        raise _no_backup()
                    if not backup.is_deleted:
                        key_backup.stage_deleted(turn, user, number, backup)
            is_done = False
            while not is_done:
                async with self._store.writer.turn(may_use_reserve=True) as turn:
                    with self._store.snapshot() as snapshot:
                        is_done = key_backup.stage_keys_removed(snapshot, turn, user, number, limit=PAGE)

    async def put_keys(self, requester: Requester, version: str, rooms: Rooms) -> dict[str, Any]:
        """Add keys to the current version, each if it is better than the one that is there.

        Returns ``etag`` and ``count``. Raises ``M_WRONG_ROOM_KEYS_VERSION`` for another version than the current one,
        ``NotFound``, ``BadJson``, ``Malformed``.
        """
        keys = []
        for number, key in enumerate(_parse_rooms(rooms)):
            if number % PAGE == 0:
                await trio.lowlevel.checkpoint()
            keys.append(key)
        pages = [keys[at : at + PAGE] for at in range(0, len(keys), PAGE)] or [[]]
        state: dict[str, Any] = {}
        async with self._store.locks.hold(_lock(requester.user)):
            for page in pages:
                async with self._store.writer.turn() as turn:
                    with self._store.snapshot() as snapshot:
                        number, backup = _require_to_write(snapshot, requester.user, version)
                        state = _stage_page(snapshot, turn, requester.user, number, backup, page)
        return state

    def require_key(self, requester: Requester, version: str, room_id: str, session_id: str) -> dict[str, Any]:
        """One key. Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            number, _ = _require(snapshot, requester.user, version)
            key = key_backup.get_key(snapshot, requester.user, number, room_id, session_id)
        if key is None:
            raise NotFound("Key not found.")
        parsed: dict[str, Any] = orjson.loads(_render(key))
        return parsed

    def open_keys(self, requester: Requester, version: str, room_id: str | None) -> AsyncIterator[bytes]:
        """The keys of a room (``{"sessions": ...}``) or of all (``{"rooms": ...}``), as parts of a JSON text.

        Raises ``NotFound`` at once, not when it is read.
        """
        with self._store.snapshot() as snapshot:
            number, _ = _require(snapshot, requester.user, version)
        return self._read_keys(requester.user, number, room_id)

    async def _read_keys(self, user: ShortUserId, version: int, room_id: str | None) -> AsyncIterator[bytes]:
        yield b'{"rooms":{' if room_id is None else b'{"sessions":{'
        last: BackupKeyId | None = None
        while True:
            with self._store.snapshot() as snapshot:
                page = list(islice(key_backup.scan_keys(snapshot, user, version, room_id, after=last), PAGE))
            yield _render_page(page, last, has_rooms=room_id is None)
            if page:
                last = page[-1][0]
            if len(page) < PAGE:
                break
            await trio.lowlevel.checkpoint()
        yield b"}}}}" if room_id is None and last is not None else b"}}"

    async def delete_keys(
        self, requester: Requester, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """Remove keys from any version. Returns ``etag`` and ``count``; raises ``NotFound`` for the version only."""
        user, state, is_going_on = requester.user, dict[str, Any](), True
        async with self._store.locks.hold(_lock(user)):
            while is_going_on:
                async with self._store.writer.turn(may_use_reserve=True) as turn:
                    with self._store.snapshot() as snapshot:
                        number, backup = _require(snapshot, user, version)
                        found = list(islice(_scan_ids(snapshot, user, number, room_id, session_id), PAGE))
                        for key_id in found:
                            key_backup.stage_key_removed(turn, key_id)
                        state = _stage_state(turn, user, number, backup, -len(found), is_changed=bool(found))
                is_going_on = len(found) == PAGE
        return state


def _lock(user: ShortUserId) -> tuple[str, ShortUserId]:
    return ("key_backup", user)


def _stage_place(snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
    """Make room for one more version. Raises ``Forbidden``."""
    backups = list(key_backup.scan_backups(snapshot, user))
    if len(backups) < BACKUPS_PER_USER_MAX:
        return
    for version, backup in backups:
        if backup.is_deleted:
            key_backup.stage_forgotten(turn, user, version)
            return
    raise Forbidden(f"There must not be more than {BACKUPS_PER_USER_MAX} backups: delete one first")


def _stage_page(
    snapshot: Snapshot,
    turn: Turn,
    user: ShortUserId,
    version: int,
    backup: Backup,
    page: list[tuple[str, str, BackedUpKey]],
) -> dict[str, Any]:
    added, is_changed = 0, False
    for room_id, session_id, key in page:
        stored = key_backup.get_key(snapshot, user, version, room_id, session_id)
        if stored is None or is_better(key, stored):
            key_backup.stage_key(turn, BackupKeyId(user, version, room_id, session_id), key)
            is_changed = True
            added += stored is None
    if backup.key_count + added > BACKUP_KEYS_MAX:
        raise TooLarge(f"A backup must not have more than {BACKUP_KEYS_MAX} keys")
    return _stage_state(turn, user, version, backup, added, is_changed=is_changed)


def _stage_state(
    turn: Turn, user: ShortUserId, version: int, backup: Backup, difference: int, *, is_changed: bool
) -> dict[str, Any]:
    if is_changed:
        backup = backup._replace(key_count=backup.key_count + difference, etag=turn.take_pos())
        key_backup.stage_backup(turn, user, version, backup)
    return {"etag": str(backup.etag), "count": backup.key_count}


def is_better(key: BackedUpKey, than: BackedUpKey) -> bool:
    """Which of two keys for one session to keep: see the three rules of the spec."""

    def rank(key: BackedUpKey) -> tuple[bool, int, int]:
        return (not key.is_verified, key.first_message_index, key.forwarded_count)

    return rank(key) < rank(than)


def _scan_ids(
    snapshot: Snapshot, user: ShortUserId, version: int, room_id: str | None, session_id: str | None
) -> Iterator[BackupKeyId]:
    if room_id is not None and session_id is not None:
        if key_backup.get_key(snapshot, user, version, room_id, session_id) is not None:
            yield BackupKeyId(user, version, room_id, session_id)
        return
    for key_id, _ in key_backup.scan_keys(snapshot, user, version, room_id):
        yield key_id


def _parse_version(version: str) -> int:
    """Raises ``NotFound`` for what was never handed out."""
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        raise _no_backup()
    return int(version)


def _require(snapshot: Snapshot, user: ShortUserId, version: str) -> tuple[int, Backup]:
    number = _parse_version(version)
    backup = key_backup.get_backup(snapshot, user, number)
    if backup is None or backup.is_deleted:
        raise _no_backup()
    return number, backup


def _require_current(snapshot: Snapshot, user: ShortUserId) -> tuple[int, Backup]:
    current = key_backup.get_current(snapshot, user)
    if current is None:
        raise NotFound("No current backup version")
    return current


def _require_to_write(snapshot: Snapshot, user: ShortUserId, version: str) -> tuple[int, Backup]:
    """Keys are only added to the current version."""
    number, backup = _require_current(snapshot, user)
    if version != str(number):
        raise MatrixError(
            "Wrong backup version.",
            errcode="M_WRONG_ROOM_KEYS_VERSION",
            status=403,
            extra={"current_version": str(number)},
        )
    return number, backup


def _no_backup() -> NotFound:
    return NotFound("Unknown backup version")


def _encode_auth_data(algorithm: str, auth_data: Json) -> str:
    text = orjson.dumps(auth_data).decode()
    if len(text) > AUTH_DATA_BYTES_MAX or len(algorithm) > ALGORITHM_CHARS_MAX:
        raise TooLarge(f"auth_data must not exceed {AUTH_DATA_BYTES_MAX} bytes")
    return text


def _parse_rooms(rooms: Rooms) -> Iterator[tuple[str, str, BackedUpKey]]:
    for room_id, sessions in rooms.items():
        parse_room_id(room_id)
        for session_id, key in sessions.items():
            if not 0 < len(session_id.encode()) <= SESSION_ID_BYTES_MAX or "\0" in session_id:
                raise InvalidParam(f"A session id must be 1 to {SESSION_ID_BYTES_MAX} bytes")
            yield room_id, session_id, _parse_key(key)


def _parse_key(key: Json) -> BackedUpKey:
    index, forwarded = key.get("first_message_index"), key.get("forwarded_count")
    is_verified, data = key.get("is_verified"), key.get("session_data")
    for number in (index, forwarded):
        if type(number) is not int or not 0 <= number <= INT_MAX:
            raise BadJson("first_message_index and forwarded_count must be numbers from 0")
    if not isinstance(is_verified, bool) or not isinstance(data, dict):
        raise BadJson("is_verified must be true or false, and session_data an object")
    text = orjson.dumps(data).decode()
    if len(text) > SESSION_DATA_BYTES_MAX:
        raise TooLarge(f"session_data must not exceed {SESSION_DATA_BYTES_MAX} bytes")
    assert isinstance(index, int)
    assert isinstance(forwarded, int)
    return BackedUpKey(index, forwarded, is_verified, text)


def _render(key: BackedUpKey) -> bytes:
    return b'{"first_message_index":%d,"forwarded_count":%d,"is_verified":%s,"session_data":%s}' % (
        key.first_message_index,
        key.forwarded_count,
        b"true" if key.is_verified else b"false",
        key.session_data.encode(),
    )


def _render_page(page: list[tuple[BackupKeyId, BackedUpKey]], last: BackupKeyId | None, *, has_rooms: bool) -> bytes:
    """What follows upon the key ``last``: a room is opened where it begins and closed where the next one does."""
    parts: list[bytes] = []
    for room_id, keys in groupby(page, key=lambda row: row[0].room_id):
        sessions = b",".join(orjson.dumps(key_id.session_id) + b":" + _render(key) for key_id, key in keys)
        is_going_on = last is not None and (not has_rooms or last.room_id == room_id)
        if is_going_on:
            parts.append(b"," + sessions)
        elif has_rooms:
            parts.append((b"}}," if last is not None else b"") + orjson.dumps(room_id) + b':{"sessions":{' + sessions)
        else:
            parts.append(sessions)
        last = BackupKeyId(page[0][0].user, page[0][0].version, room_id, "")
    return b"".join(parts)
