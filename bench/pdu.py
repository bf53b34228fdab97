"""How long one event takes: building, hashing and signing it, and parsing, hashing and verifying it.

Run with ``python -m bench.pdu``. Prints medians in microseconds and the share of them that is spent in libsodium.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, Final

import nacl.signing

from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.hashes import content_hash_matches, signed_bytes
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey, VerifyKey, verify_event_signatures

ROUNDS: Final = 400
EVENTS_PER_ROUND: Final = 10

BUILD_US_MAX: Final = 200
VERIFY_US_MAX: Final = 250

VERSION = ROOM_VERSIONS[DEFAULT_ROOM_VERSION]
SERVER = ServerName("one.test")
KEY = SigningKey.from_seed(KeyId("ed25519:bench"), bytes(32))
KEYS = {SERVER: {KEY.key_id: VerifyKey(KEY.key_id, KEY.public_key, valid_until_ts=2**53 - 1)}}
SENDER = UserId("@alice:one.test")
ROOM = RoomId("!" + "r" * 43)
CONTENT = {
    "msgtype": "m.text",
    "body": "Shall we meet at the station at ten, or is eleven better for everybody? " * 2,
    "format": "org.matrix.custom.html",
    "formatted_body": "Shall we meet at the <b>station</b> at ten, or is eleven better for everybody? " * 2,
    "m.mentions": {"user_ids": ["@bob:two.test", "@carol:three.test"]},
    "m.relates_to": {"m.in_reply_to": {"event_id": "$" + "e" * 43}},
}


def build(content: dict[str, Any]) -> Pdu:
    proto = build_event(
        room_version=VERSION,
        room_id=ROOM,
        type="m.room.message",
        sender=SENDER,
        state_key=None,
        content=content,
        prev_events=[EventId("$" + "p" * 43)],
        auth_events=[EventId("$" + letter * 43) for letter in "abc"],
        depth=1234,
        origin_server_ts=1_700_000_000_000,
    )
    return sign_and_hash(proto, VERSION, SERVER, KEY)


def receive(data: bytes) -> Pdu:
    pdu = parse_pdu(parse_json(data), VERSION)
    verify_event_signatures(pdu.json, VERSION, KEYS)
    if not content_hash_matches(pdu.json, VERSION):
        raise AssertionError("the benchmark's own event has a wrong hash")
    return pdu


def microseconds(run: Callable[[], object]) -> float:
    """Median time of one call, over rounds of several."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(EVENTS_PER_ROUND):
            run()
        times.append((perf_counter() - start) / EVENTS_PER_ROUND * 1e6)
    return median(times)


def report(what: str, whole: float, sodium: float, limit: int) -> None:
    verdict = "ok" if whole <= limit else "TOO SLOW"
    share = f"of which libsodium {sodium:6.1f} us ({sodium / whole:4.0%})"
    print(f"{what:<22} {whole:7.1f} us, {share}, limit {limit}: {verdict}")


def main() -> None:
    pdu = build(CONTENT)
    data = encode_canonical_json(pdu.json, strict=True)
    signed = signed_bytes(pdu.json, VERSION)
    private, public = nacl.signing.SigningKey(KEY.seed), nacl.signing.VerifyKey(KEY.public_key)
    signature = private.sign(signed).signature

    print(f"room version {VERSION.id}, {len(data)} bytes an event, {ROUNDS} rounds of {EVENTS_PER_ROUND}")
    report(
        "build + hash + sign",
        microseconds(lambda: build(CONTENT)),
        microseconds(lambda: private.sign(signed)),
        BUILD_US_MAX,
    )
    report(
        "parse + hash + verify",
        microseconds(lambda: receive(data)),
        microseconds(lambda: public.verify(signed, signature)),
        VERIFY_US_MAX,
    )
    print(f"parse_pdu alone        {microseconds(lambda: parse_pdu(pdu.json, VERSION)):7.1f} us")
    known = microseconds(lambda: parse_pdu(pdu.json, VERSION, event_id=pdu.event_id))
    print(f"  with a known id      {known:7.1f} us")


if __name__ == "__main__":
    main()
