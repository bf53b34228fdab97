"""Whom to ask for what an event refers to: who sent it, and where that does not help, others in the room.

Who sends events that refer to what nobody has makes the others be asked in vain. So after such a failure nobody else is
asked the same kind of question about what that server sends of the room, for a while, and longer each time; and a
server that does not answer is left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, islice
from typing import Final, TypeVar

from conduit_py.data import members, state
from conduit_py.data.rooms import Room
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, RoomId, ServerName, parse_user_id, server_name_of
from conduit_py.outbound.errors import RemoteError, Unreachable
from conduit_py.service.federation.pauses import Pauses
from conduit_py.storage.database import Database, Snapshot

_log = get_logger(__name__)

SERVERS_MAX: Final = 5
"""Servers of a room that are asked for its history, one after the other."""
OTHERS_MAX: Final = 3
"""Servers that are asked beside the one that sent an event."""
PAUSE_MS: Final = 60_000
PAUSE_MAX_MS: Final = 3_600_000

T = TypeVar("T")


class Sources:
    """One per server; ``server_name`` is its own, and ``is_failing`` tells who does not take what is sent."""

    def __init__(
        self,
        database: Database,
        *,
        server_name: ServerName,
        is_failing: Callable[[ServerName], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._server_name = server_name
        self._is_failing = is_failing
        self._pauses = Pauses(first_ms=PAUSE_MS, longest_ms=PAUSE_MAX_MS, now_ms=now_ms)

    def scan(self, what: str, origin: ServerName, room: Room) -> Iterator[ServerName]:
        """``origin``, and those that may help where it does not. Whoever is not needed is not looked for.

        ``what`` is the kind of question.
        """
        yield origin
        if not self._pauses.is_over((what, origin, room.room_id)):
            return
        with self._database.snapshot() as snapshot:
            servers = choose_servers(snapshot, room, own=self._server_name)
        others = (name for name in servers if name != origin and self.may_ask(name))
        yield from islice(others, OTHERS_MAX)

    async def ask(
        self, what: str, origin: ServerName, room: Room, question: Callable[[ServerName], Awaitable[T | None]]
    ) -> T | None:
        """The first answer that is of use. ``question`` returns None for one that is not."""
        for server_name in self.scan(what, origin, room):
            try:
                answer = await question(server_name)
            except RemoteError as error:
                self.note_failure(server_name, error)
                continue
            if answer is not None:
                if server_name != origin:
                    self._pauses.forget((what, origin, room.room_id))
                return answer
        self.note_in_vain(what, origin, room.room_id)
        return None

    def may_ask(self, server_name: ServerName) -> bool:
        """False for a server that did not answer a while ago."""
        return not self._is_failing(server_name) and self._pauses.is_over(("server", server_name))

    def note_failure(self, server_name: ServerName, error: RemoteError) -> None:
        """The server gave nothing."""
        _log.debug("what an event refers to cannot be fetched", server=server_name, error=str(error))
        if isinstance(error, Unreachable):
            self._pauses.note(("server", server_name), has_failed=True)

    def note_in_vain(self, what: str, origin: ServerName, room_id: RoomId) -> None:
        """What the server sent of the room refers to what nobody has given."""
        key = (what, origin, room_id)
        if self._pauses.is_over(key):
            self._pauses.note(key, has_failed=True)


def choose_servers(snapshot: Snapshot, room: Room, *, own: ServerName) -> list[ServerName]:
    """Servers in the room, those first that are likely to have all of it: of who has power, of who made it."""
    joined = dict.fromkeys(name for name in members.scan_servers(snapshot, room.short) if name != own)
    levels = state.get_current_pdu(snapshot, room.short, "m.room.power_levels", "")
    create = state.get_current_pdu(snapshot, room.short, "m.room.create", "")
    users = {} if levels is None else levels.content.get("users", {})
    by_power = sorted(users.items(), key=lambda entry: -_level(entry[1])) if isinstance(users, dict) else []
    named = [user_id for user_id, _ in by_power]
    if create is not None:
        named.append(create.sender)
    likely = (name for name in map(_server_of, named) if name in joined)
    return list(islice(dict.fromkeys(chain(likely, joined)), SERVERS_MAX))


def _level(value: object) -> int:
    return value if isinstance(value, int) else 0


def _server_of(user_id: str) -> ServerName | None:
    try:
        return server_name_of(parse_user_id(user_id))
    except Malformed:
        return None
