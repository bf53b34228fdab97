"""Pauses between questions to the same server."""

from __future__ import annotations

from conduit_py.service.federation import pauses
from conduit_py.service.federation.pauses import Pauses


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def lengths(clock: Clock, waits: Pauses, *outcomes: bool) -> list[int]:
    """How long the pause is after each outcome (has it failed?)."""
    found = []
    for has_failed in outcomes:
        start = clock.now_ms
        waits.note("a", has_failed=has_failed)
        while not waits.is_over("a"):
            clock.now_ms += 1
        found.append(clock.now_ms - start)
    return found


def test_pause_doubles_with_each_failure_up_to_the_longest() -> None:
    clock = Clock()
    waits = Pauses(first_ms=10, longest_ms=50, now_ms=clock)
    assert waits.is_over("a")
    assert lengths(clock, waits, True, True, True, True, True) == [10, 20, 40, 50, 50]


def test_answer_begins_anew() -> None:
    clock = Clock()
    waits = Pauses(first_ms=10, longest_ms=50, now_ms=clock)
    assert lengths(clock, waits, True, True, False, True) == [10, 20, 10, 10]


def test_what_is_remembered_is_bounded() -> None:
    waits = Pauses(first_ms=10, longest_ms=50, now_ms=Clock())
    for number in range(pauses.REMEMBERED_MAX + 5):
        waits.note(number, has_failed=True)
    assert len(waits) == pauses.REMEMBERED_MAX
    assert waits.is_over(4)
    assert not waits.is_over(5)
