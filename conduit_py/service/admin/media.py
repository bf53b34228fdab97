"""Commands about media: looking at what is here, removing it, and blocking what nobody shall see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from conduit_py.data import media as data
from conduit_py.data import short_ids
from conduit_py.matrix.ids import ServerName, parse_server_name
from conduit_py.service.admin.commands import Answer, Attachment, Call
from conduit_py.service.admin.things import (
    count_pages,
    page_line,
    page_option,
    parse_lines,
    show_bytes,
    show_time,
    take_page,
)
from conduit_py.service.admin.words import parse_duration, plural, table
from conduit_py.service.errors import NotFound
from conduit_py.service.media.blocks import MediaBlocks
from conduit_py.service.media.fetch import Asked, FetchService, parse_mxc
from conduit_py.service.media.removal import Removal
from conduit_py.service.media.selection import Selection, find_media
from conduit_py.service.media.upload import uri_of
from conduit_py.service.users.names import find_account
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.media import ByMxc, Media
from kvschema.catalog.rooms import ShortUserId

_MXCS: Final = "the list of media, an mxc:// URI in each line,"
_USERS: Final = "the list of users, one in each line,"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTools:
    """What the commands work with."""

    store: Store
    server_name: ServerName
    removal: Removal
    blocks: MediaBlocks
    fetch: FetchService
    get_path: Callable[[bytes], Path]
    """Where the file with a hash is."""

    def find_user(self, typed: str) -> ShortUserId:
        """An account of this server, deactivated ones too. Raises ``NotFound``."""
        with self.store.snapshot() as snapshot:
            found = find_account(snapshot, typed, self.server_name)
        if found is None:
            raise NotFound(f"There is no account {typed} on this server")
        return found[1]

    def since(self, from_last: str | None) -> int | None:
        """The moment from which on, for a duration back from now."""
        return None if from_last is None else self.store.now_ms() - parse_duration(from_last) * 1000


def build_media_commands(tools: MediaTools) -> tuple[click.Command, ...]:
    """All of them."""
    return (*_build_looking(tools), *_build_purging(tools), *_build_blocking(tools))


def parse_uri(text: str) -> ByMxc:
    """Raises ``click.UsageError``."""
    server_name, _, media_id = text.removeprefix("mxc://").partition("/")
    if not text.startswith("mxc://") or not media_id:
        raise click.UsageError(f"{text} is no mxc:// URI")
    try:
        return parse_mxc(server_name, media_id)
    except NotFound:
        raise click.UsageError(f"{text} is no mxc:// URI") from None


_from_last = click.option("--from-last", "-t", metavar="DURATION", help="Only what came in the last 12h, 7d, ...")
_block_from_last = click.option("--from-last", "-f", metavar="DURATION", help="Only what came in the last 12h, 7d, ...")
_force = click.option(
    "--force-filehash", "-f", is_flag=True, help="Also what has the same content, whoever it is from."
)
_reason = click.option("--reason", "-r", help="Why, for whoever looks at the list later.")


def _parse_moment(context: click.Context, parameter: click.Parameter, value: datetime | None) -> int | None:
    return None if value is None else int(value.replace(tzinfo=UTC).timestamp() * 1000)


def _moment(*names: str, help: str) -> Callable[[Any], Any]:
    formats = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]
    return click.option(*names, type=click.DateTime(formats), callback=_parse_moment, metavar="TIME", help=help)


def _build_looking(tools: MediaTools) -> Iterable[click.Command]:
    store = tools.store

    @click.command("query-media")
    @click.argument("mxc")
    async def query_media(mxc: str) -> Answer:
        """Show what this server knows of a medium."""
        parsed = parse_uri(mxc)
        with store.snapshot() as snapshot:
            facts = _describe(snapshot, parsed)
        if not facts:
            raise NotFound(f"This server does not have {mxc}, and does not block it")
        return Answer(text=table([(f"{name}:", value) for name, value in facts]), is_table=True)

    @click.command("show-media")
    @click.argument("mxc")
    @click.pass_obj
    async def show_media(call: Call, mxc: str) -> Answer:
        """Show a medium in the Admin Room, whoever it is from. One of another server is fetched.

        The command line tells in which file it is.
        """
        parsed = parse_uri(mxc)
        row = await tools.fetch.find(Asked(mxc=parsed))
        with store.snapshot() as snapshot:
            size = _size_of(snapshot, row)
        where = f" It is in the file {tools.get_path(row.file_hash)}." if call.is_private else ""
        return Answer(
            text=f"{mxc} is {row.content_type}, {show_bytes(size)}.{where}",
            attachment=Attachment(
                uri=uri_of(parsed), content_type=row.content_type, filename=row.filename or parsed.media_id, size=size
            ),
        )

    @click.command("list-media")
    @click.option("--user", "-u", help="Who of this server uploaded it.")
    @click.option("--server", "-s", help="The server that it is from; this one for what its users uploaded.")
    @click.option("--content-type", "-c", help="image/png, or image for every kind of image.")
    @_moment("--uploaded-before", "-b", help="Only what came before, in UTC: 2026-01-31T23:59:59.")
    @_moment("--uploaded-after", "-a", help="Only what came since then.")
    @click.option("--include-thumbnails", "-t", is_flag=True, help="Say how many thumbnails there are of each.")
    @page_option
    async def list_media(
        user: str | None,
        server: str | None,
        content_type: str | None,
        uploaded_before: int | None,
        uploaded_after: int | None,
        include_thumbnails: bool,
        page: int,
    ) -> Answer:
        """List media, the newest first."""
        selection = Selection(
            server_name=tools.server_name if user is not None and server is None else server,
            users=None if user is None else frozenset([tools.find_user(user)]),
            content_type=content_type,
            before_ms=uploaded_before,
            after_ms=uploaded_after,
        )
        found = await find_media(store, selection)
        found.sort(key=lambda medium: (-medium[1].created_ms, medium[0]))
        with store.snapshot() as snapshot:
            size = sum(_size_of(snapshot, row) for row in {row.file_hash: row for _, row in found}.values())
            rows = [_line(snapshot, mxc, row, has_thumbnails=include_thumbnails) for mxc, row in take_page(found, page)]
        title = f"{plural(len(found), 'medium')}, {show_bytes(size)}{page_line(page, len(found))}"
        title = title.replace("mediums", "media")
        heads = ("URI", "SIZE", "TYPE", "SINCE (UTC)", "BY", "NAME", *(["THUMBNAILS"] if include_thumbnails else []))
        more = f"\n--page {page + 1} shows more." if page < count_pages(len(found)) else ""
        return Answer(text=f"{title}:\n{table([heads, *rows])}{more}", is_table=True)

    return query_media, show_media, list_media


def _build_purging(tools: MediaTools) -> Iterable[click.Command]:
    store = tools.store

    @click.command("purge-media")
    @click.pass_obj
    async def purge_media(call: Call) -> Answer:
        """Remove media, and all that has the same content.

        They are listed in a code block below, one mxc:// URI in each line.
        """
        listed = parse_lines(call, _MXCS, parse_uri)
        with store.snapshot() as snapshot:
            found = [(mxc, row) for mxc in listed if (row := data.get_media(snapshot, mxc)) is not None]
        return await _purge(tools, call, found, with_same_content=True)

    @click.command("purge-media-from-users")
    @_from_last
    @_force
    @click.pass_obj
    async def purge_media_from_users(call: Call, from_last: str | None, force_filehash: bool) -> Answer:
        """Remove what users of this server uploaded.

        They are listed in a code block below, one user in each line.
        """
        listed = frozenset(parse_lines(call, _USERS, tools.find_user))
        selection = Selection(server_name=tools.server_name, users=listed, after_ms=tools.since(from_last))
        return await _purge(tools, call, await find_media(store, selection), with_same_content=force_filehash)

    @click.command("purge-media-from-server")
    @click.argument("server")
    @_from_last
    @_force
    @click.pass_obj
    async def purge_media_from_server(call: Call, server: str, from_last: str | None, force_filehash: bool) -> Answer:
        """Remove what was fetched from another server. It is fetched again when somebody looks at it."""
        name = parse_server_name(server)
        if name == tools.server_name:
            raise click.UsageError("These are the uploads of your own users: see purge-media-from-users")
        found = await find_media(store, Selection(server_name=name, after_ms=tools.since(from_last)))
        return await _purge(tools, call, found, with_same_content=force_filehash)

    return purge_media, purge_media_from_users, purge_media_from_server


def _build_blocking(tools: MediaTools) -> Iterable[click.Command]:
    store, blocks = tools.store, tools.blocks

    async def block(call: Call, listed: Sequence[ByMxc], reason: str | None) -> None:
        for number, mxc in enumerate(listed, 1):
            await blocks.block(mxc, reason)
            call.report(number, len(listed))

    @click.command("block-media")
    @click.option("--and-purge", "-a", is_flag=True, help="Remove it too, with all that has the same content.")
    @_reason
    @click.pass_obj
    async def block_media(call: Call, and_purge: bool, reason: str | None) -> Answer:
        """Let nobody see media any more.

        They are listed in a code block below, one mxc:// URI in each line. They need not be here. Of those that are
        here the content is blocked as well, under whatever URI it comes.
        """
        listed = parse_lines(call, _MXCS, parse_uri)
        await block(call, listed, reason)
        text = f"Blocked {_media(len(listed))}."
        if and_purge:
            with store.snapshot() as snapshot:
                found = [(mxc, row) for mxc in listed if (row := data.get_media(snapshot, mxc)) is not None]
            text += f" {(await _purge(tools, call, found, with_same_content=True)).text}"
        return Answer(text=text)

    @click.command("block-media-from-users")
    @_block_from_last
    @_reason
    @click.pass_obj
    async def block_media_from_users(call: Call, from_last: str | None, reason: str | None) -> Answer:
        """Let nobody see what users of this server uploaded.

        They are listed in a code block below, one user in each line.
        """
        listed = frozenset(parse_lines(call, _USERS, tools.find_user))
        selection = Selection(server_name=tools.server_name, users=listed, after_ms=tools.since(from_last))
        found = [mxc for mxc, _ in await find_media(store, selection)]
        await block(call, found, reason)
        return Answer(text=f"Blocked {_media(len(found))}.")

    @click.command("list-blocked-media")
    @page_option
    async def list_blocked_media(page: int) -> Answer:
        """List the media that nobody may see."""
        blocked = blocks.get_all()
        if not blocked:
            return Answer(text="No medium is blocked.")
        rows: list[tuple[str, ...]] = [("URI", "SINCE (UTC)", "CONTENT", "REASON")]
        for mxc, row in take_page(blocked, page):
            content = "blocked" if row.file_hash else "not known"
            rows.append((uri_of(mxc), show_time(row.blocked_ms), content, row.reason or ""))
        return Answer(text=f"{_media(len(blocked))}{page_line(page, len(blocked))}:\n{table(rows)}", is_table=True)

    @click.command("unblock-media")
    @click.pass_obj
    async def unblock_media(call: Call) -> Answer:
        """Let everybody see media again, and their content.

        They are listed in a code block below, one mxc:// URI in each line.
        """
        listed = parse_lines(call, _MXCS, parse_uri)
        unblocked = sum([await blocks.unblock(mxc) for mxc in listed])
        return Answer(text=f"Unblocked {_media(unblocked)}.")

    return block_media, block_media_from_users, list_blocked_media, unblock_media


async def _purge(
    tools: MediaTools, call: Call, found: Sequence[tuple[ByMxc, Media]], *, with_same_content: bool
) -> Answer:
    removed = 0
    for number, (mxc, row) in enumerate(found, 1):
        if with_same_content:
            removed += await tools.removal.remove_content(row.file_hash)
        else:
            removed += await tools.removal.remove_media(mxc)
        call.report(number, len(found))
    return Answer(text=f"Removed {_media(removed)}.")


def _media(count: int) -> str:
    return "1 medium" if count == 1 else f"{count} media"


def _line(snapshot: Snapshot, mxc: ByMxc, row: Media, *, has_thumbnails: bool) -> tuple[str, ...]:
    uploader = short_ids.get_user_id(snapshot, ShortUserId(row.user)) if row.user else ""
    line = (
        uri_of(mxc),
        show_bytes(_size_of(snapshot, row)),
        row.content_type,
        show_time(row.created_ms),
        uploader,
        row.filename or "",
    )
    return (*line, str(sum(1 for _ in data.scan_thumbnails(snapshot, mxc)))) if has_thumbnails else line


def _size_of(snapshot: Snapshot, row: Media) -> int:
    file = data.get_file(snapshot, row.file_hash)
    return 0 if file is None else file.size


def _describe(snapshot: Snapshot, mxc: ByMxc) -> list[tuple[str, str]]:
    """Names and values; empty for what is neither here nor blocked."""
    row, blocked = data.get_media(snapshot, mxc), data.get_blocked(snapshot, mxc)
    thumbnails = [
        f"{key.width}x{key.height}{' animated' if key.animated else ''}"
        for key, _ in data.scan_thumbnails(snapshot, mxc)
    ]
    facts: list[tuple[str, str]] = []
    if row is not None:
        file = data.get_file(snapshot, row.file_hash)
        others = [uri_of(other) for other in data.scan_of_file(snapshot, row.file_hash) if other != mxc]
        facts += [
            ("Name", row.filename or ""),
            ("Type", row.content_type),
            ("Size", show_bytes(_size_of(snapshot, row))),
            ("Here since", f"{show_time(row.created_ms)} UTC"),
            ("Last used", "" if file is None else f"{show_time(file.accessed_ms)} UTC"),
            ("Uploaded by", short_ids.get_user_id(snapshot, ShortUserId(row.user)) if row.user else ""),
            ("SHA-256", row.file_hash.hex()),
            ("Same content", ", ".join(others[:20])),
            ("Content", "blocked" if data.is_file_blocked(snapshot, row.file_hash) else ""),
        ]
    if thumbnails:
        facts.append(("Thumbnails", ", ".join(thumbnails)))
    if blocked is not None:
        why = f", because: {blocked.reason}" if blocked.reason else ""
        facts.append(("Blocked", f"since {show_time(blocked.blocked_ms)} UTC{why}"))
    return [("URI", uri_of(mxc)), *((name, value) for name, value in facts if value)] if facts else []
