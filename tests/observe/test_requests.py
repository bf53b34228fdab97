"""Where the time of a request went is told to whoever should know."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
import trio

from conduit_py.observe.requests import (
    BODY,
    COMMIT,
    NEWS,
    OTHER,
    SLOW_REQUEST_S,
    WARNING_EVERY_S,
    RequestWatch,
    Tally,
    timed,
)
from tests.observe.test_loop import Clock, fields


class Story:
    """A watch with a clock that goes as a test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.observed: list[tuple[str, str, int, float]] = []
        self.watch = RequestWatch(lambda *answered: self.observed.append(answered), clock=self.clock)

    def request(self, seconds: float, waited: Mapping[str, float] = {}, *, status: int | None = 200) -> Tally:
        with self.watch.begin("r1", "GET") as tally:
            tally.route = "/things/<name>"
            self.clock.now += seconds
            for what, part in waited.items():
                tally.add(what, part)
            if status is not None:
                tally.answer(status)
                self.clock.now += 100  # its client takes its time
        return tally


@pytest.fixture
def story() -> Story:
    return Story()


def test_slow_request_is_warned_of_with_what_it_waited_for(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    story.request(SLOW_REQUEST_S + 1, {COMMIT: 2.5})
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "slow request")
    told = fields(record)
    assert (told["route"], told["ms"], told["commit_ms"]) == ("/things/<name>", 4000, 2500)


def test_waiting_for_news_or_for_the_client_makes_no_request_slow(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    story.request(60, {NEWS: 30, BODY: 29})
    assert caplog.records == []
    [(route, method, status, seconds)] = story.observed
    assert (route, method, status) == ("/things/<name>", "GET", 200)
    assert seconds == pytest.approx(1)


def test_slow_request_that_nobody_waited_for_is_warned_of_too(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    story.request(SLOW_REQUEST_S, status=None)
    assert fields(caplog.records[0])["status"] == "not answered"
    assert story.observed == []


def test_warnings_are_seldom(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with story.watch.begin("r1", "GET"):
            story.clock.now += SLOW_REQUEST_S + WARNING_EVERY_S / 10
    story.clock.now += WARNING_EVERY_S
    story.request(SLOW_REQUEST_S)
    assert [fields(record)["left_out"] for record in caplog.records] == [0, 1, 0]
    assert fields(caplog.records[0])["route"] == OTHER


class Trace:
    def __init__(self) -> None:
        self.added: list[tuple[str, dict[str, str]]] = []
        self.ended: tuple[str, int | None] | None = None

    def add(self, name: str, attributes: Mapping[str, str], started_ns: int, ended_ns: int) -> None:
        assert 0 < started_ns <= ended_ns
        self.added.append((name, dict(attributes)))

    def end(self, route: str, status: int | None) -> None:
        self.ended = route, status


class OneTracer:
    def __init__(self) -> None:
        self.trace = Trace()

    def begin(self, method: str, request_id: str) -> Trace:
        return self.trace


async def test_what_is_waited_for_is_tallied_by_request_in_its_tasks_too() -> None:
    tracer = OneTracer()
    watch = RequestWatch(tracer=tracer)

    async def wait() -> None:
        with timed("task", whom="two.test"):
            await trio.lowlevel.checkpoint()

    with timed("nobody's"):
        pass
    with watch.begin("r1", "GET") as tally:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
        with pytest.raises(ZeroDivisionError), timed("failing"):
            raise ZeroDivisionError
    assert set(tally.seconds or ()) == {"task", "failing"}
    assert tracer.trace.added == [
        ("task", {"whom": "two.test"}),
        ("task", {"whom": "two.test"}),
        ("failing", {"error": "ZeroDivisionError"}),
    ]
    assert tracer.trace.ended == (OTHER, None)
