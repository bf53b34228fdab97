"""Uploads, and the deprecated downloads below ``/_matrix/media``, which ask for no access token.

Spec: client-server-api/#content-repository
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.content import serve_content
from conduit_py.api.media_query import read_asked, read_description, read_flag, read_method, read_size
from conduit_py.http.reply import Answer, Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.media.fetch import FetchService
from conduit_py.service.media.thumbnails import ThumbnailService
from conduit_py.service.media.upload import UploadService
from conduit_py.service.users.throttle import Throttle


def upload_routes(auth: Authenticator, uploads: UploadService, *, upload_bytes_max: int) -> Routes:
    """The operations that have no newer path."""
    routes = Routes("content_repo")

    @routes.post("/_matrix/media/v3/upload")
    async def upload_content(request: Request) -> Json:
        requester = auth.require_user(request)
        return {"content_uri": await uploads.upload(requester, request.body, read_description(request))}

    @routes.put("/_matrix/media/v3/upload/<server_name>/<media_id>")
    async def upload_content_to_mxc(request: Request, server_name: str, media_id: str) -> Json:
        requester = auth.require_user(request)
        await uploads.upload_to(requester, server_name, media_id, request.body, read_description(request))
        return {}

    @routes.post("/_matrix/media/v1/create")
    async def create_content(request: Request) -> Json:
        created = await uploads.create(auth.require_user(request))
        return {"content_uri": created.content_uri, "unused_expires_at": created.unused_expires_at_ms}

    @routes.get("/_matrix/media/v3/config")
    async def get_config(request: Request) -> Json:
        auth.require_user(request)
        return {"m.upload.size": upload_bytes_max}

    return routes


def legacy_routes(auth: Authenticator, fetch: FetchService, thumbnails: ThumbnailService, throttle: Throttle) -> Routes:
    """The frozen downloads. Who asks is known by the address alone."""
    routes = Routes("content_repo")

    @routes.get("/_matrix/media/v3/download/<server_name>/<media_id>")
    async def get_content(request: Request, server_name: str, media_id: str) -> Answer:
        throttle(("media_fetch", auth.client_address(request)))
        content = await fetch.get_content(read_asked(request, server_name, media_id, is_legacy=True))
        return await serve_content(request, fetch, content, filename=content.filename)

    @routes.get("/_matrix/media/v3/download/<server_name>/<media_id>/<file_name>")
    async def get_content_override_name(request: Request, server_name: str, media_id: str, file_name: str) -> Answer:
        throttle(("media_fetch", auth.client_address(request)))
        content = await fetch.get_content(read_asked(request, server_name, media_id, is_legacy=True))
        return await serve_content(request, fetch, content, filename=file_name)

    @routes.get("/_matrix/media/v3/thumbnail/<server_name>/<media_id>")
    async def get_content_thumbnail(request: Request, server_name: str, media_id: str) -> Answer:
        throttle(("media_fetch", auth.client_address(request)))
        width, height = read_size(request)
        content, data = await thumbnails.get_thumbnail(
            read_asked(request, server_name, media_id, is_legacy=True),
            width=width,
            height=height,
            method=read_method(request),
            is_animated=read_flag(request, "animated"),
        )
        return await serve_content(request, fetch, content, filename=content.filename, data=data)

    return routes
