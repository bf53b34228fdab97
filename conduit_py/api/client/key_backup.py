"""``/_matrix/client/v3/room_keys``

Spec: client-server-api/#server-side-key-backups
"""

from __future__ import annotations

from typing import Any, Final

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_field, require_field
from conduit_py.api.params import require_argument
from conduit_py.http.reply import JSON_TYPE, Json, Streamed
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.key_backup import KeyBackupService
from conduit_py.service.errors import BadJson

KEYS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Clients bring some hundred keys at a time; these are ten thousand."""


def routes(auth: Authenticator, backup: KeyBackupService) -> Routes:
    """The operations of this module."""
    routes = Routes("key_backup")
    _add_versions(routes, auth, backup)
    _add_writes(routes, auth, backup)
    _add_reads(routes, auth, backup)
    _add_deletes(routes, auth, backup)
    return routes


def _add_versions(routes: Routes, auth: Authenticator, backup: KeyBackupService) -> None:
    @routes.post("/_matrix/client/v3/room_keys/version")
    async def post_room_keys_version(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        algorithm, auth_data = require_field(body, "algorithm", str), require_field(body, "auth_data", dict)
        return {"version": await backup.create(requester, algorithm, auth_data)}

    @routes.get("/_matrix/client/v3/room_keys/version")
    async def get_room_keys_version_current(request: Request) -> Json:
        return backup.require_info(auth.require_user(request), None)

    @routes.get("/_matrix/client/v3/room_keys/version/<version>")
    async def get_room_keys_version(request: Request, version: str) -> Json:
        return backup.require_info(auth.require_user(request), version)

    @routes.put("/_matrix/client/v3/room_keys/version/<version>")
    async def put_room_keys_version(request: Request, version: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        algorithm, auth_data = require_field(body, "algorithm", str), require_field(body, "auth_data", dict)
        await backup.set_auth_data(requester, version, algorithm, auth_data, get_field(body, "version", str))
        return {}

    @routes.delete("/_matrix/client/v3/room_keys/version/<version>")
    async def delete_room_keys_version(request: Request, version: str) -> Json:
        await backup.delete(auth.require_user(request), version)
        return {}


def _add_writes(routes: Routes, auth: Authenticator, backup: KeyBackupService) -> None:
    @routes.put("/_matrix/client/v3/room_keys/keys")
    async def put_room_keys(request: Request) -> Json:
        requester, version = auth.require_user(request), require_argument(request, "version")
        by_room = _require_objects(await request.json_object(bytes_max=KEYS_BYTES_MAX), "rooms")
        rooms = {room_id: _require_objects(sessions, "sessions") for room_id, sessions in by_room.items()}
        return await backup.put_keys(requester, version, rooms)

    @routes.put("/_matrix/client/v3/room_keys/keys/<room_id>")
    async def put_room_keys_by_room_id(request: Request, room_id: str) -> Json:
        requester, version = auth.require_user(request), require_argument(request, "version")
        sessions = _require_objects(await request.json_object(bytes_max=KEYS_BYTES_MAX), "sessions")
        return await backup.put_keys(requester, version, {room_id: sessions})

    @routes.put("/_matrix/client/v3/room_keys/keys/<room_id>/<session_id>")
    async def put_room_key_by_session_id(request: Request, room_id: str, session_id: str) -> Json:
        requester, version = auth.require_user(request), require_argument(request, "version")
        key = await request.json_object()
        return await backup.put_keys(requester, version, {room_id: {session_id: key}})


def _add_reads(routes: Routes, auth: Authenticator, backup: KeyBackupService) -> None:
    @routes.get("/_matrix/client/v3/room_keys/keys")
    async def get_room_keys(request: Request) -> Streamed:
        requester, version = auth.require_user(request), require_argument(request, "version")
        return Streamed(backup.open_keys(requester, version, None), JSON_TYPE)

    @routes.get("/_matrix/client/v3/room_keys/keys/<room_id>")
    async def get_room_keys_by_room_id(request: Request, room_id: str) -> Streamed:
        requester, version = auth.require_user(request), require_argument(request, "version")
        return Streamed(backup.open_keys(requester, version, room_id), JSON_TYPE)

    @routes.get("/_matrix/client/v3/room_keys/keys/<room_id>/<session_id>")
    async def get_room_key_by_session_id(request: Request, room_id: str, session_id: str) -> Json:
        requester, version = auth.require_user(request), require_argument(request, "version")
        return backup.require_key(requester, version, room_id, session_id)


def _add_deletes(routes: Routes, auth: Authenticator, backup: KeyBackupService) -> None:
    @routes.delete("/_matrix/client/v3/room_keys/keys")
    async def delete_room_keys(request: Request) -> Json:
        return await backup.delete_keys(auth.require_user(request), require_argument(request, "version"))

    @routes.delete("/_matrix/client/v3/room_keys/keys/<room_id>")
    async def delete_room_keys_by_room_id(request: Request, room_id: str) -> Json:
        return await backup.delete_keys(auth.require_user(request), require_argument(request, "version"), room_id)

    @routes.delete("/_matrix/client/v3/room_keys/keys/<room_id>/<session_id>")
    async def delete_room_key_by_session_id(request: Request, room_id: str, session_id: str) -> Json:
        requester, version = auth.require_user(request), require_argument(request, "version")
        return await backup.delete_keys(requester, version, room_id, session_id)


def _require_objects(body: Body, name: str) -> dict[str, Any]:
    """A field that is an object of objects. Raises ``BadJson``, ``MissingParam``."""
    objects = require_field(body, name, dict)
    if not all(isinstance(value, dict) for value in objects.values()):
        raise BadJson(f"{name} must be an object of objects")
    return objects
