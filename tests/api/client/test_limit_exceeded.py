"""Every operation that has a limit says so when it is reached, in the specification's words, and does nothing."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from conduit_py.config import RateLimits
from tests.rig.asking import ask_member, ask_redact, ask_send, ask_state
from tests.rig.auth import by_password
from tests.rig.client import Client, Response
from tests.rig.media import ask_upload, ask_upload_to, download, thumbnail
from tests.rig.media import create as create_media
from tests.rig.rooms import create, in_room, send
from tests.rig.server import Server, load_test_config
from tests.rig.whole import WholeServer, open_whole

LIMITS = [name for name in RateLimits.__dataclass_fields__ if name != "enabled"]
TIGHT = {
    f"RATE_LIMITS__{name.upper()}__{field}": value
    for name in LIMITS
    for field, value in (("BURST", "1"), ("PER_SECOND", "0.001"))
}


class Scene:
    """Alice has a room, and a server without limits is there to set things up on."""

    def __init__(self, alice: Client, bob: Client, room_id: str, event_id: str, uris: list[str]) -> None:
        self.alice, self.bob = alice, bob
        self.room_id, self.event_id = room_id, event_id
        self.uris = uris
        """Where content may be uploaded to, once each."""

    def wrong(self) -> dict[str, object]:
        return {"auth": by_password(self.alice, "wrong"), "new_password": "x" * 12}


Ask = Callable[[Scene], Awaitable[Response]]
MEDIA = "/_matrix/media/v3"
AUTHED = "/_matrix/client/v1/media"

OPERATIONS: dict[str, Ask] = {
    "login": lambda it: it.bob.post(
        "/login", {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": "x"}
    ),
    "register": lambda it: it.bob.post("/register", {"username": "carol", "auth": {"type": "m.login.dummy"}}),
    "changePassword": lambda it: it.alice.post("/account/password", it.wrong()),
    "deactivateAccount": lambda it: it.alice.post("/account/deactivate", it.wrong()),
    "generateLoginToken": lambda it: it.alice.post("/_matrix/client/v1/login/get_token", it.wrong()),
    "sendMessage": lambda it: ask_send(it.alice, it.room_id, {"body": "x", "msgtype": "m.text"}),
    "setRoomStateWithKey": lambda it: ask_state(it.alice, it.room_id, "m.room.topic", {"topic": "x"}),
    "redactEvent": lambda it: ask_redact(it.alice, it.room_id, it.event_id),
    "kick": lambda it: ask_member(it.alice, it.room_id, "kick", "@nobody:one.test"),
    "ban": lambda it: ask_member(it.alice, it.room_id, "ban", "@nobody:one.test"),
    "unban": lambda it: ask_member(it.alice, it.room_id, "unban", "@nobody:one.test"),
    "setProfileField": lambda it: it.alice.put(
        f"/profile/{it.alice.user_id}/displayname", {"displayname": secrets.token_hex(4)}
    ),
    "deleteProfileField": lambda it: it.alice.delete(f"/profile/{it.alice.user_id}/avatar_url"),
    "inviteUser": lambda it: ask_member(it.alice, it.room_id, "invite", "@nobody:one.test"),
    "joinRoom": lambda it: it.bob.post(f"/join/{it.room_id}", {}),
    "joinRoomById": lambda it: it.bob.post(in_room(it.room_id, "join"), {}),
    "knockRoom": lambda it: it.bob.post(f"/knock/{it.room_id}", {}),
    "createRoom": lambda it: it.alice.post("/createRoom", {}),
    "upgradeRoom": lambda it: it.bob.post(in_room(it.room_id, "upgrade"), {"new_version": "12"}),
    "uploadContent": lambda it: ask_upload(it.alice, b"x"),
    "createContent": lambda it: it.alice.request("POST", "/_matrix/media/v1/create"),
    "uploadContentToMXC": lambda it: ask_upload_to(it.alice, it.uris.pop(), b"x"),
    "getContent": lambda it: download(it.alice, it.uris[0], base=f"{MEDIA}/download", query="?timeout_ms=0"),
    "getContentOverrideName": lambda it: download(
        it.alice, it.uris[0], base=f"{MEDIA}/download", query="/name?timeout_ms=0"
    ),
    "getContentThumbnail": lambda it: thumbnail(
        it.alice, it.uris[0], base=f"{MEDIA}/thumbnail", width=9, height=9, timeout_ms=0
    ),
    "getContentAuthed": lambda it: download(it.alice, it.uris[0], query="?timeout_ms=0"),
    "getContentOverrideNameAuthed": lambda it: download(it.alice, it.uris[0], query="/name?timeout_ms=0"),
    "getContentThumbnailAuthed": lambda it: thumbnail(it.alice, it.uris[0], width=9, height=9, timeout_ms=0),
}


async def set_scene(server: Server, media: str) -> Scene:
    async with open_whole(server, MEDIA__PATH=media) as free:
        alice, bob = await free.register("alice"), await free.register("bob")
        room_id = await create(alice)
        return Scene(
            alice, bob, room_id, await send(alice, room_id, "hello"), [await create_media(alice) for _ in range(2)]
        )


def enter(whole: WholeServer, scene: Scene) -> None:
    for client in (scene.alice, scene.bob):
        client.move(whole.client())


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_limit_exceeded(server: Server, operation: str, tmp_path: Path) -> None:
    media = str(tmp_path / "media")
    scene, ask = await set_scene(server, media), OPERATIONS[operation]
    async with open_whole(server, MEDIA__PATH=media, RATE_LIMITS__ENABLED="true", **TIGHT) as limited:
        enter(limited, scene)
        assert (await ask(scene)).status != 429
        async with server.leaves_no_trace():
            response = await ask(scene)
        assert response.outcome == (429, "M_LIMIT_EXCEEDED")
        assert 0 < response.json["retry_after_ms"] <= 1_000_000
        assert int(response.headers["retry-after"]) == -(-response.json["retry_after_ms"] // 1000)


def test_limits_are_tight_in_the_test() -> None:
    limits = load_test_config(RATE_LIMITS__ENABLED="true", **TIGHT).rate_limits
    assert {getattr(limits, name).burst for name in LIMITS} == {1}
