"""``.../users/{userId}/report``, ``.../rooms/{roomId}/report`` and ``.../rooms/{roomId}/report/{eventId}``"""

from __future__ import annotations

from typing import Any

import pytest

from kvschema.catalog.users import REPORTS_PER_USER_MAX, Report
from tests.rig.client import Client, path
from tests.rig.rooms import RoomServer, create, in_room, join, leave, send
from tests.rig.server import START_MS, Server

REASON = {"reason": "this makes me sad"}


@pytest.fixture
async def alice(rooms: RoomServer) -> Client:
    return await rooms.register("alice")


@pytest.fixture
async def bob(rooms: RoomServer, alice: Client) -> Client:
    return await rooms.register("bob")


def reports(server: Server) -> list[tuple[str, Report]]:
    """Who reported what, without the time, which is that of a real clock."""
    found = server.services.accounts.reports.get_reports()
    assert all(report.reported_ms >= START_MS for _, _, report in found)
    return [(reporter, report._replace(reported_ms=0)) for reporter, _, report in found]


async def test_report_user_is_kept_for_the_administrators(rooms: RoomServer, alice: Client) -> None:
    assert (await alice.post(path("users", "@bob:one.test", "report"), REASON)).json == {}
    assert reports(rooms) == [("@alice:one.test", Report(0, user_id="@bob:one.test", reason="this makes me sad"))]


async def test_report_room_needs_not_be_joined(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    assert (await bob.post(in_room(room_id, "report"), {"reason": ""})).json == {}
    assert reports(rooms) == [("@bob:one.test", Report(0, room_id=room_id))]


async def test_report_room_does_not_tell_whether_there_is_one(rooms: RoomServer, alice: Client) -> None:
    assert (await alice.post(in_room("!nothing:one.test", "report"), REASON)).json == {}
    assert (await alice.post(path("users", "@nobody:one.test", "report"), REASON)).json == {}


async def test_report_event_is_kept_for_the_administrators(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "rude")
    assert (await bob.post(in_room(room_id, "report", event_id), REASON)).json == {}
    assert (await bob.post(in_room(room_id, "report", event_id), {"score": -100})).json == {}
    reported = Report(0, room_id=room_id, event_id=event_id)
    assert reports(rooms) == [
        ("@bob:one.test", reported),
        ("@bob:one.test", reported._replace(reason="this makes me sad")),
    ]


async def test_report_event_not_found(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id, other_id = await create(alice), await create(bob)
    event_id = await send(alice, room_id, "rude")
    await join(alice, other_id)
    async with rooms.leaves_no_trace():
        answers = [
            await bob.post(in_room(room_id, "report", event_id), REASON),
            await bob.post(in_room("!nothing:one.test", "report", event_id), REASON),
            await alice.post(in_room(room_id, "report", "$nothing"), REASON),
            await alice.post(in_room(other_id, "report", event_id), REASON),
        ]
    assert {answer.outcome for answer in answers} == {(404, "M_NOT_FOUND")}
    assert len({answer.body for answer in answers}) == 1


async def test_report_event_not_found_after_leaving(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "rude")
    await leave(bob, room_id)
    async with rooms.leaves_no_trace():
        assert (await bob.post(in_room(room_id, "report", event_id), REASON)).outcome == (404, "M_NOT_FOUND")


async def test_report_user_drops_the_oldest_of_too_many(rooms: RoomServer, alice: Client, bob: Client) -> None:
    await bob.post(path("users", "@alice:one.test", "report"), {"reason": "of another user"})
    for number in range(REPORTS_PER_USER_MAX + 2):
        await alice.post(path("users", "@bob:one.test", "report"), {"reason": str(number)})
    reasons = [report.reason for _, report in reports(rooms)]
    assert reasons == [*(str(number) for number in range(REPORTS_PER_USER_MAX + 1, 1, -1)), "of another user"]


async def test_deleted_report_is_off_the_list(rooms: RoomServer, alice: Client) -> None:
    service = rooms.services.accounts.reports
    for reason in ("one", "two"):
        await alice.post(path("users", "@bob:one.test", "report"), {"reason": reason})
    (reporter, pos, _), _ = service.get_reports()
    await service.delete_report(reporter, pos)
    assert [report.reason for _, report in reports(rooms)] == ["one"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"reason": 7}, (400, "M_BAD_JSON")),
        ({"reason": "x" * 2001}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_report_user_and_room_refuse_what_they_cannot_read(
    rooms: RoomServer, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with rooms.leaves_no_trace():
        assert (await alice.post(path("users", "@bob:one.test", "report"), body)).outcome == outcome
        assert (await alice.post(in_room("!room:one.test", "report"), body)).outcome == outcome


async def test_report_user_invalid_param(rooms: RoomServer, alice: Client) -> None:
    async with rooms.leaves_no_trace():
        assert (await alice.post(path("users", "bob", "report"), REASON)).outcome == (400, "M_INVALID_PARAM")
        assert (await alice.post(path("rooms", "room", "report"), REASON)).outcome == (400, "M_INVALID_PARAM")


async def test_report_missing_token(rooms: RoomServer) -> None:
    nobody = rooms.client()
    for place in ("/users/@bob:one.test/report", "/rooms/!a:one.test/report", "/rooms/!a:one.test/report/$b"):
        assert (await nobody.post(place, REASON)).outcome == (401, "M_MISSING_TOKEN")
