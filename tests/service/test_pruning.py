"""What is swept away, when, and in steps of what size."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from conduit_py.data import notified, received, tokens, transactions, uia_sessions
from conduit_py.matrix.ids import EventId
from conduit_py.service import pruning
from conduit_py.service.pruning import PERIOD_S, TOKEN_KEPT_MS, Place, Pruning
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import transactions as transaction_trees
from kvschema.catalog import users
from kvschema.catalog.members import USERPOS_FAREWELL, Farewell, UserPos
from kvschema.catalog.receipts import Notified
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos
from kvschema.catalog.users import ByTokenHash, LoginToken, OpenIdToken, Token, UiaSession, UserTokenHash
from kvschema.errors import StorageFull
from tests.rig.server import START_MS, Server

USER, ROOM = ShortUserId(7), ShortRoomId(9)
DAY_S = 24 * 3600


def make(server: Server) -> Pruning:
    return Pruning(server.store.database, server.store.writer, now_ms=server.store.now_ms)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make(server).run)
        yield
        nursery.cancel_scope.cancel()


def rows(server: Server, tree: str) -> int:
    with server.store.snapshot() as snapshot:
        return snapshot.count(tree)


async def answer(server: Server, count: int) -> None:
    async with server.store.writer.turn() as turn:
        for number in range(count):
            transactions.stage_answer(
                turn,
                USER,
                "PHONE",
                "send",
                f"txn{number}",
                now_ms=server.store.now_ms(),
                event_id=EventId(f"${number}"),
                event=ShortEventId(number + 1),
            )


async def test_transactions_go_after_two_weeks(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    trees = (
        transaction_trees.USERDEVICETXNID_RESPONSE.name,
        transaction_trees.TXNAGE.name,
        transaction_trees.SHORTEVENTID_TRANSACTION.name,
    )
    async with running(server):
        await answer(server, 3)
        await trio.sleep(13.9 * DAY_S)
        assert [rows(server, tree) for tree in trees] == [3, 3, 3]
        await trio.sleep(0.2 * DAY_S)
        assert [rows(server, tree) for tree in trees] == [0, 0, 0]


async def test_what_is_younger_stays(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async with running(server):
        await answer(server, 2)
        await trio.sleep(10 * DAY_S)
        async with server.store.writer.turn() as turn:
            transactions.stage_answer(turn, USER, "PHONE", "send", "late", now_ms=server.store.now_ms())
        await trio.sleep(5 * DAY_S)
        with server.store.snapshot() as snapshot:
            assert transactions.get_answer(snapshot, USER, "PHONE", "send", "txn0") is None
            assert transactions.get_answer(snapshot, USER, "PHONE", "send", "late") is not None


async def test_batches_are_small_and_together_remove_all(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "REMOVED_MAX", 4)
    await answer(server, 11)
    await trio.sleep(20 * DAY_S)
    before = server.store.writer.commits
    began = trio.current_time()
    await make(server).sweep_all()
    assert rows(server, transaction_trees.TXNAGE.name) == 0
    assert server.store.writer.commits - before == 3
    assert trio.current_time() - began >= 2 * pruning.PAUSE_S


async def test_sweep_that_was_cut_off_is_taken_up_again(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "REMOVED_MAX", 4)
    await answer(server, 11)
    await trio.sleep(20 * DAY_S)
    with trio.move_on_after(pruning.PAUSE_S / 2):
        await make(server).sweep_all()
    assert rows(server, transaction_trees.TXNAGE.name) == 7
    await make(server).sweep_all()
    assert rows(server, transaction_trees.TXNAGE.name) == 0


def token_hash(number: int) -> bytes:
    return tokens.hash_token(str(number))


async def test_answers_to_servers_go_after_a_day(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    tree = transaction_trees.SERVERTXNID_RESPONSE.name
    for number in range(transaction_trees.RECEIVED_PER_SERVER_MAX + 20):
        async with server.store.writer.turn() as turn:
            with server.store.snapshot() as snapshot:
                now_ms = server.store.now_ms()
                received.stage_answer(snapshot, turn, "two.test", f"{number}", results=b"{}", now_ms=now_ms)
    with server.store.snapshot() as snapshot:
        assert received.get_answer(snapshot, "two.test", "0") is None
        assert received.get_answer(snapshot, "two.test", "119") == b"{}"
    assert rows(server, tree) == transaction_trees.RECEIVED_PER_SERVER_MAX
    async with running(server):
        await trio.sleep(23 * 3600)
        assert rows(server, tree) == transaction_trees.RECEIVED_PER_SERVER_MAX
        await trio.sleep(2 * 3600)
        assert rows(server, tree) == 0


@pytest.mark.parametrize(("scanned_max", "removed_max"), [(2000, 200), (3, 200), (4, 2), (1, 1)])
async def test_access_tokens_go_half_a_year_after_they_expired(
    server: Server,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    scanned_max: int,
    removed_max: int,
) -> None:
    monkeypatch.setattr(pruning, "SCANNED_MAX", scanned_max)
    monkeypatch.setattr(pruning, "REMOVED_MAX", removed_max)
    now_ms = START_MS + int(trio.current_time() * 1000)
    expiries = [0, now_ms + 1000, now_ms - 1000, now_ms - TOKEN_KEPT_MS + 1, *[now_ms - TOKEN_KEPT_MS] * 5]
    async with server.store.writer.turn() as turn:
        for number, expires_ms in enumerate(expiries):
            row = Token("@alice:one.test", USER, "PHONE", expires_ms)
            tokens.stage_token(turn, token_hash(number), row)
    pruned = make(server)
    pruned._now_ms = lambda: now_ms
    await pruned.sweep_all()
    with server.store.snapshot() as snapshot:
        left = [number for number in range(len(expiries)) if tokens.get_token(snapshot, token_hash(number))]
        assert len(list(tokens.scan_of_device(snapshot, USER, "PHONE"))) == 4
    assert left == [0, 1, 2, 3]


async def test_login_tokens_go_when_they_expire(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "SCANNED_MAX", 4)
    monkeypatch.setattr(pruning, "REMOVED_MAX", 2)
    now_ms = server.store.now_ms()
    async with server.store.writer.turn() as turn:
        for number in range(10):
            expires_ms = now_ms + (60_000 if number % 2 else -1)
            row = LoginToken("@alice:one.test", expires_ms)
            turn.batch.put(users.LOGINTOKEN_EXPIRESATUSERID, ByTokenHash(token_hash(number)), row)
    await make(server).sweep_all()
    assert rows(server, users.LOGINTOKEN_EXPIRESATUSERID.name) == 5
    await trio.sleep(120)
    await make(server).sweep_all()
    assert rows(server, users.LOGINTOKEN_EXPIRESATUSERID.name) == 0


async def test_openid_tokens_go_when_they_expire(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "SCANNED_MAX", 4)
    monkeypatch.setattr(pruning, "REMOVED_MAX", 2)
    now_ms = server.store.now_ms()
    async with server.store.writer.turn() as turn:
        for number in range(10):
            row = OpenIdToken(now_ms + (60_000 if number % 2 else -1))
            key = UserTokenHash(ShortUserId(number // 3), token_hash(number))
            turn.batch.put(users.OPENIDTOKEN_EXPIRESATUSERID, key, row)
    await make(server).sweep_all()
    assert rows(server, users.OPENIDTOKEN_EXPIRESATUSERID.name) == 5
    await trio.sleep(120)
    await make(server).sweep_all()
    assert rows(server, users.OPENIDTOKEN_EXPIRESATUSERID.name) == 0


async def test_interactive_authentications_go_after_an_hour(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.store.writer.turn() as turn:
        row = UiaSession("deleteDevice", "@alice:one.test", "PHONE", (), server.store.now_ms(), {})
        uia_sessions.stage_session(turn, "session", row)
    async with running(server):
        await trio.sleep(0.5 * PERIOD_S)
        assert rows(server, users.UIAASESSION.name) == 1
        await trio.sleep(2 * PERIOD_S)
        assert rows(server, users.UIAASESSION.name) == 0


@pytest.mark.parametrize(("scanned_max", "removed_max"), [(2000, 200), (1, 1), (6, 3)])
async def test_notified_keeps_the_newest_of_each_room(
    server: Server,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    scanned_max: int,
    removed_max: int,
) -> None:
    monkeypatch.setattr(pruning, "NOTIFIED_PER_ROOM_MAX", 5)
    monkeypatch.setattr(pruning, "SCANNED_MAX", scanned_max)
    monkeypatch.setattr(pruning, "REMOVED_MAX", removed_max)
    counts = {1: 3, 2: 12, 3: 5, 9: 6, 11: 1}
    row = Notified(ShortEventId(0), USER, [[False, ["notify"], notified.pack_users([USER])]])
    async with server.store.writer.turn() as turn:
        for room, count in counts.items():
            for pos in range(1, count + 1):
                notified.stage_notified(turn, ShortRoomId(room), pos, row)
    await make(server).sweep_all()
    with server.store.snapshot() as snapshot:
        for room, count in counts.items():
            places = notified.scan_places(snapshot, ShortRoomId(room))
            assert list(places) == list(range(count, max(0, count - 5), -1))


async def test_sweeps_run_at_start_and_hourly(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def note(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
        times.append(trio.current_time())
        return None

    monkeypatch.setattr(pruning, "SWEEPS", (note,))
    began = trio.current_time()
    async with running(server):
        await trio.sleep(2.5 * PERIOD_S)
    assert [round(time - began) for time in times] == [0, PERIOD_S, 2 * PERIOD_S]


async def test_full_disk_ends_one_sweep_and_no_other(
    server: Server, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = []

    def refused(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
        raise StorageFull("no space left on device")

    def note(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
        swept.append(turn.batch.may_use_reserve)
        return None

    monkeypatch.setattr(pruning, "SWEEPS", (refused, note))
    await make(server).sweep_all()
    assert swept == [True]


async def test_farewells_go_after_ninety_days(server: Server, autojump_clock: trio.testing.MockClock) -> None:
    async def store_farewell(pos: int) -> None:
        async with server.store.writer.turn() as turn:
            key = UserPos(USER, StreamPos(pos))
            turn.batch.put(USERPOS_FAREWELL, key, Farewell("!gone:one.test", server.store.now_ms(), ""))

    async with running(server):
        await store_farewell(1)
        await trio.sleep(DAY_S)
        await store_farewell(2)
        await trio.sleep(88.9 * DAY_S)
        assert rows(server, USERPOS_FAREWELL.name) == 2
        await trio.sleep(0.2 * DAY_S)
        assert rows(server, USERPOS_FAREWELL.name) == 1
        await trio.sleep(DAY_S)
        assert rows(server, USERPOS_FAREWELL.name) == 0
