from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import DeviceId, EventId, UserId
from conduit_py.matrix.unsigned import Sending, build_unsigned, compute_age_ms, drop_unsigned, get_transaction_id

ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")
PHONE, LAPTOP = DeviceId("PHONE"), DeviceId("LAPTOP")


def test_drop_unsigned_forgets_what_another_server_wrote() -> None:
    event = {"type": "x", "unsigned": {"age": 1, "redacted_because": {}}}
    assert drop_unsigned(event) == {"type": "x"}
    assert "unsigned" in event
    assert drop_unsigned({"type": "x"}) == {"type": "x"}


@pytest.mark.parametrize(
    ("user_id", "device_id", "shown"),
    [(ALICE, PHONE, "t1"), (ALICE, LAPTOP, None), (ALICE, None, None), (BOB, PHONE, None)],
)
def test_transaction_id_is_for_the_sending_device_alone(
    user_id: UserId, device_id: DeviceId | None, shown: str | None
) -> None:
    sending = Sending(user_id=ALICE, device_id=PHONE, txn_id="t1")
    assert get_transaction_id(sending, user_id, device_id) == shown


def test_transaction_id_of_an_event_sent_elsewhere_is_none() -> None:
    assert get_transaction_id(None, ALICE, PHONE) is None


def test_transaction_id_is_for_the_sending_application_service() -> None:
    sending = Sending(user_id=ALICE, device_id=None, txn_id="t1")
    assert get_transaction_id(sending, ALICE, None) == "t1"
    assert get_transaction_id(sending, ALICE, PHONE) is None


@pytest.mark.parametrize(("origin_server_ts", "age"), [(400, 600), (1000, 0), (1500, -500)])
def test_compute_age_ms_is_negative_when_the_other_clock_is_ahead(origin_server_ts: int, age: int) -> None:
    assert compute_age_ms(origin_server_ts, now_ms=1000) == age


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"transaction_id": "t1"}, "transaction_id"),
        ({"prev_content": {}}, "prev_content"),
        ({"replaces_state": EventId("$old")}, "replaces_state"),
        ({"redacted_because": {"type": "m.room.redaction"}}, "redacted_because"),
        ({"membership": "join"}, "membership"),
        ({"relations": {"m.replace": {}}}, "m.relations"),
        ({"invite_room_state": []}, "invite_room_state"),
        ({"knock_room_state": []}, "knock_room_state"),
    ],
)
def test_build_unsigned_has_what_is_given_and_nothing_else(given: dict[str, Any], key: str) -> None:
    assert build_unsigned(age_ms=5, **given) == {"age": 5, key: next(iter(given.values()))}


def test_build_unsigned_of_nothing_is_empty() -> None:
    assert build_unsigned(age_ms=None, relations={}) == {}
