"""Each reply that the specification documents for the operations of the content repository is given when it should be.

``Client`` holds every reply against the documented schema; here it is seen that none is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conduit_py.outbound.media import TooLarge
from conduit_py.service.errors import LimitExceeded
from tests.contract import load_contract
from tests.rig.client import Client, Response
from tests.rig.images import plain, png_that_claims
from tests.rig.media import (
    CREATE,
    DOWNLOAD,
    LEGACY_DOWNLOAD,
    LEGACY_THUMBNAIL,
    THUMBNAIL,
    UPLOAD,
    MediaServer,
    ask_upload,
    ask_upload_to,
    create,
    download,
    open_media,
    thumbnail,
    upload,
)
from tests.rig.other_servers import OtherServers
from tests.rig.server import Server
from tests.spec.source import SPEC_IS_ABSENT

FILES = ("content-repo.yaml", "authed-content-repo.yaml")
REFUSED = ("getUrlPreview", "getUrlPreviewAuthed")
"""Operations that are not offered."""
NEVER = {
    ("getContent", 307): "nobody is sent elsewhere",
    ("getContent", 308): "nobody is sent elsewhere",
    ("getConfig", 429): "it costs nothing to answer",
}
"""Beginning of an operation's id, and the status that it does not answer."""
TOO_LARGE = "mxc://two.test/large"


@dataclass
class World:
    media: MediaServer
    alice: Client
    bob: Client
    limited: set[str]
    """What is limited from now on: the first part of a key of throttling."""

    def limit(self) -> None:
        self.limited.update(("media_fetch", "media_upload"))


@pytest.fixture
async def world(server: Server, tmp_path: Path) -> AsyncIterator[World]:
    limited: set[str] = set()

    def throttle(key: tuple[str, Hashable]) -> None:
        if key[0] in limited:
            raise LimitExceeded("Too many requests", extra={"retry_after_ms": 1000})

    others = OtherServers()
    others.fails(TOO_LARGE, TooLarge("large"))
    others.thumbnails[TOO_LARGE] = others.fails("mxc://two.test/thumbnail", TooLarge("large"))
    async with open_media(
        server, tmp_path / "media", source=others, throttle=throttle, MEDIA__ALLOW_LEGACY="true"
    ) as media:
        yield World(media, await media.register("alice"), await media.register("bob"), limited)


Ask = Callable[[World], Awaitable[Response]]


def downloads(base: str, suffix: str = "") -> dict[int, Ask]:
    async def ok(world: World) -> Response:
        return await download(world.alice, await upload(world.alice, b"x") + suffix, base=base)

    async def limited(world: World) -> Response:
        uri = await upload(world.alice, b"x")
        world.limit()
        return await download(world.alice, uri + suffix, base=base)

    async def large(world: World) -> Response:
        return await download(world.alice, TOO_LARGE + suffix, base=base)

    async def pending(world: World) -> Response:
        return await download(world.alice, await create(world.alice) + suffix, base=base, query="?timeout_ms=0")

    return {200: ok, 429: limited, 502: large, 504: pending}


def thumbnails(base: str) -> dict[int, Ask]:
    async def ask(world: World, uri: str, **query: int) -> Response:
        return await thumbnail(world.alice, uri, base=base, width=32, height=32, **query)

    async def ok(world: World) -> Response:
        return await ask(world, await upload(world.alice, plain(64, 64), "image/png"))

    async def no_image(world: World) -> Response:
        return await ask(world, await upload(world.alice, b"x", "image/png"))

    async def too_many_pixels(world: World) -> Response:
        return await ask(world, await upload(world.alice, png_that_claims(30_000, 30_000), "image/png"))

    async def limited(world: World) -> Response:
        uri = await upload(world.alice, plain(64, 64), "image/png")
        world.limit()
        return await ask(world, uri)

    async def large(world: World) -> Response:
        return await ask(world, TOO_LARGE)

    async def pending(world: World) -> Response:
        return await ask(world, await create(world.alice), timeout_ms=0)

    return {200: ok, 400: no_image, 413: too_many_pixels, 429: limited, 502: large, 504: pending}


