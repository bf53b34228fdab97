"""The server's own facts and the positions it has handed out: ``kvschema.catalog.server``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.server import get_keypair
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import KEY_BYTES, SigningKey
from conduit_py.storage.database import Snapshot
from kvschema.catalog import PRODUCT, account_data, members, receipts, rooms, server, state, timeline

_FACTS = frozenset(
    {
        "product",
        "schema",
        "server_name",
        "catalog",
        "position",
        "keypair",
        "first_admin_token",
        "admin_made",
        "admin_room",
        "registration_closed",
        "put_back",
    }
)


def get_server_name(snapshot: Snapshot) -> ServerName:
    """Of the server whose store this is, empty where that is not written down."""
    return ServerName((server.GLOBAL.get(snapshot, server.ByName("server_name")) or b"").decode(errors="replace"))


def get_signing_key(snapshot: Snapshot) -> SigningKey | None:
    keypair = get_keypair(snapshot)
    if keypair is None or len(keypair[1]) != KEY_BYTES:
        return None
    return SigningKey.from_seed(KeyId(keypair[0]), keypair[1])


def check_facts(snapshot: Snapshot) -> Iterator[str]:
    """The store says whose it is, its signing key is whole, and it knows no facts that we do not."""
    facts = {key.name: value for key, value in server.GLOBAL.scan(snapshot)}
    if facts.get("product") != PRODUCT.encode():
        yield f"global: the product is {facts.get('product')!r}"
    if not facts.get("schema", b"").isdigit():
        yield f"global: the schema is {facts.get('schema')!r}"
    if not facts.get("server_name"):
        yield "global: the server has no name"
    if "keypair" in facts and get_signing_key(snapshot) is None:
        yield "global: the signing key is not whole"
    if len(facts.get("position", bytes(8))) != 8:
        yield "global: the position is no number"
    for name in sorted(facts.keys() - _FACTS):
        yield f"global: nobody writes {name!r}"


def check_position(snapshot: Snapshot) -> Iterator[str]:
    """Nothing in any stream, and no short id, lies past the position that the store says it has reached."""
    for where, pos in _positions(snapshot):
        if pos > snapshot.pos:
            yield f"global: the position is {snapshot.pos}, and {where} has {pos}"


def _positions(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot):
        yield "shorteventid_pdu", max(key.event, row.pos)
    for states in state.STATEID_STATEDIFF.scan_keys(snapshot):
        yield "shortstatehash_statediff", states.state
    for interned in (rooms.SHORTROOMID_ROOM, rooms.SHORTUSERID_USERID, rooms.SHORTSTATEKEY_STATEKEY):
        for short in interned.scan_keys(snapshot):
            yield interned.name, short[0]
    for stream in (members.USERPOS_MEMBERSHIPCHANGE, account_data.USERPOS_ACCOUNTDATA, receipts.READRECEIPT):
        for place in stream.scan_keys(snapshot):
            yield stream.name, place[1]


def check_start_gaps(snapshot: Snapshot) -> Iterator[str]:
    """Each start went on from past what was stored, and was stored past the start before it."""
    last_end = 0
    for key, end in server.STARTGAP.scan(snapshot):
        if not last_end <= key.pos < end:
            yield f"startgap: positions {key.pos} to {end} were skipped after {last_end} was reached"
        if key.pos > snapshot.pos:
            yield f"startgap: position {key.pos} was stored, and the store has reached {snapshot.pos}"
        last_end = end
