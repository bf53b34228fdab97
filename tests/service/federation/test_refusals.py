"""What a user is told of what other servers said."""

from __future__ import annotations

from conduit_py.matrix.ids import RoomId
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.service.federation.handshakes.refusals import build_refusal

ROOM = RoomId("!r:two.test")


def test_version_of_a_room_that_is_not_known_is_told() -> None:
    refused = Refused(400, "M_INCOMPATIBLE_ROOM_VERSION", "your server does not know it", room_version="99")
    told = build_refusal(ROOM, [Unreachable("it is gone"), refused, Refused(404, "M_NOT_FOUND", "no such room")])
    assert (told.status, told.errcode, told.extra) == (400, "M_INCOMPATIBLE_ROOM_VERSION", {"room_version": "99"})
    assert build_refusal(ROOM, [Refused(404, "M_NOT_FOUND", "no such room")]).extra == {}
