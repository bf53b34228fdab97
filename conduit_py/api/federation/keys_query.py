"""``GET /_matrix/key/v2/query/{serverName}`` and ``POST /_matrix/key/v2/query``

Spec: server-server-api/#querying-keys-through-another-server
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import KeyId
from conduit_py.service.errors import BadJson, InvalidParam
from conduit_py.service.federation.notary import KeyQuery, Notary

BODY_BYTES_MAX: Final = 256 * 1024
"""A query for the most servers and keys that are answered fits in it."""

TS_DIGITS_MAX: Final = 16


def routes(auth: ServerAuthenticator, notary: Notary, *, now_ms: Callable[[], int]) -> Routes:
    """The operations of this module."""
    routes = Routes("keys_query")

    @routes.get("/_matrix/key/v2/query/<server_name>")
    async def perspectives_key_query(request: Request, server_name: str) -> Json:
        auth.throttle(request)
        text = request.args.get("minimum_valid_until_ts")
        query = KeyQuery(frozenset(), now_ms() if text is None else _parse_ts(text))
        return {"server_keys": await notary.fetch_signed({server_name: query})}

    @routes.post("/_matrix/key/v2/query")
    async def bulk_perspectives_key_query(request: Request) -> Json:
        auth.require_allowed()
        auth.throttle(request)
        body = await request.json_object(bytes_max=BODY_BYTES_MAX)
        wanted = _object(body.get("server_keys"), "server_keys")
        queries = {name: _parse_query(keys, now_ms()) for name, keys in wanted.items()}
        return {"server_keys": await notary.fetch_signed(queries)}

    return routes


def _parse_ts(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= TS_DIGITS_MAX):
        raise InvalidParam("minimum_valid_until_ts must be a time in milliseconds")
    return int(text)


def _parse_query(keys: Any, now_ms: int) -> KeyQuery:
    key_ids = _object(keys, "the keys of a server")
    times = [_minimum(_object(criteria, "the criteria of a key"), now_ms) for criteria in key_ids.values()]
    return KeyQuery(frozenset(map(KeyId, key_ids)), max(times, default=now_ms))


def _minimum(criteria: dict[str, Any], now_ms: int) -> int:
    minimum = criteria.get("minimum_valid_until_ts", now_ms)
    if type(minimum) is not int:
        raise BadJson("minimum_valid_until_ts must be an integer")
    return minimum


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadJson(f"{what} must be an object")
    return value
