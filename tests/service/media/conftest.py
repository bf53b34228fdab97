"""A content repository with a store that must agree with itself, and with the disk, in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit_py.data.consistency import check_consistency
from kvschema.catalog import media as trees
from tests.rig.media import MediaServer, open_media
from tests.rig.other_servers import OtherServers
from tests.rig.server import Server


@pytest.fixture
def others() -> OtherServers:
    return OtherServers()


@pytest.fixture
async def media(server: Server, tmp_path: Path, others: OtherServers) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media", source=others, MEDIA__REMOTE_SIZE_MAX="200000") as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
            rows = [key.file_hash for key in trees.FILE_METADATA.scan_keys(snapshot)]
        assert [row.hex() for row in rows if not media.media.files.path_of(row).exists()] == []
