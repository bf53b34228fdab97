"""The keys about the data directory and its copies."""

from __future__ import annotations

from conduit_py.config.entry import Key, Section
from conduit_py.config.kinds import DURATION, PATH, integer, number, within

YEAR_S = 31_557_600

STORAGE = Section(
    "Storage",
    (
        Key(
            "database_path",
            PATH,
            "./conduit_data",
            "Directory of the database and, unless media.path says otherwise, of the media files."
            " Created if absent. A relative path starts at the working directory.",
        ),
        Key(
            "db_cache_capacity_mb",
            number(1, 1_000_000),
            100.0,
            "Memory for decoded events and state, in MB. Conduit's default is 300; 100 leaves room on hosts that"
            " end a process at 1.5 GB.",
        ),
        Key(
            "database_reserve_mb",
            integer(0, 1_000_000),
            8,
            "Disk space kept back, in MB, so that deleting still works when the disk is full.",
        ),
        Key(
            "backup.copy_seconds",
            integer(0, 86_400),
            120,
            "How long a plain copy of the running server's database may take and still be whole, in seconds; see"
            " docs/backup.md. 0: plain copies are good only while the server is stopped.",
        ),
        Key(
            "backup.copy_growth_mb",
            integer(16, 1_000_000),
            512,
            "Disk space that may be kept for such copies, in MB. Each write of the server needs some while a copy"
            " may be under way, and it is used again later. A server that writes more than that during one copy"
            " refuses it at its start.",
        ),
        Key(
            "backup.snapshot_interval",
            within(DURATION, 60, YEAR_S),
            86_400,
            "How often a consistent snapshot of the database is made inside database_path, in seconds or as text.",
        ),
        Key(
            "backup.snapshots_kept",
            integer(0, 1000),
            1,
            "How many of these are kept. Each takes as much space as the database holds. 0: none is made.",
        ),
    ),
)
