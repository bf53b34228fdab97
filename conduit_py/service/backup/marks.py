"""What a data file says of itself: that it is whole, and whether it is a copy."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from kvschema.engine.ownership import claim, is_copy
from kvschema.engine.pages import read_metas
from kvschema.engine.stamp import MARK_CHARS, Stamp, append_stamp, check_whole


def require_whole(path: Path) -> None:
    """Raises ``Torn`` where it is a copy that was torn: whatever is made of it would not say so any more."""
    if is_copy(path):
        check_whole(path)


def mark_as_copy(path: Path) -> None:
    """Have a data file known for a copy wherever it is put, also where it happens to get the place of its original."""
    newest = max(read_metas(path), key=lambda meta: meta.transaction)
    # It ends behind its last page, with a stamp that says that it is whole.
    os.truncate(path, (newest.last_page + 1) * newest.page_bytes)
    append_stamp(path, Stamp(floor=0))


def mark_as_original(path: Path) -> None:
    """Have a data file that has a stamp known for the one that the server has always used in this place."""
    claim(path, secrets.token_hex(MARK_CHARS // 2))
