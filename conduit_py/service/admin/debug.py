"""Commands for whoever looks closely: events as servers exchange them, and signatures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
import trio

from conduit_py.data import short_ids, timeline
from conduit_py.data.auth_chain import get_auth_events
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.event_builder import sign_and_hash
from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import EventId, KeyId, Malformed, RoomId, ServerName, parse_event_id, parse_key_id
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.room_versions import RoomVersion, get_room_version
from conduit_py.matrix.signing import InvalidSignature, SigningKey, required_signers, sign_json, verify_json_signature
from conduit_py.service.admin.commands import Answer, Call
from conduit_py.service.admin.things import parse_json_body, show_json
from conduit_py.service.admin.words import plural
from conduit_py.service.errors import NotFound
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import OUTLIER, REJECTED, SOFT_FAILED

CHAIN_MAX: Final = 100_000
CHAIN_PER_STEP: Final = 2_000
SIGNATURES_MAX: Final = 50
"""Of one JSON that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugTools:
    """What the commands work with."""

    store: Store
    server_name: ServerName
    signing_key: SigningKey
    keys: KeyRing
    default_room_version: str


def build_debug_commands(tools: DebugTools) -> tuple[click.Command, ...]:
    """All of them."""
    return (*_build_event_commands(tools), *_build_signature_commands(tools))


def _build_event_commands(tools: DebugTools) -> Iterator[click.Command]:
    @click.command("get-pdu")
    @click.argument("event_id")
    async def get_pdu(event_id: str) -> Answer:
        """Show an event as this server has it."""
        with tools.store.snapshot() as snapshot:
            found = timeline.find_row(snapshot, EventId(parse_event_id(event_id)))
            if found is None:
                raise NotFound(f"This server does not have {event_id}")
            _, row = found
            room_id = RoomId(short_ids.get_room_record(snapshot, row.room).room_id)
            json = parse_json(timeline.federation_json(row, room_id))
        standing = [
            name
            for flag, name in ((OUTLIER, "an outlier"), (REJECTED, "rejected"), (SOFT_FAILED, "soft-failed"))
            if row.flags & flag
        ] or ["accepted"]
        place = f"at place {row.pos} of its timeline" if row.pos else "without a place in its timeline"
        redacted = ", redacted" if row.redacted_by else ""
        return Answer(text=f"{' and '.join(standing)}, {place}{redacted}\n{show_json(json)}", is_table=True)

    @click.command("get-auth-chain")
    @click.argument("event_id")
    async def get_auth_chain(event_id: str) -> Answer:
        """Count the events that allowed an event: its auth chain."""
        with tools.store.snapshot() as snapshot:
            event = timeline.get_event(snapshot, EventId(parse_event_id(event_id)))
        if event is None:
            raise NotFound(f"This server does not have {event_id}")
        started = time.perf_counter()
        length = await _count_chain(tools.store, event)
        more = " or more" if length >= CHAIN_MAX else ""
        took_ms = (time.perf_counter() - started) * 1000
        return Answer(text=f"The auth chain has {plural(length, 'event')}{more}. It took {took_ms:.1f} ms to walk it.")

    @click.command("parse-pdu")
    @click.option("--room-version", default=tools.default_room_version, help="The version of the event's room.")
    @click.pass_obj
    async def parse_pdu_(call: Call, room_version: str) -> Answer:
        """Check whether the JSON below is an event, and show its id. It is not kept."""
        version, json = _require_version(room_version), parse_json_body(call, "the event")
        try:
            event_id = parse_pdu(json, version).event_id
        except Malformed as error:
            return Answer(text=f"This is no event of room version {version.id}: {error}.", ok=False)
        hash_is = "right" if content_hash_matches(json, version) else "wrong: servers see the event redacted"
        signers = ", ".join(sorted(required_signers(json, version)))
        return Answer(
            text=f"Event id: {event_id}\nContent hash: {hash_is}\nHas to be signed by: {signers}", is_table=True
        )

    return iter((get_pdu, get_auth_chain, parse_pdu_))


def _build_signature_commands(tools: DebugTools) -> Iterator[click.Command]:
    @click.command("sign-json")
    @click.pass_obj
    async def sign_json_(call: Call) -> Answer:
        """Sign the JSON below with the key of this server."""
        json = parse_json_body(call, "the JSON")
        signed = sign_json(json, entity=tools.server_name, signing_key=tools.signing_key)
        return Answer(text=show_json(signed), is_table=True)

    @click.command("verify-json")
    @click.pass_obj
    async def verify_json(call: Call) -> Answer:
        """Verify the signatures of servers on the JSON below. Their keys are asked for where they are not known."""
        json = parse_json_body(call, "the JSON")
        signatures = list(_scan_signatures(json))
        if not signatures:
            return Answer(text="There are no signatures of servers.", ok=False)
        lines, is_right = [], True
        for server_name, key_id in signatures:
            why = await _find_fault(tools.keys, json, server_name, key_id)
            lines.append(f"{server_name} {key_id}: {why or 'right'}")
            is_right = is_right and why is None
        return Answer(text="\n".join(lines), is_table=True, ok=is_right)

    @click.command("hash-and-sign-event")
    @click.argument("room_version")
    @click.pass_obj
    async def hash_and_sign_event(call: Call, room_version: str) -> Answer:
        """Hash and sign the event below as this server would in a room of ROOM_VERSION. It is not sent."""
        version, json = _require_version(room_version), parse_json_body(call, "the event")
        event_id = None
        if version.event_format.event_id_format == "random":
            own_id = json.get("event_id")
            if not isinstance(own_id, str):
                raise click.UsageError(f"Events of room version {version.id} have an event_id of their own")
            event_id = EventId(parse_event_id(own_id))
        pdu = sign_and_hash(json, version, tools.server_name, tools.signing_key, event_id=event_id)
        return Answer(text=f"{pdu.event_id}\n{show_json(pdu.json)}", is_table=True)

    return iter((sign_json_, verify_json, hash_and_sign_event))


async def _count_chain(store: Store, event: ShortEventId) -> int:
    seen: set[ShortEventId] = set()
    stack = [event]
    while stack and len(seen) < CHAIN_MAX:
        with store.snapshot() as snapshot:
            for _ in range(min(CHAIN_PER_STEP, len(stack))):
                new = [it for it in get_auth_events(snapshot, stack.pop()) if it not in seen]
                seen.update(new)
                stack += new
        await trio.lowlevel.checkpoint()
    return len(seen)


def _require_version(name: str) -> RoomVersion:
    version = get_room_version(name)
    if version is None:
        raise click.UsageError(f"This server does not know the room version {name}")
    return version


def _scan_signatures(json: dict[str, Any]) -> Iterator[tuple[ServerName, KeyId]]:
    signatures = json.get("signatures")
    left = SIGNATURES_MAX
    for entity, by_key in signatures.items() if isinstance(signatures, dict) else ():
        for name in by_key if isinstance(by_key, dict) else ():
            try:
                key_id = parse_key_id(name)
            except Malformed:
                continue
            if left and not entity.startswith("@"):
                left -= 1
                yield ServerName(entity), key_id


async def _find_fault(keys: KeyRing, json: dict[str, Any], server_name: ServerName, key_id: KeyId) -> str | None:
    found = await keys.fetch_keys(server_name, [key_id], minimum_valid_until_ts=0)
    key = found.get(key_id)
    if key is None:
        return "the key cannot be had"
    try:
        verify_json_signature(json, entity=server_name, key_id=key_id, public_key=key.public_key)
    except InvalidSignature as error:
        return f"wrong ({error})"
    return None
