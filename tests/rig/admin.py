"""Somebody who gives commands to a server, in the Admin Room or without a room or a socket between."""

from __future__ import annotations

import itertools
import secrets
from typing import Any

import click

from conduit_py.matrix.ids import UserId
from conduit_py.service.admin.commands import Answer, Call, Dispatcher, parse_message
from tests.rig.client import Client, Response, path

Json = dict[str, Any]


class Console:
    """An administrator's. ``is_private`` is what the command line is, and the Admin Room is not."""

    def __init__(self, dispatcher: Dispatcher, *, caller: UserId | None = None, is_private: bool = True) -> None:
        self.dispatcher = dispatcher
        self.caller, self.is_private = caller, is_private
        self.reported: list[tuple[int, int]] = []
        """How far commands said that they were."""

    async def give(self, text: str) -> Answer:
        """A command, with a code block below it where it needs one."""
        line = parse_message(text)
        call = Call(
            caller=self.caller,
            is_private=self.is_private,
            body=line.body,
            report=lambda done, total: self.reported.append((done, total)),
        )
        return await self.dispatcher.run(line.words, call)

    async def ask(self, text: str) -> str:
        """What a command answers that has to succeed."""
        answer = await self.give(text)
        assert answer.ok, answer.text
        return answer.text

    async def fail(self, text: str) -> str:
        """Why a command is refused that has to be."""
        answer = await self.give(text)
        assert not answer.ok, answer.text
        assert answer.secret is None
        return answer.text


def console(*commands: click.Command) -> Console:
    """One that knows these commands."""
    runs = itertools.count(1)
    return Console(Dispatcher({"Tested": commands}, new_id=lambda: f"run-{next(runs)}"))


class Chat:
    """Somebody who is in the Admin Room, and what is said there."""

    def __init__(self, client: Client, room_id: str) -> None:
        self.client, self.room_id = client, room_id
        self._since = ""
        self._heard: list[Json] = []

    async def say(self, body: str, **content: Any) -> str:
        """Send a message. Returns its event id."""
        sent = await self.send({"msgtype": "m.text", "body": body, **content})
        assert sent.status == 200, sent.body
        event_id: str = sent.json["event_id"]
        return event_id

    async def send(self, content: Json) -> Response:
        return await self.client.put(
            path("rooms", self.room_id, "send", "m.room.message", secrets.token_hex(8)), content
        )

    async def ask(self, command: str) -> str:
        """The first message of the answer to a command."""
        body: str = (await self.hear(await self.say(command)))["body"]
        return body

    async def hear(self, event_id: str) -> Json:
        """The content of the first answer to a message; waits for it."""
        while True:
            for event in self._heard:
                content: Json = event["content"]
                if content.get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id") == event_id:
                    return content
            await self._sync()

    async def _sync(self) -> None:
        query = {"since": self._since, "timeout": "30000"} if self._since else {}
        answer = (await self.client.get("/sync", **query)).json
        self._since = answer["next_batch"]
        self._heard += (
            answer.get("rooms", {}).get("join", {}).get(self.room_id, {}).get("timeline", {}).get("events", [])
        )

    async def read_all(self) -> list[Json]:
        """Every event of the room that the client may see, oldest first."""
        answer = await self.client.get(path("rooms", self.room_id, "messages"), dir="f", limit="1000")
        chunk: list[Json] = answer.json["chunk"]
        return chunk


async def find_admin_room(client: Client, server_name: str = "one.test") -> str:
    room_id: str = (await client.get(path("directory", "room", f"#admins:{server_name}"))).json["room_id"]
    return room_id


async def enter(client: Client) -> Chat:
    """As an administrator, who is in the room already."""
    return Chat(client, await find_admin_room(client))
