"""What becomes wrong when an old copy of the data is put back, and is set right at start.

Positions move forward by themselves, whatever is put back: see ``storage.writer.Positions``.
"""

from __future__ import annotations

from conduit_py.log import get_logger
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
        "since it was made, and asking other servers for their users' devices again; clients upload new keys"
    )
    await drop_one_time_keys(store)
    await mark_all_outdated(store)
    engine.make_own()
