"""Matrix identifiers as distinct types, and the grammar checks that create them.

Spec: appendices/#common-identifier-format
"""

from __future__ import annotations

from typing import NewType

RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)
EventId = NewType("EventId", str)
DeviceId = NewType("DeviceId", str)
ServerName = NewType("ServerName", str)
RoomAlias = NewType("RoomAlias", str)
