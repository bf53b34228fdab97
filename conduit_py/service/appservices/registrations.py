"""Application services that administrators register by command, beside those whose files the configuration names.

They are kept as they were given, and begin and end while the server runs. What the configuration names comes first: a
kept registration with an id or token of its is passed over at start, with a word in the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Final

from conduit_py.config.registrations import NotYaml, parse_yaml_registration
from conduit_py.data import appservices as data
from conduit_py.log import get_logger
from conduit_py.matrix.appservices import Registration
from conduit_py.matrix.house import SERVER_LOCALPART
from conduit_py.matrix.ids import Malformed
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.errors import InvalidParam, LimitExceeded, NotFound
from conduit_py.service.users.store import Store
from kvschema.catalog.appservices import REGISTRATIONS_MAX

_log = get_logger(__name__)

REMOVED_MAX: Final = 1000
"""Events that waited for an application service, removed in one batch."""
_LOCK: Final = "appservice_registrations"


def add_kept(store: Store, registry: AppServices) -> None:
    """At start: those that were registered by command."""
    with store.snapshot() as snapshot:
        kept = list(data.scan_registrations(snapshot))
    for appservice_id, text in kept:
        try:
            registry.add(_parse(text, registry))
        except InvalidParam as error:
            _log.warning("a registered application service is passed over", appservice=appservice_id, error=str(error))


class AppServiceRegistrations:
    """One per server.

    :param make_senders: makes the accounts that application services act as by themselves.
    """

    def __init__(
        self,
        store: Store,
        registry: AppServices,
        queue: AppServiceQueue,
        ephemeral: AppServiceEphemeral,
        *,
        make_senders: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._registry = registry
        self._queue = queue
        self._ephemeral = ephemeral
        self._make_senders = make_senders

    def scan(self) -> Iterator[tuple[Registration, bool]]:
        """Every application service, and whether it was registered by command."""
        kept = self._get_kept()
        for registration in self._registry:
            yield registration, registration.id in kept

    async def register(self, text: str) -> Registration:
        """Raises ``InvalidParam`` and ``LimitExceeded``."""
        async with self._store.locks.hold(_LOCK):
            registration = _parse(text, self._registry)
            if len(self._get_kept()) >= REGISTRATIONS_MAX:
                raise LimitExceeded(f"There are {REGISTRATIONS_MAX} registered application services already")
            async with self._store.writer.turn() as turn:
                data.stage_registration(turn, registration.id, text)
            self._registry.add(registration)
            await self._make_senders()
        return registration

    async def unregister(self, appservice_id: str) -> None:
        """Raises ``NotFound``, and ``InvalidParam`` for one that the configuration names."""
        async with self._store.locks.hold(_LOCK):
            is_kept = appservice_id in self._get_kept()
            registration = self._registry.get(appservice_id)
            if registration is None and not is_kept:
                raise NotFound(f"There is no application service {appservice_id}")
            if not is_kept:
                raise InvalidParam(f"{appservice_id} is registered by a file: take it out of appservices instead")
            async with self._store.writer.turn() as turn:
                data.stage_registration(turn, appservice_id, None)
            if registration is not None:
                self._registry.remove(registration)
                await self._drop_waiting(appservice_id)
                self._queue.forget(appservice_id)
                self._ephemeral.forget(appservice_id)

    async def _drop_waiting(self, appservice_id: str) -> None:
        has_more = True
        while has_more:
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    places = [pos for pos, _ in islice(data.scan_events(snapshot, appservice_id), REMOVED_MAX)]
                data.stage_events_removed(turn, appservice_id, places)
                data.stage_sending(turn, appservice_id, None)
            has_more = len(places) == REMOVED_MAX

    def _get_kept(self) -> dict[str, str]:
        with self._store.snapshot() as snapshot:
            return dict(data.scan_registrations(snapshot))


def _parse(text: str, registry: AppServices) -> Registration:
    try:
        registration = parse_yaml_registration(text)
    except NotYaml:
        raise InvalidParam("The registration is not YAML") from None
    except Malformed as error:
        raise InvalidParam(f"The registration cannot be used: {error}") from None
    if registry.get(registration.id) is not None:
        raise InvalidParam(f"There is an application service {registration.id} already: unregister it first")
    if registry.find_by_token(registration.as_token) is not None:
        raise InvalidParam("The as_token of the registration is another application service's")
    if registration.sender_localpart == SERVER_LOCALPART:
        raise InvalidParam(f"sender_localpart must not be {SERVER_LOCALPART}, which is the server itself")
    return registration
