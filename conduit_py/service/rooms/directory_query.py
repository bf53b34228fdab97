"""What is asked of a room directory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryQuery:
    """Which rooms of the directory."""

    limit: int | None = None
    since: str | None = None
    search_term: str | None = None
    """Found in a room's name, topic or canonical alias, in whatever case."""
    room_types: tuple[str | None, ...] | None = None
    """None among them stands for rooms without a type; in place of them, for all rooms."""
    server: str | None = None
    network: str | None = None
    """The instance of a network that an application service bridges to, None for Matrix itself."""
    has_all_networks: bool = False
    """Those of all networks, Matrix among them."""
