"""What becomes wrong when an old copy of the data is put back, and is set right at start.

Positions move forward by themselves, whatever is put back: see ``storage.writer.Positions``. Everything that is told to
others once and never again with another meaning is a position, random, or a hash of its content: sync and pagination
tokens, ids of transactions and of messages to devices, stream ids of device lists, versions of key backups, ids of
media, filters and events. What is not: one-time keys, and what this server and others know of each other's devices.
``tests/scenario/test_put_back.py`` holds the server to it.
"""

from __future__ import annotations

from conduit_py.data.server import stage_put_back
from conduit_py.log import get_logger
from conduit_py.service.e2ee.announcing import announce_all
from conduit_py.service.e2ee.keys import drop_one_time_keys
from conduit_py.service.e2ee.refreshing import mark_all_outdated
from conduit_py.service.users.store import Store

_log = get_logger(__name__)


async def set_right_if_restored(store: Store) -> None:
    """Forget what may be out of date in a copy. Done again if it is cut off. Nobody else may write meanwhile."""
    engine = store.database.engine
    if not engine.is_copy:
        return
    _log.warning(
        "the database is a copy that was put back: dropping one-time keys, because some may have been handed out "
        "since it was made; clients upload new ones. Other servers are asked for their users' devices, and told to ask "
        "for ours"
    )
    await set_right(store)
    engine.make_own()


async def set_right(store: Store) -> None:
    """What ``set_right_if_restored`` does with a copy."""
    async with store.writer.turn(may_use_reserve=True) as turn:
        stage_put_back(turn, store.now_ms())
    await drop_one_time_keys(store)
    await mark_all_outdated(store)
    await announce_all(store)
