"""Joining a large room, and receiving in one: that the measurements work, and what both may cost."""

from __future__ import annotations

import pytest

from bench.federation import SHAPES, measure_join, measure_receive

MEMORY_MIB_MAX = 400
"""Above what the idle server has, for a room of 50,000 members and 100,000 events in its auth chain."""
BUSY_MS_MAX = 250
"""Without a break for others. Collecting garbage takes up to half of it, and this has to hold on a busy machine."""

FLOOD_MIB_MAX = 150
"""Above what the server had before 10,000 events came: mostly the cache of the database."""
FLOOD_BUSY_MS_MAX = 150
"""50 events take 30 ms where they are a chain, and half a collection of garbage may fall into them."""


def test_join_of_a_made_up_room_is_measured() -> None:
    figures = measure_join(members=30, events_per_member=2)
    assert figures.answer_mib > 0.03
    assert 0 < figures.seconds < 60
    assert figures.peak_mib > figures.idle_mib > 0


@pytest.mark.slow
def test_join_of_a_large_room_stays_small() -> None:
    figures = measure_join(members=50_000, events_per_member=3)
    assert figures.answer_mib > 80
    assert figures.peak_mib - figures.idle_mib < MEMORY_MIB_MAX
    assert figures.busy_ms < BUSY_MS_MAX


@pytest.mark.parametrize("shape", SHAPES)
def test_receiving_in_a_made_up_room_is_measured(shape: str) -> None:
    received = measure_receive(members=30, events=120, shape=shape)
    assert 0 < received.seconds < 60
    assert received.cpu_seconds > 0
    assert received.peak_mib >= received.idle_mib > 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_flood_of_events_stays_small(shape: str) -> None:
    """10,000 events: in a chain, and such that each of them is one more end of the room."""
    received = measure_receive(members=1_000, events=10_000, shape=shape)
    assert received.peak_mib - received.idle_mib < FLOOD_MIB_MAX
    assert received.busy_ms < FLOOD_BUSY_MS_MAX
