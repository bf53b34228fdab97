"""A whole server with its Admin Room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rig.admin import Chat, enter
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def whole(server: Server, tmp_path: Path) -> AsyncIterator[WholeServer]:
    async with open_whole(server, MEDIA__PATH=str(tmp_path / "media")) as whole:
        await whole.admin.prepare()
        yield whole


@pytest.fixture
async def alice(whole: WholeServer) -> Chat:
    """The first account, and so the administrator."""
    return await enter(await whole.register("alice"))
