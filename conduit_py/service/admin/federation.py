"""Commands about other servers: how sending to them stands, and asking them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import click

from conduit_py.data import destinations, members
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.ids import EventId, ServerName, parse_event_id, parse_server_name
from conduit_py.outbound.federation import FederationClient, build_path
from conduit_py.outbound.federation_events import fetch_event
from conduit_py.service.admin.commands import Answer
from conduit_py.service.admin.things import page_line, page_option, show_json, show_time, take_page
from conduit_py.service.admin.words import plural, table
from conduit_py.service.sending.senders import DestinationStatus, Senders
from conduit_py.service.users.store import Store

PING_TIMEOUT_S: Final = 15.0
VERSION_BYTES_MAX: Final = 10_000
SHOWN_CHARS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationTools:
    """What the commands work with."""

    store: Store
    senders: Senders
    client: FederationClient


def build_federation_commands(tools: FederationTools) -> tuple[click.Command, ...]:
    """All of them."""
    store, senders = tools.store, tools.senders

    @click.command("federation-status")
    @click.argument("server", required=False)
    @page_option
    async def federation_status(server: str | None, page: int) -> Answer:
        """Show how sending to other servers stands: what waits, and who cannot be reached.

        With SERVER everything about one of them.
        """
        if server is not None:
            return Answer(text=_describe(store, senders.get_status(_parse_server(server))), is_table=True)
        statuses = sorted(senders.scan_statuses(), key=lambda it: (-it.failing_since_ms, -it.events, it.server_name))
        if not statuses:
            return Answer(text="Nothing waits for any server, and none fails.")
        rows: list[tuple[str, ...]] = [("SERVER", "EVENTS", "EDUS", "STATE")]
        rows += [(it.server_name, _events(it), str(it.edus), _state(it)) for it in take_page(statuses, page)]
        title = f"{plural(len(statuses), 'server')}{page_line(page, len(statuses))}"
        return Answer(text=f"{title}:\n{table(rows)}", is_table=True)

    @click.command("retry-destination")
    @click.argument("server")
    async def retry_destination(server: str) -> Answer:
        """Try now to reach a server that could not be reached.

        Where it is is looked up anew.
        """
        name = _parse_server(server)
        async with store.writer.turn(may_use_reserve=True) as turn:
            destinations.stage_forgotten(turn, name)
        is_tried = senders.retry(name)
        return Answer(text=f"{name} is being tried." if is_tried else f"Nothing waits for {name}.")

    @click.command("ping-server")
    @click.argument("server")
    async def ping_server(server: str) -> Answer:
        """Ask a server for its name and version."""
        name = _parse_server(server)
        path = build_path("_matrix", "federation", "v1", "version")
        answer = await tools.client.fetch("GET", name, path, timeout_s=PING_TIMEOUT_S, bytes_max=VERSION_BYTES_MAX)
        return Answer(text=f"{name} answers:\n{show_json(answer.get('server'))}", is_table=True)

    @click.command("fetch-pdu")
    @click.argument("server")
    @click.argument("event_id")
    async def fetch_pdu(server: str, event_id: str) -> Answer:
        """Ask a server for an event and show it. It is neither checked nor kept."""
        pdu = await fetch_event(tools.client, _parse_server(server), EventId(parse_event_id(event_id)))
        return Answer(text=show_json(parse_json(pdu))[:SHOWN_CHARS_MAX], is_table=True)

    return federation_status, retry_destination, ping_server, fetch_pdu


def _parse_server(typed: str) -> ServerName:
    return ServerName(parse_server_name(typed))


def _events(status: DestinationStatus) -> str:
    return f"{status.events}{' and the last of each room' if status.is_behind else ''}"


def _state(status: DestinationStatus) -> str:
    if status.is_sending:
        return "sending"
    if status.failing_since_ms:
        return f"failing since {show_time(status.failing_since_ms)}, tried again {show_time(status.retry_ms)} UTC"
    return "waiting"


def _describe(store: Store, status: DestinationStatus) -> str:
    with store.snapshot() as snapshot:
        shared = members.count_rooms_of_server(snapshot, status.server_name)
        delegation = destinations.get_delegation(snapshot, status.server_name)
    is_idle = not (status.events or status.edus or status.failing_since_ms or status.is_sending)
    facts = [
        ("Server:", status.server_name),
        ("State:", "idle" if is_idle else _state(status)),
        ("Failed in a row:", str(status.failures)),
        ("Events that wait:", _events(status)),
        ("EDUs that wait:", str(status.edus)),
        ("Rooms shared:", str(shared)),
        ("Delegates to:", delegation.delegated if delegation is not None and delegation.delegated else "nobody known"),
    ]
    return table(list(facts))
