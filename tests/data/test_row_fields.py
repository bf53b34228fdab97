"""Fields found in the bytes of an event are those that decoding it would find, whatever the sender wrote."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.data import row_fields
from conduit_py.data.timeline import split_pdu
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StateId
from kvschema.catalog.timeline import EventRow

NASTY = st.sampled_from(
    ['"', "\\", '","type":"', '"sender":"@eve:evil.test"', '"origin_server_ts":1,', '"redacts":', "}", "url", "é☃"]
)
strings = st.lists(NASTY | st.text(st.characters(codec="utf-8"), max_size=5), max_size=4).map("".join)
keys = st.sampled_from(["content", "origin_server_ts", "redacts", "sender", "type", "state_key", "url", "body"])
numbers = st.integers(-(2**53) + 1, 2**53 - 1)
values: st.SearchStrategy[Any] = st.recursive(
    strings | numbers | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | strings, inner, max_size=3),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {
        "content": st.dictionaries(keys | strings, values, max_size=4),
        "origin_server_ts": numbers,
        "sender": strings,
        "type": strings | st.sampled_from(["m.room.member", "m.room.redaction"]),
    },
    optional={"state_key": strings, "redacts": values},
)


@given(events)
def test_fields_are_found_as_decoding_finds_them(event: dict[str, Any]) -> None:
    client, federation = split_pdu(event)
    row = EventRow(0, ShortRoomId(1), 1, StateId(0), ShortEventId(0), ShortEventId(0), "$id", client, federation)

    assert row_fields.get_sender(row) == event["sender"]
    assert row_fields.get_type(row) == event["type"]
    assert row_fields.get_origin_server_ts(row) == event["origin_server_ts"]
    assert orjson.loads(row_fields.get_content_json(row)) == event["content"]
    assert row_fields.has_url(row) is ("url" in event["content"])
    assert row_fields.is_of_type(row, "m.room.member") is (event["type"] == "m.room.member")
