"""Which servers are told of an event of ours."""

from __future__ import annotations

from collections import Counter

from conduit_py.data import members
from conduit_py.data.members import MemberChange
from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE, JOIN, KNOCK
from kvschema.catalog.rooms import ShortRoomId


class ServerChanges:
    """What changes of membership mean for servers."""

    def __init__(self) -> None:
        self.joined: Counter[ServerName] = Counter()
        """How many more joined members each has."""
        self.leaving: set[ServerName] = set()

    def note(self, change: MemberChange) -> None:
        name, after = change.server_name, change.after
        if after not in (JOIN, INVITE, KNOCK) and change.before in (JOIN, INVITE, KNOCK):
            # Also whoever was only invited or knocking: nobody else tells that server that it is over.
            self.leaving.add(name)
        self.joined[name] += (after == JOIN) - (change.before == JOIN)


class JoinedServers:
    """Servers with joined members in a room that is being written to, with what was staged on top."""

    def __init__(self, snapshot: Snapshot, room: ShortRoomId) -> None:
        self._snapshot = snapshot
        self._room = room
        self._joined: Counter[ServerName] | None = None
        self._leaving: set[ServerName] = set()

    def note(self, changes: ServerChanges) -> None:
        """Memberships change by the event that is being staged."""
        self._leaving |= changes.leaving
        self._read().update(changes.joined)

    def take_told(self) -> set[ServerName]:
        """Those that were in the room before the event that is being staged, or are after it; us too."""
        told = {name for name, count in self._read().items() if count > 0} | self._leaving
        self._leaving = set()
        return told

    def _read(self) -> Counter[ServerName]:
        if self._joined is None:
            self._joined = Counter(members.get_servers_with_counts(self._snapshot, self._room))
        return self._joined
