"""Fixtures of operations in rooms."""

from __future__ import annotations

import pytest

from tests.rig.rooms import RoomServer, with_rooms
from tests.rig.server import Server


@pytest.fixture
async def rooms(server: Server) -> RoomServer:
    """A running server with the operations of rooms."""
    return await with_rooms(server)
