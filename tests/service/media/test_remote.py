"""Media of other servers: fetched once for all who ask, kept when whole, and never believed to be there when not."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.media import Broken, TooLarge
from conduit_py.service.media import remote
from tests.rig.client import Client, Response
from tests.rig.media import LEGACY_DOWNLOAD, MediaServer, download, open_media, thumbnail
from tests.rig.other_servers import OtherServers
from tests.rig.server import Server

URI = "mxc://two.test/abc"
NOT_YET = Refused(504, "M_NOT_YET_UPLOADED", "wait")


class Askers:
    """Several who ask for the same thing at the same time."""

    def __init__(self, nursery: trio.Nursery, user: Client) -> None:
        self._nursery = nursery
        self._user = user
        self.responses: list[Response] = []

    def ask(self, uri: str, query: str = "") -> trio.CancelScope:
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                self.responses.append(await download(self._user, uri, query=query))

        self._nursery.start_soon(ask)
        return scope


# What is kept


async def test_medium_is_kept_as_the_other_server_describes_it(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, b"hello", "text/plain; charset=utf-8", "Grüße.txt")
    for _ in range(2):
        response = await download(alice, URI)
        assert (response.status, response.body) == (200, b"hello")
        assert response.headers["content-disposition"] == "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"
    assert medium.asked == [{"timeout_ms": "20000"}]
    row = media.row_of(URI)
    assert row is not None
    assert (row.content_type, row.filename, row.user, row.is_legacy) == (
        "text/plain; charset=utf-8",
        "Grüße.txt",
        0,
        False,
    )


@pytest.mark.parametrize(
    ("content_type", "filename"), [("no type", "x" * 2000), ("text/plain\r\nX: y", ""), ("a/" + "b" * 300, None)]
)
async def test_description_that_cannot_be_is_not_kept(
    media: MediaServer, others: OtherServers, content_type: str, filename: str | None
) -> None:
    others.has(URI, b"hello", content_type, filename)
    response = await download(await media.register("alice"), URI)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"


async def test_type_that_may_run_is_an_attachment(media: MediaServer, others: OtherServers) -> None:
    others.has(URI, b"<script>", "text/html", "a.html")
    headers = (await download(await media.register("alice"), URI)).headers
    assert headers["content-disposition"] == "attachment; filename=a.html"
    assert headers["content-security-policy"].startswith("sandbox;")


async def test_same_content_from_several_servers_is_one_file(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    for uri in (URI, "mxc://two.test/other", "mxc://three.test/abc"):
        others.has(uri, b"the same")
        assert (await download(alice, uri)).body == b"the same"
    assert len(media.on_disk()) == 1


# Who asks


async def test_all_who_ask_wait_for_one_fetch(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, b"hello")
    medium.may_end = trio.Event()
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        for _ in range(5):
            askers.ask(URI)
        await wait_all_tasks_blocked()
        assert (askers.responses, len(medium.asked)) == ([], 1)
        medium.may_end.set()
    assert [response.body for response in askers.responses] == [b"hello"] * 5
    assert len(medium.asked) == 1


async def test_who_asked_first_may_leave(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, b"hello")
    medium.may_end = trio.Event()
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        first = askers.ask(URI)
        await wait_all_tasks_blocked()
        askers.ask(URI)
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        medium.may_end.set()
    assert [response.body for response in askers.responses] == [b"hello"]
    assert len(medium.asked) == 1


async def test_what_nobody_waits_for_any_more_is_there_for_the_next(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, b"hello")
    medium.may_end = trio.Event()
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        only = askers.ask(URI)
        await wait_all_tasks_blocked()
        only.cancel()
    medium.may_end.set()
    await wait_all_tasks_blocked()
    assert media.row_of(URI) is not None
    assert (await download(alice, URI)).body == b"hello"
    assert len(medium.asked) == 1


async def test_a_slow_server_does_not_hold_up_another(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    gate = trio.Event()
    for number in range(40):
        others.has(f"mxc://slow.test/{number}", b"x").may_begin = gate
    others.has(URI, b"quick")
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        for number in range(40):
            askers.ask(f"mxc://slow.test/{number}")
        await wait_all_tasks_blocked()
        assert others.running["slow.test"] == remote.PER_SERVER_MAX
        assert (await download(alice, URI)).body == b"quick"
        gate.set()
    assert [response.status for response in askers.responses] == [200] * 40
    assert others.most_running["slow.test"] == remote.PER_SERVER_MAX


async def test_fetches_have_a_maximum(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        for number in range(remote.FETCHES_MAX):
            uri = f"mxc://server{number}.test/a"
            others.has(uri, b"x").may_begin = gate
            askers.ask(uri)
        await wait_all_tasks_blocked()
        assert others.running["all"] == remote.AT_ONCE_MAX
        others.has(URI, b"one too many")
        refused = await download(alice, URI)
        assert refused.outcome == (429, "M_LIMIT_EXCEEDED")
        assert refused.json["retry_after_ms"] > 0
        gate.set()
    assert {response.status for response in askers.responses} == {200}
    assert others.most_running["all"] == remote.AT_ONCE_MAX
    assert (await download(alice, URI)).body == b"one too many"


async def test_fetches_leave_most_requests_to_others(server: Server, tmp_path: Path, others: OtherServers) -> None:
    async with open_media(server, tmp_path / "media", source=others, MAX_CONCURRENT_REQUESTS="8") as media:
        alice = await media.register("alice")
        gate = trio.Event()
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery, alice)
            for number in range(5):
                others.has(f"mxc://server{number}.test/a", b"x").may_begin = gate
                askers.ask(f"mxc://server{number}.test/a")
            await wait_all_tasks_blocked()
            gate.set()
        assert others.most_running["all"] == 2


# How it fails


FAILURES: list[tuple[RemoteError, int, str]] = [
    (Refused(404, "M_NOT_FOUND", "no"), 404, "M_NOT_FOUND"),
    (Refused(403, "M_FORBIDDEN", "no"), 502, "M_UNKNOWN"),
    (Refused(500, "M_UNKNOWN", "oh"), 502, "M_UNKNOWN"),
    (Refused(502, "M_TOO_LARGE", "large"), 502, "M_TOO_LARGE"),
    (Refused(429, "M_LIMIT_EXCEEDED", "slow"), 429, "M_LIMIT_EXCEEDED"),
    (NOT_YET, 504, "M_NOT_YET_UPLOADED"),
    (Unreachable("down"), 502, "M_UNKNOWN"),
    (Broken("no file"), 502, "M_UNKNOWN"),
    (TooLarge("large"), 502, "M_TOO_LARGE"),
]


@pytest.mark.parametrize(("error", "status", "errcode"), FAILURES, ids=lambda value: str(value))
async def test_failure_is_told_to_all_and_leaves_nothing(
    media: MediaServer, others: OtherServers, error: RemoteError, status: int, errcode: str
) -> None:
    alice = await media.register("alice")
    others.fails(URI, error).may_begin = gate = trio.Event()
    async with media.leaves_no_trace(), trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        for _ in range(3):
            askers.ask(URI, "?timeout_ms=0")
        await wait_all_tasks_blocked()
        gate.set()
    assert [response.outcome for response in askers.responses] == [(status, errcode)] * 3
    assert media.on_disk() == []


@pytest.mark.parametrize("error", [Unreachable("cut off"), Broken("cut off"), TooLarge("large")], ids=str)
async def test_file_that_breaks_off_is_not_kept(media: MediaServer, others: OtherServers, error: RemoteError) -> None:
    alice = await media.register("alice")
    others.fails(URI, error, content=bytes(100_000))
    async with media.leaves_no_trace():
        assert (await download(alice, URI)).status == 502
    assert media.on_disk() == []


async def test_file_that_is_too_large_is_not_kept(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    others.has(URI, bytes(200_001))
    async with media.leaves_no_trace():
        assert (await download(alice, URI)).outcome == (502, "M_TOO_LARGE")
    others.has("mxc://two.test/fits", bytes(200_000))
    assert (await download(alice, "mxc://two.test/fits")).status == 200


async def test_failure_is_remembered_for_a_minute(
    media: MediaServer, others: OtherServers, autojump_clock: MockClock
) -> None:
    alice = await media.register("alice")
    failing = others.fails(URI, Refused(404, "M_NOT_FOUND", "no"))
    for _ in range(3):
        assert (await download(alice, URI)).outcome == (404, "M_NOT_FOUND")
    assert len(failing.asked) == 1
    others.has("mxc://two.test/other", b"other")
    assert (await download(alice, "mxc://two.test/other")).body == b"other"
    others.has(URI, b"now")
    await trio.sleep(remote.FAILURE_MS / 1000 + 1)
    assert (await download(alice, URI)).body == b"now"


async def test_server_that_cannot_be_reached_is_left_alone_for_a_minute(
    media: MediaServer, others: OtherServers, autojump_clock: MockClock
) -> None:
    alice = await media.register("alice")
    gate = trio.Event()
    media_of_two = [others.fails(f"mxc://two.test/{number}", Unreachable("down")) for number in range(20)]
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        for number, medium in enumerate(media_of_two):
            medium.may_begin = gate
            askers.ask(f"mxc://two.test/{number}")
        await wait_all_tasks_blocked()
        gate.set()
    assert {response.outcome for response in askers.responses} == {(502, "M_UNKNOWN")}
    assert sum(len(medium.asked) for medium in media_of_two) == remote.PER_SERVER_MAX
    others.has(URI, b"up again")
    assert (await download(alice, f"{URI}/name")).outcome == (502, "M_UNKNOWN")
    assert (await download(alice, URI)).outcome == (502, "M_UNKNOWN")
    await trio.sleep(remote.FAILURE_MS / 1000 + 1)
    assert (await download(alice, URI)).body == b"up again"


async def test_server_whose_file_breaks_off_is_asked_for_others(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    others.fails(URI, Unreachable("cut off"), content=b"half of it")
    others.has("mxc://two.test/other", b"other")
    assert (await download(alice, URI)).status == 502
    assert (await download(alice, "mxc://two.test/other")).body == b"other"


async def test_server_that_wants_to_be_asked_less_is(
    media: MediaServer, others: OtherServers, autojump_clock: MockClock
) -> None:
    alice = await media.register("alice")
    others.fails(URI, Refused(429, "M_LIMIT_EXCEEDED", "slow", retry_after_ms=7000))
    other = others.has("mxc://two.test/other", b"other")
    for uri in (URI, "mxc://two.test/other"):
        response = await download(alice, uri)
        assert response.outcome == (429, "M_LIMIT_EXCEEDED")
        assert response.json["retry_after_ms"] == 7000
    assert other.asked == []
    await trio.sleep(7.1)
    assert (await download(alice, "mxc://two.test/other")).body == b"other"


async def test_failures_that_are_remembered_have_a_maximum(
    media: MediaServer, others: OtherServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FAILURES_MAX", 2)
    alice = await media.register("alice")
    uris = [f"mxc://two.test/{number}" for number in range(3)]
    failing = [others.fails(uri, Refused(404, "M_NOT_FOUND", "no")) for uri in uris]
    for uri in (*uris, uris[2], uris[0]):
        await download(alice, uri)
    assert [len(medium.asked) for medium in failing] == [2, 1, 1]


async def test_mistake_of_ours_is_told_to_who_asked_and_the_server_goes_on(
    media: MediaServer, others: OtherServers, expect_errors: list[object]
) -> None:
    alice = await media.register("alice")
    others.fails(URI, ZeroDivisionError("a mistake"))
    assert (await download(alice, URI)).outcome == (500, "M_UNKNOWN")
    others.has(URI, b"hello")
    assert (await download(alice, URI)).body == b"hello"
    assert len(expect_errors) == 1


async def test_full_disk_is_told_and_not_remembered(
    media: MediaServer, others: OtherServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*args: object) -> int:
        raise OSError(28, "No space left on device")

    alice = await media.register("alice")
    others.has(URI, b"hello")
    async with media.leaves_no_trace():
        with monkeypatch.context() as patch:
            patch.setattr("conduit_py.service.media.files.os.write", no_space)
            assert (await download(alice, URI)).outcome == (507, "M_UNKNOWN")
    assert (await download(alice, URI)).body == b"hello"


# How long is waited


async def test_time_for_an_upload_is_passed_on(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    for asked, passed_on in (("5000", "5000"), ("999999999", "60000"), ("0", "0")):
        medium = others.fails(URI, NOT_YET)
        assert (await download(alice, URI, query=f"?timeout_ms={asked}")).outcome == (504, "M_NOT_YET_UPLOADED")
        assert medium.asked == [{"timeout_ms": passed_on}]


async def test_who_has_more_time_than_the_first_asks_again(
    media: MediaServer, others: OtherServers, autojump_clock: MockClock
) -> None:
    alice = await media.register("alice")
    first = others.fails(URI, NOT_YET)
    first.may_begin = trio.Event()
    async with trio.open_nursery() as nursery:
        askers = Askers(nursery, alice)
        askers.ask(URI, "?timeout_ms=1000")
        await wait_all_tasks_blocked()
        askers.ask(URI, "?timeout_ms=10000")
        await trio.sleep(1)
        second = others.has(URI, b"late")
        first.may_begin.set()
    assert sorted(response.status for response in askers.responses) == [200, 504]
    assert second.asked == [{"timeout_ms": "9000"}]


async def test_server_that_never_begins_is_not_waited_for_for_ever(
    media: MediaServer, others: OtherServers, autojump_clock: MockClock
) -> None:
    alice = await media.register("alice")
    others.has(URI, b"x").may_begin = trio.Event()
    started = trio.current_time()
    assert (await download(alice, URI, query="?timeout_ms=1000")).outcome == (504, "M_NOT_YET_UPLOADED")
    assert trio.current_time() - started == pytest.approx(1 + remote.PATIENCE_S)


# What is not fetched


async def test_server_that_is_not_talked_to_is_not_asked(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    others.forbidden.add("two.test")
    medium = others.has(URI, b"x")
    async with media.leaves_no_trace():
        assert (await download(alice, URI)).outcome == (404, "M_NOT_FOUND")
        assert (await thumbnail(alice, URI, width=1, height=1)).outcome == (404, "M_NOT_FOUND")
    assert medium.asked == []


@pytest.mark.parametrize("uri", ["mxc://two_test/abc", "mxc://two.test/a.b", "mxc://two.test/..%2Fabc", "mxc://:1/a"])
async def test_what_is_no_uri_is_not_fetched(media: MediaServer, others: OtherServers, uri: str) -> None:
    medium = others.has(uri, b"x")
    assert (await download(await media.register("alice"), uri)).outcome == (404, "M_NOT_FOUND")
    assert medium.asked == []


async def test_who_has_no_token_makes_nothing_be_fetched(media: MediaServer, others: OtherServers) -> None:
    medium = others.has(URI, b"x")
    async with media.leaves_no_trace():
        assert (await download(media.client(), URI)).outcome == (401, "M_MISSING_TOKEN")
        assert (await download(media.client(), URI, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")
    assert medium.asked == []


async def test_what_is_fetched_now_is_frozen(media: MediaServer, others: OtherServers) -> None:
    others.has(URI, b"x")
    assert (await download(await media.register("alice"), URI)).body == b"x"
    assert (await download(media.client(), URI, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")


async def test_allow_remote_false_is_heeded(server: Server, tmp_path: Path, others: OtherServers) -> None:
    medium = others.has(URI, b"x")
    async with open_media(server, tmp_path / "media", source=others, MEDIA__ALLOW_LEGACY="true") as media:
        nobody = media.client()
        refused = await download(nobody, URI, base=LEGACY_DOWNLOAD, query="?allow_remote=false")
        assert refused.outcome == (404, "M_NOT_FOUND")
        assert medium.asked == []
        assert (await download(nobody, URI, base=LEGACY_DOWNLOAD, query="?allow_remote=true")).body == b"x"
        assert (await download(nobody, URI, base=LEGACY_DOWNLOAD, query="?allow_remote=false")).body == b"x"
    async with open_media(server, tmp_path / "media", source=others) as media:
        assert (await download(media.client(), URI, base=LEGACY_DOWNLOAD)).body == b"x", "fetched before the freeze"
