"""The operations of end-to-end encryption."""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import cross_signing, dehydrated_devices, key_backup, keys, to_device
from conduit_py.api.federation import user_devices, user_keys
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.build import E2ee


def e2ee_routes(auth: Authenticator, to: E2ee) -> list[Routes]:
    """The routes of every module, in the order of the spec's OpenAPI files."""
    return [
        cross_signing.routes(auth, to.cross_signing),
        dehydrated_devices.routes(auth, to.dehydrated),
        key_backup.routes(auth, to.backup),
        keys.routes(auth, to.keys, to.lists),
        to_device.routes(auth, to.to_device),
    ]


def e2ee_server_routes(auth: ServerAuthenticator, to: E2ee) -> list[Routes]:
    """The same for what other servers call."""
    return [
        user_devices.routes(auth, to.for_servers),
        user_keys.routes(auth, to.for_servers),
    ]
