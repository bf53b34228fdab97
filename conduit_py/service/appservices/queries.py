"""Asking application services for users and rooms of theirs that are not there yet: asked for, they may make them.

Spec: application-service-api/#querying
"""

from __future__ import annotations

from conduit_py.data import users
from conduit_py.log import get_logger
from conduit_py.matrix.appservices import matches
from conduit_py.matrix.ids import RoomAlias, UserId
from conduit_py.outbound.appservice import AppServiceClient
from conduit_py.outbound.errors import RemoteError
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.users.store import Store

_log = get_logger(__name__)


class AppServiceQueries:
    """One per server. What an application service makes, it makes by requests of its own before it answers."""

    def __init__(self, store: Store, appservices: AppServices, client: AppServiceClient) -> None:
        self._store = store
        self.appservices = appservices
        self._client = client

    async def ask_for_user(self, user_id: UserId) -> None:
        """Let whoever owns the name make a user of this server that somebody wants to invite."""
        owners = [it for it in self.appservices if it.url is not None and self.appservices.has_user(it, user_id)]
        if not owners:
            return
        with self._store.snapshot() as snapshot:
            if users.get_local(snapshot, user_id) is not None:
                return
        for appservice in owners:
            try:
                if await self._client.fetch_query_user_by_id(appservice, user_id):
                    return
            except RemoteError as error:
                _log.info("an application service cannot be asked", appservice=appservice.id, error=str(error))

    async def ask_for_alias(self, alias: RoomAlias) -> bool:
        """Let whoever owns the alias make a room for it. Whether one says that it did."""
        for appservice in self.appservices:
            if appservice.url is None or not matches(appservice.aliases, alias):
                continue
            try:
                if await self._client.fetch_query_room_by_alias(appservice, alias):
                    return True
            except RemoteError as error:
                _log.info("an application service cannot be asked", appservice=appservice.id, error=str(error))
        return False
