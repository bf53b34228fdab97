"""Downloads and thumbnails below ``/_matrix/client/v1/media``.

Spec: client-server-api/#content-repository
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.content import serve_content
from conduit_py.api.media_query import read_asked, read_flag, read_method, read_size
from conduit_py.http.reply import Answer, Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.media.fetch import FetchService
from conduit_py.service.media.thumbnails import ThumbnailService
from conduit_py.service.users.throttle import Throttle


def routes(
    auth: Authenticator,
    fetch: FetchService,
    thumbnails: ThumbnailService,
    throttle: Throttle,
    *,
    upload_bytes_max: int,
) -> Routes:
    """The operations of this module."""
    routes = Routes("authed_content_repo")

    def admit(request: Request) -> None:
        """Guests too: they see the rooms that media are in."""
        requester = auth.require_user(request, may_be_guest=True)
        throttle(("media_fetch", requester.limited_as))

    @routes.get("/_matrix/client/v1/media/download/<server_name>/<media_id>")
    async def get_content_authed(request: Request, server_name: str, media_id: str) -> Answer:
        admit(request)
        content = await fetch.get_content(read_asked(request, server_name, media_id, is_legacy=False))
        return await serve_content(request, fetch, content, filename=content.filename)

    @routes.get("/_matrix/client/v1/media/download/<server_name>/<media_id>/<file_name>")
    async def get_content_override_name_authed(
        request: Request, server_name: str, media_id: str, file_name: str
    ) -> Answer:
        admit(request)
        content = await fetch.get_content(read_asked(request, server_name, media_id, is_legacy=False))
        return await serve_content(request, fetch, content, filename=file_name)

    @routes.get("/_matrix/client/v1/media/thumbnail/<server_name>/<media_id>")
    async def get_content_thumbnail_authed(request: Request, server_name: str, media_id: str) -> Answer:
        admit(request)
        width, height = read_size(request)
        content, data = await thumbnails.get_thumbnail(
            read_asked(request, server_name, media_id, is_legacy=False),
            width=width,
            height=height,
            method=read_method(request),
            is_animated=read_flag(request, "animated"),
        )
        return await serve_content(request, fetch, content, filename=content.filename, data=data)

    @routes.get("/_matrix/client/v1/media/config")
    async def get_config_authed(request: Request) -> Json:
        auth.require_user(request)
        return {"m.upload.size": upload_bytes_max}

    return routes
