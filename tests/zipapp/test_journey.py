"""What somebody does who has read the page on shared hosting, from the first day to the day the backup is needed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nio
import pytest
from nio.responses import RegisterErrorResponse

from conduit_py import __version__
from tests.config.files import GUIDE_OF_2021
from tests.rig.ports import free_port
from tests.zipapp.conftest import NEXT_VERSION
from tests.zipapp.pythons import Python, find_python
from tests.zipapp.supervising import Host

SERVER_NAME = "alice.uber.space"
PASSWORD = "correct horse battery staple"
PATIENCE_S = 30
FILTER = {"room": {"timeline": {"limit": 500}}}


class Client:
    """One login of somebody, with a client library that is not ours."""

    def __init__(self, url: str, name: str) -> None:
        self._client = nio.AsyncClient(url, f"@{name}:{SERVER_NAME}")
        self._name = name

    async def register(self) -> nio.RegisterResponse | RegisterErrorResponse:
        return await self._client.register(self._name, PASSWORD)

    async def log_in(self) -> None:
        answer = await self._client.login(PASSWORD)
        assert isinstance(answer, nio.LoginResponse), answer

    async def close(self) -> None:
        await self._client.close()

    async def create_room(self, name: str, *invited: str) -> str:
        users = [f"@{user}:{SERVER_NAME}" for user in invited]
        answer = await self._client.room_create(name=name, invite=users)
        assert isinstance(answer, nio.RoomCreateResponse), answer
        room_id: str = answer.room_id
        return room_id

    async def join(self, room_id: str) -> None:
        answer = await self._client.join(room_id)
        assert isinstance(answer, nio.JoinResponse), answer

    async def say(self, room_id: str, text: str) -> None:
        content = {"msgtype": "m.text", "body": text}
        answer = await self._client.room_send(room_id, "m.room.message", content)
        assert isinstance(answer, nio.RoomSendResponse), answer

    async def get_rooms(self) -> dict[str, nio.RoomInfo]:
        """The chat list, as a client that starts anew fetches it."""
        answer = await self._client.sync(since=None, full_state=True, sync_filter=FILTER)
        assert isinstance(answer, nio.SyncResponse), answer
        rooms: dict[str, nio.RoomInfo] = answer.rooms.join
        self._client.next_batch = ""
        return rooms

    async def read(self, room_id: str) -> list[tuple[str, str]]:
        """Who said what in the room."""
        events = (await self.get_rooms())[room_id].timeline.events
        return [
            (event.sender, event.body)
            for event in events
            if isinstance(event, (nio.RoomMessageText, nio.RoomMessageNotice))
        ]

    async def find_room(self, alias: str) -> str | None:
        """The room of the chat list that has this address."""
        for room_id, room in (await self.get_rooms()).items():
            for event in [*room.state, *room.timeline.events]:
                if isinstance(event, nio.RoomAliasEvent) and event.canonical_alias == alias:
                    return room_id
        return None


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What ``look`` finds, as soon as it finds anything."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await look()
            if found:
                return found


@pytest.fixture
def host(shared: Path) -> Host:
    python: Python | None = find_python("3.11") or find_python("3.12") or find_python("3.13")
    assert python is not None
    home = shared / "home"
    home.mkdir()
    return Host(home, python)


@pytest.mark.slow
def test_from_the_installation_to_the_day_the_backup_is_needed(zipapp: Path, next_zipapp: Path, host: Host) -> None:
    home = host.home
    program, config, data, backup = home / "bin/conduit_py.pyz", home / "conduit.toml", home / "data", home / "backup"
    port = free_port()
    shutil.copy(zipapp, program)
    config.write_text(GUIDE_OF_2021.replace("6167", str(port)).replace("/home/alice/conduit_data", str(data)))
    assert f"{config} is right" in host.run(program, "--config", config, "check-config")
    story = _Story(f"http://127.0.0.1:{port}")

    with host:
        host.wait_ready(1)
        asyncio.run(story.first_day())
        host.run(program, "--config", config, "backup", home / "online")
        assert host.run(program, "verify", home / "online") == f"{home}/online is whole\n"
        host.control("stop", "conduit_py")

        host.run("cp", "-r", data, backup)
        shutil.copy(next_zipapp, home / "conduit_py.pyz.new")
        (home / "conduit_py.pyz.new").rename(program)
        assert host.run(program, "version").splitlines()[0] == f"conduit_py {NEXT_VERSION}"
        host.control("start", "conduit_py")
        host.wait_ready(2)
        asyncio.run(story.after_the_upgrade())
        host.control("stop", "conduit_py")

        data.rename(home / "data.newer")
        host.run("cp", "-r", backup, data)
        host.control("start", "conduit_py")
        host.wait_ready(3)
        asyncio.run(story.after_the_restore())
        host.control("stop", "conduit_py")

    assert host.run(program, "--config", config, "verify") == f"{data} is whole\n"
    assert f"conduit_py {__version__}, server_name {SERVER_NAME}\n" in host.read_log("stdout")
    assert not [line for line in host.read_log("stderr").splitlines() if " ERROR " in line or "Traceback" in line]


class _Story:
    """What happens while the server runs, and what was said until the backup."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._room = ""
        self._said: list[tuple[str, str]] = []

    def _client(self, name: str) -> Client:
        return Client(self._url, name)

    async def _say(self, client: Client, name: str, text: str) -> None:
        await client.say(self._room, text)
        self._said.append((f"@{name}:{SERVER_NAME}", text))

    async def first_day(self) -> None:
        alice, bob, carol = (self._client(name) for name in ("alice", "bob", "carol"))
        for person in (alice, bob):
            answer = await person.register()
            assert isinstance(answer, nio.RegisterResponse), answer

        admins = await until(lambda: alice.find_room(f"#admins:{SERVER_NAME}"))
        assert await bob.find_room(f"#admins:{SERVER_NAME}") is None
        await alice.say(admins, "allow-registration false")

        async def find_answer() -> bool:
            said = await alice.read(admins)
            return any(
                sender == f"@conduit:{SERVER_NAME}" and "Registration is closed" in text for sender, text in said
            )

        await until(find_answer)
        refused = await carol.register()
        assert isinstance(refused, RegisterErrorResponse)
        assert refused.status_code == "M_FORBIDDEN"

        self._room = await alice.create_room("Family", "bob")
        await bob.join(self._room)
        for number in range(20):
            await self._say(alice, "alice", f"question {number}")
            await self._say(bob, "bob", f"answer {number}")
        assert await bob.read(self._room) == self._said
        for person in (alice, bob, carol):
            await person.close()

    async def after_the_upgrade(self) -> None:
        """What is said now is lost when the backup is put back."""
        alice = self._client("alice")
        await alice.log_in()
        assert await alice.read(self._room) == self._said
        await alice.say(self._room, "after the upgrade")
        assert [text for _, text in await alice.read(self._room)][-1] == "after the upgrade"
        await alice.close()

    async def after_the_restore(self) -> None:
        for name in ("alice", "bob"):
            person = self._client(name)
            await person.log_in()
            assert await person.read(self._room) == self._said
            await self._say(person, name, "all there")
            await person.close()
        carol = self._client("carol")
        assert isinstance(await carol.register(), RegisterErrorResponse)
        await carol.close()
