"""Dot-separated paths to a property of an event, such as ``content.m\\.relates_to.rel_type``.

Spec: appendices/#dot-separated-property-paths
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]

_PART = re.compile(r"(?:\\.|[^.\\]|\\)*", re.DOTALL)
_ESCAPED = re.compile(r"\\([.\\])")


def parse_path(text: str) -> Path:
    """The property names, outermost first. Any text is a path; escapes that the spec does not know stay as they are."""
    names: list[str] = []
    position = 0
    while True:
        part = _PART.match(text, position)
        assert part is not None, "the expression matches nothing at the least"
        names.append(_ESCAPED.sub(r"\1", part.group()))
        position = part.end() + 1
        if position > len(text):
            return tuple(names)


def get_property(event: Mapping[str, Any], path: Path, absent: Any = None) -> Any:
    """What stands at the path, or ``absent`` when the event has no such property."""
    value: Any = event
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return absent
        value = value[name]
    return value
