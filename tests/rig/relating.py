"""What users do with relations between events."""

from __future__ import annotations

import secrets
from typing import Any

from tests.rig.client import Client, Response, path
from tests.rig.rooms import Json, in_room, send

V1 = "/_matrix/client/v1"


def relation(rel_type: str, parent: str, **more: Any) -> Json:
    """Content that relates to ``parent``."""
    return {"m.relates_to": {"rel_type": rel_type, "event_id": parent, **more}}


async def reply(user: Client, room_id: str, root: str, text: str = "in the thread") -> str:
    """Send a message in a thread."""
    return await send(user, room_id, text, **relation("m.thread", root))


async def edit(user: Client, room_id: str, parent: str, text: str = "edited") -> str:
    new = {"msgtype": "m.text", "body": text}
    return await send(user, room_id, f"* {text}", **{"m.new_content": new}, **relation("m.replace", parent))


async def refer(user: Client, room_id: str, parent: str, text: str = "see there") -> str:
    return await send(user, room_id, text, **relation("m.reference", parent))


async def send_event(user: Client, room_id: str, type: str, content: Json) -> Response:
    return await user.put(in_room(room_id, "send", type, secrets.token_hex(8)), content)


async def react(user: Client, room_id: str, parent: str, key: str = "+1") -> str:
    response = await send_event(user, room_id, "m.reaction", relation("m.annotation", parent, key=key))
    assert response.status == 200, response.body
    event_id: str = response.json["event_id"]
    return event_id


async def ignore(user: Client, *others: Client) -> None:
    """From now on these, and nobody else."""
    content: Json = {"ignored_users": {other.user_id: {} for other in others}}
    response = await user.put(user.user_path("account_data", "m.ignored_user_list"), content)
    assert response.status == 200, response.body


async def get_event(user: Client, room_id: str, event_id: str) -> Json:
    response = await user.get(in_room(room_id, "event", event_id))
    assert response.status == 200, response.body
    event: Json = response.json
    return event


async def bundled(user: Client, room_id: str, event_id: str) -> Json:
    """What the user is told with the event of what relates to it."""
    relations: Json = (await get_event(user, room_id, event_id))["unsigned"].get("m.relations", {})
    return relations


async def ask_relations(user: Client, room_id: str, event_id: str, *parts: str, **query: str) -> Response:
    """``parts`` are the kind of relation and the event type."""
    return await user.get(V1 + path("rooms", room_id, "relations", event_id, *parts), **query)


async def page(user: Client, room_id: str, event_id: str, *parts: str, **query: str) -> Json:
    response = await ask_relations(user, room_id, event_id, *parts, **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def children(user: Client, room_id: str, event_id: str, *parts: str, **query: str) -> list[str]:
    """Event ids of one page."""
    return ids((await page(user, room_id, event_id, *parts, **query))["chunk"])


async def ask_threads(user: Client, room_id: str, **query: str) -> Response:
    return await user.get(V1 + path("rooms", room_id, "threads"), **query)


async def threads(user: Client, room_id: str, **query: str) -> Json:
    response = await ask_threads(user, room_id, **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


def ids(events: list[Json]) -> list[str]:
    return [event["event_id"] for event in events]
