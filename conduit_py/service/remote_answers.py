"""What a client is told where another server had to be asked and did not help."""

from __future__ import annotations

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused, RemoteError
from conduit_py.service.errors import Forbidden, MatrixError, NotFound


def build_refusal(error: RemoteError, server_name: ServerName) -> MatrixError:
    """That it may not, or that there is nothing, where the other server said so; 502 for anything else.

    Nothing else is passed on: an errcode about tokens would log the client out here.
    """
    if isinstance(error, Refused) and error.status == 403:
        return Forbidden(f"{server_name} does not tell: {error.message}")
    if isinstance(error, Refused) and error.status == 404:
        return NotFound(f"{server_name} has no such thing: {error.message}")
    return MatrixError(f"{server_name} does not answer", errcode="M_UNKNOWN", status=502)
