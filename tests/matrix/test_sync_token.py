"""Tokens read back as they were written, and nothing else reads as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.sync_token import SyncToken, format_place, parse_place, parse_sync_token

positions = st.integers(min_value=0, max_value=(1 << 63) - 1)
boots = st.text("abcXYZ019", min_size=1, max_size=16)


@given(positions, boots, positions)
def test_sync_token_reads_back_as_it_was_written(pos: int, boot: str, typing: int) -> None:
    token = SyncToken(pos, boot, typing)

    assert parse_sync_token(str(token)) == token
    assert parse_place(str(token)) == pos


@given(positions, boots, positions, positions)
def test_sync_token_that_held_messages_back_reads_back(pos: int, boot: str, typing: int, held_back: int) -> None:
    token = SyncToken(pos, boot, typing, held_back)

    assert parse_sync_token(str(token)) == token
    assert token.to_device_pos == min(pos, held_back)
    assert SyncToken(pos, boot, typing).to_device_pos == pos


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_place_reads_back_as_it_was_written(place: int) -> None:
    assert parse_place(format_place(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s1",
        "s1_a",
        "s1_a_",
        "s1_a_0_",
        "s1_a_0_x",
        "s-1_a_0",
        "s01_a_0",
        "s1_ä_0",
        "s1_a_0 ",
        "s1_a_0\n",
        "s9223372036854775808_a_0",
    ],
)
def test_malformed_sync_token_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_sync_token(text)
    with pytest.raises(Malformed):
        parse_place(text)


@pytest.mark.parametrize("text", ["t", "t+1", "t01", "t-0", "t1.5", "t\u0661", "1", "t1\n", "t" + "9" * 30])
def test_malformed_place_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_place(text)
