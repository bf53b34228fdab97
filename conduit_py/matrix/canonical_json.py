"""Canonical JSON: the one encoding over which everything is hashed and signed.

orjson does the work. It agrees with the reference encoder byte for byte except for numbers that the spec forbids
(floats, integers beyond 64 bits), so one pass over the value finds those: strict room versions refuse them, and for the
older ones the reference encoder is used, because its output is what other servers have hashed.

Spec: appendices/#canonical-json
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

import canonicaljson
import orjson

from conduit_py.matrix.ids import Malformed

INT_MAX: Final = 2**53 - 1
INT_MIN: Final = -INT_MAX

JSON_DEPTH_MAX: Final = 200
"""Nested arrays and objects. orjson writes 254, and a reply or transaction wraps an event a few levels deeper."""

_ORJSON_INT_MAX: Final = 2**64 - 1
_ORJSON_INT_MIN: Final = -(2**63)

# orjson reads an integer beyond 64 bits as a float. Such a number has at least 19 digits: all become "0", so that
# a plain search finds the input for which the exact (and ten times slower) parser has to be asked. That one is laxer
# about the rest (NaN, lone surrogates), hence always second.
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19


class NotJson(Malformed):
    """The bytes are not JSON that this server reads."""


def encode_canonical_json(value: Any, *, strict: bool, values_max: int | None = None) -> bytes:
    """Encode ``value``; ``strict`` says whether the spec's limits on numbers are enforced (room version 6 and later).

    What must not be longer than some bytes has no more values than these (``values_max``): more are not looked at.

    Raises :class:`Malformed` for a value without canonical form: nested deeper than :data:`JSON_DEPTH_MAX`, a lone
    surrogate, an infinite number, too many values, and, when strict, a float or an integer outside of ±(2**53 - 1).
    """
    needs_reference_encoder = _check_numbers_and_depth(value, strict=strict, values_max=values_max)
    try:
        if needs_reference_encoder:
            return bytes(canonicaljson.encode_canonical_json(value))
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
        raise Malformed(f"the value has no JSON encoding: {error}") from None


def parse_json(data: bytes, *, depth_max: int = JSON_DEPTH_MAX) -> Any:
    """Parse UTF-8 JSON as received from outside; integers keep their exact value whatever their size.

    Raises :class:`NotJson` for what is not JSON (``NaN`` and lone surrogates included) or nested deeper than
    ``depth_max``. A federation transaction may pass a higher limit, so that one event that is too deep does not take
    the others with it; above 1024 nothing is parsed.
    """
    value = load_json(data)
    # Counting brackets is nearly free and clears all honest input; only the rest is looked at closely.
    if data.count(b"[") + data.count(b"{") > depth_max and is_deeper(value, depth_max):
        raise NotJson(f"JSON must not be nested deeper than {depth_max} levels")
    return value


def load_json(data: bytes) -> Any:
    """The same, for what is known not to be nested deeply."""
    try:
        value = orjson.loads(data)
        if _LONG_NUMBER in data.translate(_DIGITS_TO_ZERO):
            value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not JSON: {error}") from None
    return value


def _check_numbers_and_depth(value: Any, *, strict: bool, values_max: int | None) -> bool:
    """Whether ``value`` has numbers that orjson writes differently from the reference encoder."""
    found = False
    level = [value]
    depth = 0
    while level:
        depth += 1
        if values_max is not None and len(level) > values_max:
            raise Malformed(f"there are more than {values_max} values")
        nests = False
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is bool or item is None:
                continue
            if kind is int:
                if strict and not INT_MIN <= item <= INT_MAX:
                    raise Malformed("integers must be within ±(2**53 - 1)")
                found = found or not _ORJSON_INT_MIN <= item <= _ORJSON_INT_MAX
            elif kind is dict:
                nests = True
                below.extend(item.values())
            elif kind is list or kind is tuple:
                nests = True
                below.extend(item)
            elif kind is float:
                if strict:
                    raise Malformed("numbers must be integers")
                if not isfinite(item):
                    raise Malformed("numbers must be finite")
                found = True
            elif not isinstance(item, str):
                raise TypeError(f"{kind.__name__} is not a JSON type")
        # Empty ones count too: what is accepted here must be readable again by parse_json.
        if nests and depth > JSON_DEPTH_MAX:
            raise Malformed(f"JSON must not be nested deeper than {JSON_DEPTH_MAX} levels")
        level = below
    return found


def is_deeper(value: Any, levels: int) -> bool:
    """Are lists and objects nested in more levels than these?"""
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        children = [child for parent in layer for child in (parent.values() if isinstance(parent, dict) else parent)]
        layer = [child for child in children if isinstance(child, dict | list)]
    return bool(layer)
