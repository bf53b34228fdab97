"""Commands about the server itself: its settings, its memory, its caches."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from conduit_py.config.reload import CurrentConfig
from conduit_py.data import destinations
from conduit_py.service.admin.commands import Answer
from conduit_py.service.admin.words import plural, table
from conduit_py.service.users.store import Store
from conduit_py.storage.database import DATA_FILE, DIRECTORY

MIB: Final = 1 << 20
_PAGE_BYTES: Final = 4096


def build_server_commands(current: CurrentConfig, store: Store) -> tuple[click.Command, ...]:
    cache, config = store.database.cache, current.config

    @click.command("show-config")
    async def show_config() -> Answer:
        """Show every setting that is in force. Secrets are hidden."""
        return Answer(text=current.config.describe().rstrip("\n"), is_table=True)

    @click.command("memory-usage")
    async def memory_usage() -> Answer:
        """Show how much memory and disk the server uses."""
        rows = [
            ("Process", f"{_resident_bytes() / MIB:.0f} MiB"),
            ("Object cache", f"{cache.bytes / MIB:.1f} of {config.db_cache_capacity_mb:g} MiB"),
            ("Objects in it", str(len(cache))),
            ("Database on disk", f"{_disk_bytes(config.database_path / DIRECTORY / DATA_FILE) / MIB:.1f} MiB"),
        ]
        return Answer(text=table(rows), is_table=True)

    @click.command("clear-database-caches")
    @click.argument("amount", required=False, type=int)
    async def clear_database_caches(amount: int | None) -> Answer:
        """Drop what is kept in memory of the database.

        Nothing is lost; it is read again when it is needed. AMOUNT is accepted as in Conduit: there is one cache.
        """
        count, size = len(cache), cache.bytes
        cache.clear()
        return Answer(text=f"Dropped {plural(count, 'object')} of {size / MIB:.1f} MiB.")

    @click.command("clear-service-caches")
    @click.argument("amount", required=False, type=int)
    async def clear_service_caches(amount: int | None) -> Answer:
        """Forget where other servers are reached: each is asked again before it is sent to.

        For when a server has moved. AMOUNT is accepted as in Conduit: there is one such cache.
        """
        async with store.writer.turn(may_use_reserve=True) as turn:
            with store.snapshot() as snapshot:
                count = destinations.stage_all_forgotten(snapshot, turn)
        return Answer(text=f"Forgot where {plural(count, 'server')} {'is' if count == 1 else 'are'} reached.")

    return show_config, memory_usage, clear_database_caches, clear_service_caches


def _resident_bytes() -> int:
    """0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * _PAGE_BYTES


def _disk_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
