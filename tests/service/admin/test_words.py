"""How commands read what people write."""

from __future__ import annotations

import click
import pytest

from conduit_py.service.admin.words import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12h", 43_200), ("7d", 604_800), ("90s", 90), ("60min", 3_600), ("10days", 864_000), ("1 week", 604_800)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "12", "1 fortnight", "-1h", "1h30m", "1.5h", "9999999999s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.UsageError, match="no duration"):
        parse_duration(text)
