"""Letting an application service see whether the server can reach it.

Spec: application-service-api/#pinging
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from conduit_py.matrix.appservices import Registration
from conduit_py.outbound.appservice import AppServiceClient, BadStatus
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.errors import Forbidden, MatrixError

TIMEOUT_S: Final = 15.0
"""Before the request as such is given up."""


class PingService:
    """One per server. ``clock`` gives seconds."""

    def __init__(self, client: AppServiceClient, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    async def ping(self, appservice: Registration, appservice_id: str, transaction_id: str | None) -> int:
        """How many ms it took the application service to answer.

        Raises ``Forbidden``, ``M_URL_NOT_SET``, ``M_BAD_STATUS``, ``M_CONNECTION_FAILED``, ``M_CONNECTION_TIMEOUT``.

        Spec: client-server-api/#post_matrixclientv1appserviceappserviceidping
        """
        if appservice_id != appservice.id:
            raise Forbidden("An application service can only have itself pinged")
        if appservice.url is None:
            raise MatrixError("The application service has no URL", errcode="M_URL_NOT_SET", status=400)
        begun = self._clock()
        try:
            with trio.fail_after(TIMEOUT_S):
                await self._client.fetch_ping(appservice, transaction_id)
        except trio.TooSlowError:
            raise MatrixError("No answer in time", errcode="M_CONNECTION_TIMEOUT", status=504) from None
        except BadStatus as error:
            extra = {"status": error.status, "body": error.body}
            message = f"The application service answered with status {error.status}"
            raise MatrixError(message, errcode="M_BAD_STATUS", status=502, extra=extra) from None
        except Unreachable as error:
            raise MatrixError(str(error), errcode="M_CONNECTION_FAILED", status=502) from None
        return int((self._clock() - begun) * 1000)
