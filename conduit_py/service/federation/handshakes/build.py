"""The handshakes of one server, built in dependency order."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.config import Config
from conduit_py.service.appservices.build import AppServiceParts
from conduit_py.service.errands import Errands
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.handshakes.accepting import Acceptance
from conduit_py.service.federation.handshakes.invites.inviting import Inviting
from conduit_py.service.federation.handshakes.invites.received import InvitesReceived
from conduit_py.service.federation.handshakes.invites.third_party import ThirdPartyInvites
from conduit_py.service.federation.handshakes.joins.early import EarlyEvents
from conduit_py.service.federation.handshakes.joins.installing import Installer
from conduit_py.service.federation.handshakes.joins.join_body import JoinBodies, at_once, in_thread
from conduit_py.service.federation.handshakes.joins.joining import Joining
from conduit_py.service.federation.handshakes.leaving import Knocking, Leaving
from conduit_py.service.federation.handshakes.making import Making
from conduit_py.service.federation.handshakes.outside import Outside
from conduit_py.service.federation.handshakes.remote import ThroughOthers
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
    third_party: ThirdPartyInvites
    remote: ThroughOthers
    early: EarlyEvents
    errands: Errands
    """Its ``run`` belongs into the nursery tree."""


def build_handshakes(
    config: Config,
    store: Store,
    writes: RoomWrites,
    federation: Federation,
    appservices: AppServiceParts,
    *,
    has_threads: bool,
) -> Handshakes:
    """Without ``has_threads`` everything is done on the event loop, which tests with a mocked clock need."""
    aside = in_thread if has_threads else at_once
    append, client, keys = writes.append, federation.client, federation.keys
    checks, acceptance = federation.checks, Acceptance(writes)
    tools, making, errands = append.tools, Making(client, append), Errands()
    outside = Outside(store, tools.hub, tools.unread, appservices.queue)
    installer = Installer(store, writes, checks, keys, aside)
    bodies = JoinBodies(client, config.database_path if has_threads else None, aside)
    early = EarlyEvents()
    inviting = Inviting(writes, client, federation.http, keys, acceptance)
    third_party = ThirdPartyInvites(store.database, client, errands, inviting, server_name=append.server_name)
    return Handshakes(
        templates=Templates(store.database, writes),
        submissions=Submissions(store.database, writes, checks, acceptance),
        invites_received=InvitesReceived(store, append, checks, outside, appservices.queries),
        remote=ThroughOthers(
            errands,
            Joining(store, making, bodies, checks, acceptance, installer, early),
            Knocking(store, making, outside, checks),
            Leaving(store, making, outside),
            inviting,
            third_party,
        ),
        third_party=third_party,
        early=early,
        errands=errands,
    )
