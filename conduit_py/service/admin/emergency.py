"""``emergency_password``: a way in for whoever runs the server and has lost every administrator's account.

While it is set, one can log in as the server's own account and has an administrator's rights; every start says so in
the log. The first start without it takes both away, and closes the sessions.
"""

from __future__ import annotations

from conduit_py.data import devices, users
from conduit_py.log import get_logger
from conduit_py.matrix.ids import UserId
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key

_log = get_logger(__name__)


class EmergencyAccess:
    """One per server.

    :param password: None while it is not set.
    """

    def __init__(self, store: Store, passwords: Passwords, sessions: SessionService, password: str | None) -> None:
        self._store = store
        self._passwords = passwords
        self._sessions = sessions
        self._password = password

    async def settle(self, user_id: UserId) -> None:
        """Open the server's own account, or shut it. There must be one."""
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, user_id)
            assert found is not None, "the account was just made"
            user, account = found
            has_devices = any(True for _ in devices.scan_devices(snapshot, user))
        if self._password is not None:
            _log.warning(
                "emergency_password is set: whoever knows it can log in as the server's own account and is an "
                "administrator. Take it out of the configuration when you are done",
                user_id=user_id,
            )
            if await self._passwords.verify(account.password_hash, self._password) and account.is_admin:
                return
            password_hash = await self._passwords.hash(self._password)
        elif account.password_hash or account.is_admin or has_devices:
            password_hash = ""
        else:
            return
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                self._sessions.stage_all_closed(snapshot, turn, user)
            changed = account._replace(password_hash=password_hash, is_admin=bool(password_hash))
            users.stage_account(turn, user, changed)
