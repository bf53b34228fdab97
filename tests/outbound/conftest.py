"""Fixtures of the tests that ask other machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.outbound.web import Internet, open_internet


@pytest.fixture
async def internet(tmp_path: Path) -> AsyncIterator[Internet]:
    async with open_internet(tmp_path) as internet:
        yield internet
