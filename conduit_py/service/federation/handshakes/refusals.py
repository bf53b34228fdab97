"""What a user is told when no other server helped.

Spec: server-server-api/#get_matrixfederationv1make_joinroomiduserid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from conduit_py.matrix.ids import RoomId
from conduit_py.outbound.errors import Refused, RemoteError
from conduit_py.service.errors import MatrixError, NotFound

_SAYS_NOTHING: Final = frozenset(
    {"M_INVALID_PARAM", "M_MISSING_PARAM", "M_UNAUTHORIZED", "M_UNKNOWN", "M_UNRECOGNIZED"}
)
"""What they say of our request, and not of the user's, or where no Matrix server is."""


def build_refusal(room_id: RoomId, errors: Sequence[RemoteError]) -> MatrixError:
    """The most telling of what other servers said; that none is known where none was asked."""
    if not errors:
        return NotFound(f"no server that is known here is in {room_id}")
    told = [error for error in errors if isinstance(error, Refused) and error.status < 500]
    clear = [error for error in told if error.errcode not in _SAYS_NOTHING]
    best = min(clear, key=lambda error: error.errcode == "M_NOT_FOUND", default=None)
    if best is not None:
        status = best.status if best.status in (400, 403, 404, 429) else 403
        extra = None if best.room_version is None else {"room_version": best.room_version}
        return MatrixError(best.message, errcode=best.errcode, status=status, extra=extra)
    return MatrixError(f"no server has helped: {errors[0]}", errcode="M_UNKNOWN", status=502)
