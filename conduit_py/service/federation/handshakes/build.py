"""The handshakes of one server, built in dependency order."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.handshakes.interim import OnCurrentState
from conduit_py.service.federation.handshakes.invites_received import InvitesReceived
from conduit_py.service.federation.handshakes.submissions import Submissions
from conduit_py.service.federation.handshakes.templates import Templates
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshakes:
    """What handlers and services call."""

    templates: Templates
    submissions: Submissions
    invites_received: InvitesReceived


def build_handshakes(store: Store, writes: RoomWrites, federation: Federation) -> Handshakes:
    checks = federation.checks
    return Handshakes(
        templates=Templates(store.database, writes),
        submissions=Submissions(store.database, writes, checks, OnCurrentState(writes)),
        invites_received=InvitesReceived(store, writes.append, checks),
    )
