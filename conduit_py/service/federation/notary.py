"""Telling servers the keys of other servers, with our word for it.

Spec: server-server-api/#querying-keys-through-another-server
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_server_name
from conduit_py.service.errors import Forbidden, InvalidParam
from conduit_py.service.federation.keys import KeyRing, response_json
from conduit_py.service.federation.own_keys import OwnKeys

SERVERS_PER_QUERY_MAX: Final = 100
KEYS_PER_QUERY_MAX: Final = 1000
QUERY_TIMEOUT_S: Final = 15.0
"""After it, what is known is answered: who asks does not wait for ever either."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """What is asked about one server."""

    key_ids: frozenset[KeyId]
    """None: all of them."""
    minimum_valid_until_ts: int
    """Until when they should be valid, in ms."""


class Notary:
    """One per server."""

    def __init__(self, keys: KeyRing, own_keys: OwnKeys, *, is_allowed: bool) -> None:
        self._keys = keys
        self._own_keys = own_keys
        self._is_allowed = is_allowed

    async def fetch_signed(self, wanted: Mapping[str, KeyQuery]) -> list[dict[str, Any]]:
        """The answers of the servers in ``wanted`` about their keys, each signed by us too.

        Servers that do not answer and were never known are left out. Raises ``Forbidden`` and ``InvalidParam``.
        """
        if not self._is_allowed:
            raise Forbidden("This server does not talk with other servers")
        if len(wanted) > SERVERS_PER_QUERY_MAX or _count_keys(wanted) > KEYS_PER_QUERY_MAX:
            raise InvalidParam(f"At most {SERVERS_PER_QUERY_MAX} servers and {KEYS_PER_QUERY_MAX} keys at once")
        criteria = {_parse_name(name): query for name, query in wanted.items()}
        answers: dict[ServerName, dict[str, Any]] = {}
        with trio.move_on_after(QUERY_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for server_name, query in criteria.items():
                    nursery.start_soon(self._answer, answers, server_name, query)
        for server_name in criteria.keys() - answers.keys():
            self._add_known(answers, server_name)
        return [answers[server_name] for server_name in criteria if server_name in answers]

    async def _answer(
        self, answers: dict[ServerName, dict[str, Any]], server_name: ServerName, query: KeyQuery
    ) -> None:
        if server_name == self._own_keys.server_name:
            answers[server_name] = self._own_keys.get_published()
            return
        await self._keys.fetch_response(server_name, query.key_ids, query.minimum_valid_until_ts)
        self._add_known(answers, server_name)

    def _add_known(self, answers: dict[ServerName, dict[str, Any]], server_name: ServerName) -> None:
        response = self._keys.get_response(server_name)
        if response is not None:
            answers[server_name] = self._own_keys.sign(response_json(response))


def _count_keys(wanted: Mapping[str, KeyQuery]) -> int:
    return sum(len(query.key_ids) for query in wanted.values())


def _parse_name(name: str) -> ServerName:
    try:
        return parse_server_name(name)
    except Malformed as error:
        raise InvalidParam(str(error)) from None
