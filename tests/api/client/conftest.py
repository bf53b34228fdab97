"""Fixtures of operations in rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conduit_py.data.consistency import check_consistency
from tests.rig.rooms import RoomServer, with_rooms
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def rooms(server: Server) -> AsyncIterator[RoomServer]:
    """A running server with the operations of rooms, whose store must agree with itself in the end."""
    rooms = await with_rooms(server)
    yield rooms
    with rooms.store.snapshot() as snapshot:
        assert rooms.is_planted or list(check_consistency(snapshot)) == []


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    """A server with every operation there is, whose store must agree with itself in the end."""
    async with open_whole(server) as whole:
        yield whole
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