def uploads() -> dict[int, Ask]:
    async def ok(world: World) -> Response:
        return await ask_upload(world.alice, b"x")

    async def suspended(world: World) -> Response:
        await world.media.change_account(world.alice, is_suspended=True)
        return await ask_upload(world.alice, b"x")

    async def large(world: World) -> Response:
        return await world.alice.request("POST", UPLOAD, body=b"x", headers={"Content-Length": "99999999999"})

    async def limited(world: World) -> Response:
        world.limit()
        return await ask_upload(world.alice, b"x")

    return {200: ok, 403: suspended, 413: large, 429: limited}


def uploads_to() -> dict[int, Ask]:
    async def ok(world: World) -> Response:
        return await ask_upload_to(world.alice, await create(world.alice), b"x")

    async def of_somebody_else(world: World) -> Response:
        return await ask_upload_to(world.bob, await create(world.alice), b"x")

    async def unknown(world: World) -> Response:
        return await ask_upload_to(world.alice, "mxc://one.test/unknown", b"x")

    async def done(world: World) -> Response:
        return await ask_upload_to(world.alice, await upload(world.alice, b"x"), b"y")

    async def large(world: World) -> Response:
        path = f"{UPLOAD}/{(await create(world.alice)).removeprefix('mxc://')}"
        return await world.alice.request("PUT", path, body=b"x", headers={"Content-Length": "99999999999"})

    async def limited(world: World) -> Response:
        uri = await create(world.alice)
        world.limit()
        return await ask_upload_to(world.alice, uri, b"x")

    return {200: ok, 403: of_somebody_else, 404: unknown, 409: done, 413: large, 429: limited}


def creations() -> dict[int, Ask]:
    async def ok(world: World) -> Response:
        return await world.alice.request("POST", CREATE)

    async def suspended(world: World) -> Response:
        await world.media.change_account(world.alice, is_suspended=True)
        return await ok(world)

    async def limited(world: World) -> Response:
        world.limit()
        return await ok(world)

    return {200: ok, 403: suspended, 429: limited}


def configs(path: str) -> dict[int, Ask]:
    async def ok(world: World) -> Response:
        return await world.alice.request("GET", path)

    return {200: ok}


REPLIES: dict[str, dict[int, Ask]] = {
    "getContentAuthed": downloads(DOWNLOAD),
    "getContentOverrideNameAuthed": downloads(DOWNLOAD, "/name.txt"),
    "getContentThumbnailAuthed": thumbnails(THUMBNAIL),
    "getConfigAuthed": configs("/_matrix/client/v1/media/config"),
    "getContent": downloads(LEGACY_DOWNLOAD),
    "getContentOverrideName": downloads(LEGACY_DOWNLOAD, "/name.txt"),
    "getContentThumbnail": thumbnails(LEGACY_THUMBNAIL),
    "getConfig": configs("/_matrix/media/v3/config"),
    "uploadContent": uploads(),
    "uploadContentToMXC": uploads_to(),
    "createContent": creations(),
}


@pytest.mark.parametrize(
    ("operation_id", "status"), [(operation, status) for operation, asks in REPLIES.items() for status in asks]
)
async def test_documented_reply_is_given(world: World, operation_id: str, status: int) -> None:
    response = await REPLIES[operation_id][status](world)
    assert response.status == status
    assert status == 200 or response.errcode is not None


def test_every_documented_reply_is_asked_for() -> None:
    contract = load_contract()
    if contract is None:
        pytest.skip(SPEC_IS_ABSENT)
    documented = {
        (operation.id, int(status))
        for operation, statuses in contract.documented_statuses()
        if operation.file in FILES and operation.id not in REFUSED
        for status in statuses
    }
    asked = {(operation, status) for operation, asks in REPLIES.items() for status in asks}
    missing = documented - asked
    assert (
        missing
        == {
            (operation, status)
            for operation, status in documented
            if any(operation.startswith(prefix) and status == number for prefix, number in NEVER)
        }
        - asked
    )
    assert asked - documented == set()
