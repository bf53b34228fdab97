"""Fixtures of tests that receive from other servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conduit_py.data.consistency import check_consistency
from conduit_py.service.rooms.history import NoHistory
from tests.rig.rooms import RoomServer, with_rooms
from tests.rig.server import Server
from tests.service.federation.receiving import Edus, Receiving, open_receiving


@pytest.fixture
async def edus() -> Edus:
    return Edus()


@pytest.fixture
async def rooms(server: Server) -> AsyncIterator[RoomServer]:
    rooms = await with_rooms(server)
    yield rooms
    with rooms.store.snapshot() as snapshot:
        assert rooms.is_planted or list(check_consistency(snapshot)) == []


@pytest.fixture
async def receiving(rooms: RoomServer, edus: Edus) -> AsyncIterator[Receiving]:
    handlers = {"m.typing": edus.take, "m.receipt": edus.take, "m.direct_to_device": edus.take}
    async with open_receiving(rooms, handlers) as receiving:
        rooms.remotes.history.source = NoHistory()
        yield receiving
