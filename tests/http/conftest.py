"""Fixtures of the tests on the wire."""

from __future__ import annotations

import pytest

from tests.http.story import Story


@pytest.fixture
def story() -> Story:
    return Story()
