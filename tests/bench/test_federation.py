"""Joining a large room: that the measurement works, and what it may cost."""

from __future__ import annotations

import pytest

from bench.federation import measure_join

MEMORY_MIB_MAX = 400
"""Above what the idle server has, for a room of 50,000 members and 100,000 events in its auth chain."""
BUSY_MS_MAX = 250
"""Without a break for others. Collecting garbage takes up to half of it, and this has to hold on a busy machine."""


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
