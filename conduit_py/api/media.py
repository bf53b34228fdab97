"""The operations of the content repository."""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import authed_content_repo, content_repo
from conduit_py.config import Config
from conduit_py.http.routes import Routes
from conduit_py.service.media.build import MediaServices
from conduit_py.service.users.throttle import Throttle


def media_routes(config: Config, auth: Authenticator, media: MediaServices, throttle: Throttle) -> list[Routes]:
    """The routes of every module."""
    size = config.max_request_size
    return [
        authed_content_repo.routes(auth, media.fetch, media.thumbnails, throttle, upload_bytes_max=size),
        content_repo.upload_routes(auth, media.upload, upload_bytes_max=size),
        content_repo.legacy_routes(auth, media.fetch, media.thumbnails, throttle),
    ]
