"""What queries and claims of keys ask for, by clients and by servers."""

from __future__ import annotations

from typing import Any

from conduit_py.api.fields import Body, require_field
from conduit_py.service.errors import BadJson


def require_device_ids(body: Body) -> dict[str, list[str]]:
    """``device_keys`` of a query: device ids by user id. Raises ``BadJson``, ``MissingParam``."""
    wanted: dict[str, Any] = require_field(body, "device_keys", dict)
    for device_ids in wanted.values():
        if not isinstance(device_ids, list) or not all(isinstance(it, str) for it in device_ids):
            raise BadJson("device_keys must be an object of lists of strings")
    return wanted


def require_algorithms(body: Body) -> dict[str, dict[str, str]]:
    """``one_time_keys`` of a claim: algorithms by user id and device id. Raises ``BadJson``, ``MissingParam``."""
    wanted: dict[str, Any] = require_field(body, "one_time_keys", dict)
    for by_device in wanted.values():
        if not isinstance(by_device, dict) or not all(isinstance(it, str) for it in by_device.values()):
            raise BadJson("one_time_keys must be an object of objects of strings")
    return wanted
