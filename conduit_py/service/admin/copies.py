"""Commands about copies of the data directory, while the server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click
import trio

from conduit_py.config import Config
from conduit_py.service.admin.commands import Answer, Call
from conduit_py.service.backup.make import MediaChoice, make_backup
from conduit_py.service.backup.messages import Finding, Impossible, Message, Progress
from conduit_py.service.backup.verify import verify

FINDINGS_SHOWN: Final = 20


def build_copy_commands(config: Config) -> tuple[click.Command, ...]:
    """One of them is carried out at a time: each reads everything there is."""
    busy = trio.Lock()

    @click.command("backup")
    @click.argument("destination", type=click.Path(path_type=Path))
    @click.option(
        "--media",
        "media",
        type=click.Choice([str(choice) for choice in MediaChoice]),
        default=str(MediaChoice.LINK),
        help="Link media files where the disk can and else copy them, always copy them, or only list them.",
    )
    @click.pass_obj
    async def backup(call: Call, destination: Path, media: str) -> Answer:
        """Make a backup in the new directory DESTINATION on the server's machine.

        It holds everything but the configuration, and is itself a data directory that a server can be started on.
        """
        if not destination.is_absolute():
            raise click.UsageError("DESTINATION must be an absolute path, such as /home/me/backups/monday")
        listener = _Listener(call)
        async with _alone(busy):
            made = await make_backup(
                config.database_path,
                destination,
                media_path=config.media.path,
                structure=config.media.directory_structure,
                media_choice=MediaChoice(media),
                tell=listener.hear,
            )
        return Answer(text="\n".join([*listener.lines(), f"The backup is made. {made.summary()}."]))

    @click.command("verify")
    @click.option("--hashes", is_flag=True, help="Read every media file as well, instead of trusting its size.")
    @click.pass_obj
    async def verify_everything(call: Call, hashes: bool) -> Answer:
        """Check the database and the media files from beginning to end. The server goes on meanwhile."""
        listener = _Listener(call)
        async with _alone(busy):
            report = await verify(
                config.database_path,
                media_path=config.media.path,
                structure=config.media.directory_structure,
                with_hashes=hashes,
                tell=listener.hear,
            )
        if report.problems:
            verdict = "The database is damaged: put back a backup that is whole."
        elif report.media:
            verdict = "The database is whole; media files are missing or damaged."
        else:
            verdict = "Everything is whole."
        return Answer(text="\n".join([*listener.lines(), verdict]), ok=not (report.problems or report.media))

    return backup, verify_everything


class _Listener:
    """Passes progress on and keeps the first findings for the answer."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._findings: list[Finding] = []
        self._more = 0

    def hear(self, message: Message) -> None:
        """See ``messages.Tell``."""
        match message:
            case Progress(_, done, total):
                self._call.report(done, total)
            case Finding() if len(self._findings) < FINDINGS_SHOWN:
                self._findings.append(message)
            case Finding():
                self._more += 1

    def lines(self) -> Iterator[str]:
        """What was found, a line for each."""
        for finding in self._findings:
            yield f"{finding.kind}: {finding.text}"
        if self._more:
            yield f"and {self._more} more"


@asynccontextmanager
async def _alone(busy: trio.Lock) -> AsyncIterator[None]:
    try:
        busy.acquire_nowait()
    except trio.WouldBlock:
        raise click.ClickException("A backup or verification is under way already: wait until it is done") from None
    try:
        yield
    except (Impossible, OSError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        busy.release()
