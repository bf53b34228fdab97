"""What application services know of other networks: handed on as they tell it.

Spec: client-server-api/#third-party-lookups
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from conduit_py.log import get_logger
from conduit_py.matrix.appservices import Registration, matches
from conduit_py.matrix.ids import UserId
from conduit_py.outbound.appservice import AppServiceClient
from conduit_py.outbound.errors import RemoteError
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.instances import instance_id
from conduit_py.service.errors import NotFound

_log = get_logger(__name__)

RESULTS_MAX: Final = 1000
"""In one answer."""

_FORM: Final = {"user_fields": list, "location_fields": list, "icon": str, "field_types": dict, "instances": list}
"""What there must be in the description of a protocol."""

Json = dict[str, Any]


class ThirdPartyService:
    """One per server."""

    def __init__(self, appservices: AppServices, client: AppServiceClient) -> None:
        self._appservices = appservices
        self._client = client

    async def get_protocols(self) -> Json:
        """The networks by their names. Spec: client-server-api/#get_matrixclientv3thirdpartyprotocols"""
        names = sorted({protocol for appservice in self._appservices for protocol in appservice.protocols})
        found = {name: await self._find_protocol(name) for name in names}
        return {name: protocol for name, protocol in found.items() if protocol is not None}

    async def require_protocol(self, protocol: str) -> Json:
        """Raises ``NotFound``. Spec: client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol"""
        found = await self._find_protocol(protocol)
        if found is None:
            raise NotFound("No application service speaks this protocol")
        return found

    async def find_users(self, protocol: str, fields: Mapping[str, str]) -> list[Json]:
        """Raises ``NotFound``. Spec: client-server-api/#get_matrixclientv3thirdpartyuserprotocol"""
        speakers = self._require_speakers(protocol)
        return await self._gather(
            speakers, lambda it: self._client.fetch_query_user_by_protocol(it, protocol, fields), "userid"
        )

    async def find_locations(self, protocol: str, fields: Mapping[str, str]) -> list[Json]:
        """Raises ``NotFound``. Spec: client-server-api/#get_matrixclientv3thirdpartylocationprotocol"""
        speakers = self._require_speakers(protocol)
        return await self._gather(
            speakers, lambda it: self._client.fetch_query_location_by_protocol(it, protocol, fields), "alias"
        )

    async def require_locations_of(self, alias: str) -> list[Json]:
        """Raises ``NotFound``. Spec: client-server-api/#get_matrixclientv3thirdpartylocation"""
        owners = [it for it in self._appservices if it.url is not None and matches(it.aliases, alias)]
        found = await self._gather(owners, lambda it: self._client.fetch_query_location_by_alias(it, alias), "alias")
        if not found:
            raise NotFound("No application service knows this room")
        return found

    async def require_users_of(self, user_id: str) -> list[Json]:
        """Raises ``NotFound``. Spec: client-server-api/#get_matrixclientv3thirdpartyuser"""
        owners = [
            it for it in self._appservices if it.url is not None and self._appservices.has_user(it, UserId(user_id))
        ]
        found = await self._gather(owners, lambda it: self._client.fetch_query_user_by_userid(it, user_id), "userid")
        if not found:
            raise NotFound("No application service knows this user")
        return found

    def _speakers(self, protocol: str) -> list[Registration]:
        return [it for it in self._appservices if it.url is not None and protocol in it.protocols]

    def _require_speakers(self, protocol: str) -> list[Registration]:
        speakers = self._speakers(protocol)
        if not speakers:
            raise NotFound("No application service speaks this protocol")
        return speakers

    async def _find_protocol(self, protocol: str) -> Json | None:
        """The first one that describes the protocol does; the instances are those of all."""
        described: Json | None = None
        for appservice in self._speakers(protocol):
            try:
                told = await self._client.fetch_get_protocol_metadata(appservice, protocol)
            except RemoteError as error:
                _note(appservice, error)
                continue
            if not isinstance(told, dict) or not all(isinstance(told.get(key), kind) for key, kind in _FORM.items()):
                continue
            instances = [_with_instance_id(appservice, it) for it in told["instances"] if isinstance(it, dict)]
            if described is None:
                described = {key: told[key] for key in _FORM} | {"instances": []}
            described["instances"] += instances
        return described

    async def _gather(
        self, asked: list[Registration], ask: Callable[[Registration], Awaitable[Any]], field: str
    ) -> list[Json]:
        """What each tells, as far as it has the form of a result."""
        found: list[Json] = []
        for appservice in asked:
            try:
                told = await ask(appservice)
            except RemoteError as error:
                _note(appservice, error)
                continue
            results = told if isinstance(told, list) else []
            found += [it for it in results if _is_result(it, field)]
        return found[:RESULTS_MAX]


def _is_result(result: Any, field: str) -> bool:
    return (
        isinstance(result, dict)
        and isinstance(result.get(field), str)
        and isinstance(result.get("protocol"), str)
        and isinstance(result.get("fields"), dict)
    )


def _with_instance_id(appservice: Registration, instance: Json) -> Json:
    network_id = instance.get("network_id")
    return instance | {"instance_id": instance_id(appservice.id, network_id if isinstance(network_id, str) else "")}


def _note(appservice: Registration, error: RemoteError) -> None:
    _log.info("an application service cannot be asked", appservice=appservice.id, error=str(error))
