"""``GET /_matrix/client/versions``

Spec: client-server-api/#get_matrixclientversions
"""

from __future__ import annotations

from collections.abc import Mapping

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes

VERSIONS = ("r0.5.0", "r0.6.0", "r0.6.1", *(f"v1.{minor}" for minor in range(1, 20)))


def routes(unstable_features: Mapping[str, bool]) -> Routes:
    """The operations of this module. ``unstable_features`` names what is there beyond these versions."""
    routes = Routes("versions")
    answer = {"versions": list(VERSIONS), "unstable_features": unstable_features}

    @routes.get("/_matrix/client/versions")
    async def get_versions(request: Request) -> Json:
        return answer

    return routes
