"""What is published of the server's own keys."""

from __future__ import annotations

from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import parse_server_keys
from conduit_py.service.federation.own_keys import RENEWED_MS, VALID_MS, OldKey, OwnKeys
from tests.service.federation.servers import OWN_KEY

OLD = KeyId("ed25519:old")


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def make(clock: Clock) -> OwnKeys:
    return OwnKeys(ServerName("one.test"), OWN_KEY, now_ms=clock, old_keys={OLD: OldKey(bytes(32), 7)})


def test_published_keys_are_what_other_servers_accept() -> None:
    clock = Clock()
    own_keys = make(clock)
    parsed = parse_server_keys(own_keys.get_published(), fetched_ts=clock.now_ms)
    assert parsed.server_name == "one.test"
    assert parsed.keys[OWN_KEY.key_id].public_key == OWN_KEY.public_key
    assert parsed.keys[OLD].expired_ts == 7
    assert parsed.valid_until_ts == clock.now_ms + VALID_MS


def test_published_keys_always_have_time_left() -> None:
    clock = Clock()
    own_keys = make(clock)
    first = own_keys.get_published()
    clock.now_ms += RENEWED_MS
    assert own_keys.get_published() is first
    clock.now_ms += 1
    assert own_keys.get_published()["valid_until_ts"] == clock.now_ms + VALID_MS


def test_own_keys_are_the_published_ones() -> None:
    own_keys = make(Clock())
    assert {key_id: key.public_key for key_id, key in own_keys.get_verify_keys().items()} == {
        OLD: bytes(32),
        OWN_KEY.key_id: OWN_KEY.public_key,
    }
