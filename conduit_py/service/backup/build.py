"""Puts together what a running server does for copies of its directory."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Final

from conduit_py.config import Config
from conduit_py.service.backup.snapshots import Snapshots
from conduit_py.storage.pins import CopyWatch
from kvschema.engine.stamp import MARK_CHARS

MIB: Final = 1 << 20


def watch_copies(config: Config) -> CopyWatch:
    return CopyWatch(
        seconds=config.backup.copy_seconds,
        growth_bytes=config.backup.copy_growth_mb * MIB,
        clock=time.monotonic,
        random_mark=partial(secrets.token_hex, MARK_CHARS // 2),
    )


def build_snapshots(config: Config) -> Snapshots:
    backup = config.backup
    return Snapshots(
        config.database_path, interval_s=backup.snapshot_interval, kept=backup.snapshots_kept, now_s=time.time
    )
