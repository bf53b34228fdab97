"""The first person on a new server closes its door from the Admin Room, with a client library that is not ours."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import nio
import pytest

from tests.rig.process import PATIENCE_S, ROOT, ServerProcess, check_files

PASSWORD = "correct horse battery staple"


@pytest.mark.slow
def test_first_person_closes_registration(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        asyncio.run(_begin(server))
        server.start()
        asyncio.run(_go_on(server))
        _use_the_command_line(server)
        server.stop()
        assert check_files(server.data) == []


async def _begin(server: ServerProcess) -> None:
    alice = nio.AsyncClient(server.url)
    [token] = re.findall(r"^    (\S+)$", server.greeting, re.MULTILINE)
    await _register_with_token(alice, "alice", token)

    first = await alice.sync(timeout=0)
    assert isinstance(first, nio.SyncResponse)
    [room_id] = first.rooms.join
    assert alice.rooms[room_id].canonical_alias == "#admins:one.test"
    assert "Welcome" in first.rooms.join[room_id].timeline.events[-1].body
    assert not alice.rooms[room_id].encrypted

    said = await _say(alice, room_id, "@conduit:one.test: allow-registration false")
    assert (await _hear(alice, room_id, said)).startswith("Registration is closed")
    assert not await _can_register(server, "bob")

    # What was accepted is answered by the next start, if not by this one.
    await _say(alice, room_id, "list-local-users")
    server.kill()
    await alice.close()


async def _go_on(server: ServerProcess) -> None:
    assert "registration token" not in server.greeting
    assert not await _can_register(server, "bob")
    alice = nio.AsyncClient(server.url, "@alice:one.test")
    await alice.login(PASSWORD)
    await alice.sync(timeout=0)
    [room_id] = alice.rooms
    said = await _say(alice, room_id, "!admin create-registration-token sesame --uses 1")
    assert "sesame" in await _hear(alice, room_id, said)
    answers = await _read_answers(alice, room_id)
    assert len([body for body in answers if body.startswith(("Found 1 local", "The server was restarted"))]) == 1
    bob = nio.AsyncClient(server.url)
    await _register_with_token(bob, "bob", "sesame")
    assert list((await bob.sync(timeout=0)).rooms.join) == []
    for client in (alice, bob):
        await client.close()


def _use_the_command_line(server: ServerProcess) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "conduit_py", "-c", str(server.config), "admin", "list-local-users"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = ["Found 2 local user account(s):", "@alice:one.test (administrator)", "@bob:one.test"]
    assert listed.stdout.splitlines() == expected, listed.stderr


async def _register_with_token(client: nio.AsyncClient, name: str, token: str) -> None:
    """The library's own way expects that another step follows, which some other server wants."""
    auth = {"type": "m.login.registration_token", "token": token}
    method, path, data = nio.Api.register(name, PASSWORD, auth_dict=auth)
    registered = await client._send(nio.RegisterResponse, method, path, data)
    assert isinstance(registered, nio.RegisterResponse), registered


async def _say(client: nio.AsyncClient, room_id: str, body: str) -> str:
    sent = await client.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": body})
    assert isinstance(sent, nio.RoomSendResponse), sent
    event_id: str = sent.event_id
    return event_id


async def _hear(client: nio.AsyncClient, room_id: str, event_id: str) -> str:
    """The answer to a message."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.sync(timeout=10_000)
            assert isinstance(answer, nio.SyncResponse), answer
            timeline = answer.rooms.join[room_id].timeline.events if room_id in answer.rooms.join else []
            for event in timeline:
                relation = event.source["content"].get("m.relates_to", {})
                if relation.get("m.in_reply_to", {}).get("event_id") == event_id:
                    body: str = event.body
                    return body


async def _read_answers(client: nio.AsyncClient, room_id: str) -> list[str]:
    page = await client.room_messages(room_id, limit=100)
    assert isinstance(page, nio.RoomMessagesResponse), page
    return [event.body for event in page.chunk if isinstance(event, nio.RoomMessageNotice)]


async def _can_register(server: ServerProcess, name: str) -> bool:
    client = nio.AsyncClient(server.url)
    answer = await client.register(name, PASSWORD)
    await client.close()
    return isinstance(answer, nio.RegisterResponse)
