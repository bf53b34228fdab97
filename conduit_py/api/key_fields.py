"""What queries and claims of keys ask for, by clients and by servers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from conduit_py.api.fields import Body, require_field
from conduit_py.service.errors import BadJson, TooLarge

USERS_MAX: Final = 10_000
"""In a query. Clients ask for some hundred users at a time."""
CLAIMS_MAX: Final = 5_000
"""Devices of which a key is claimed. Clients ask for those of one room at a time, if not for fewer."""


def require_device_ids(body: Body) -> dict[str, list[str]]:
    """``device_keys`` of a query: device ids by user id. Raises ``BadJson``, ``MissingParam``, ``TooLarge``."""
    wanted: dict[str, Any] = require_field(body, "device_keys", dict)
    if len(wanted) > USERS_MAX:
        raise TooLarge(f"A query must not be for more than {USERS_MAX} users")
    for device_ids in wanted.values():
        if not isinstance(device_ids, list) or not all(isinstance(it, str) for it in device_ids):
            raise BadJson("device_keys must be an object of lists of strings")
    return wanted


def require_algorithms(body: Body) -> dict[str, dict[str, str]]:
    """``one_time_keys`` of a claim: algorithms by user id and device id.

    Raises ``BadJson``, ``MissingParam``, ``TooLarge``.
    """
    wanted: dict[str, Any] = require_field(body, "one_time_keys", dict)
    for by_device in wanted.values():
        if not isinstance(by_device, dict) or not all(isinstance(it, str) for it in by_device.values()):
            raise BadJson("one_time_keys must be an object of objects of strings")
    require_few(wanted.values(), CLAIMS_MAX, "keys")
    return wanted


def require_few(by_device: Iterable[Collection[Any]], most: int, what: str) -> None:
    """Raises ``TooLarge`` for more things of devices than are looked at without a pause."""
    if sum(max(len(it), 1) for it in by_device) > most:
        raise TooLarge(f"A request must not have more than {most} {what}")
